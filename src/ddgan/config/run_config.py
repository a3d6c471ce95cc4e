"""RunConfig: all settings of a run, composed of the settings of its parts, and its YAML form (format 2)."""

from __future__ import annotations

import dataclasses
import json
import operator
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from torch import Tensor

from ddgan.config.components import Component, default
from ddgan.config.optimization import OptimizationConfig
from ddgan.config.overrides import overridden, with_hint
from ddgan.config.presets import check_version, read_settings, yaml_of
from ddgan.config.settings import Interval, SettingError, plain, settings
from ddgan.config.training import TrainingConfig
from ddgan.diffusion.process import DiffusionConfig
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.interfaces import GeneratorConfig

__all__ = ["SECTIONS", "SIZES", "ConditionsConfig", "ImageConfig", "LabelConfig", "RunConfig", "VectorConfig"]


@settings
class LabelConfig:
    """Class labels as a condition of both networks.

    Args:
        classes: number of classes; "auto" takes it from the data.
        dropout: probability that a label is replaced by the null class in training.
    """

    classes: Annotated[int, Interval(ge=1, le=1_000_000)] | Literal["auto"] = "auto"
    dropout: Annotated[float, Interval(ge=0, le=1)] = 0.1


@settings
class VectorConfig:
    """Vectors of real numbers as a condition of both networks, such as measurements or text embeddings.

    Args:
        features: how many numbers; "auto" takes it from the data.
        dropout: probability that a vector is replaced by "not given" in training.
    """

    features: Annotated[int, Interval(ge=1, le=1_000_000)] | Literal["auto"] = "auto"
    dropout: Annotated[float, Interval(ge=0, le=1)] = 0.1


@settings
class ImageConfig:
    """Images aligned with the samples as a condition of both networks; signals or volumes for such samples.

    Args:
        channels: how many channels; "auto" takes it from the data.
        dropout: probability that an image is replaced by "not given" in training.
    """

    channels: Annotated[int, Interval(ge=1, le=4096)] | Literal["auto"] = "auto"
    dropout: Annotated[float, Interval(ge=0, le=1)] = 0.1


SIZES = {"label": "classes", "vector": "features", "image": "channels"}
"""Part of a condition -> the setting that says its size."""


@settings
class ConditionsConfig:
    """The conditions of the networks, besides x_t and t.

    In training, one random number per sample decides what is dropped: parts of equal dropout are dropped
    together, as guidance needs it, and one of a larger dropout is also dropped alone.

    Args:
        label: class labels; leave it out for none.
        vector: vectors of real numbers; leave it out for none.
        image: images aligned with the samples; leave it out for none.
    """

    label: LabelConfig | None = None
    vector: VectorConfig | None = None
    image: ImageConfig | None = None

    @property
    def shapes(self) -> ConditionShapes:
        """Sizes of the conditions that the networks are built for, once they are known."""
        assert not self.unknown
        sizes = (0 if part is None else getattr(part, SIZES[name]) for name, part in self.parts.items())
        return ConditionShapes(*sizes)

    @property
    def parts(self) -> dict[str, LabelConfig | VectorConfig | ImageConfig | None]:
        """The settings of each part of a condition, by its name; None for a part that there is not."""
        return {name: getattr(self, name) for name in SIZES}

    @property
    def unknown(self) -> list[str]:
        """Names of the sizes that are still to be taken from the data, such as "label.classes"."""
        names = [f"{name}.{SIZES[name]}" for name, part in self.parts.items() if part is not None]
        return [name for name in names if operator.attrgetter(name)(self) == "auto"]

    def of(self, condition: Condition | None) -> Condition | None:
        """Return those parts of a condition of the data that the networks get; None if there are none."""
        if condition is None:
            return None
        unused = [name for name, part in self.parts.items() if part is None]
        kept = condition._replace(**dict.fromkeys(unused))
        return None if all(part is None for part in kept) else kept

    def dropped(self, condition: Condition, uniform: Tensor) -> Condition:
        """Drop parts of conditions at random.

        Args:
            condition: the conditions of B samples.
            uniform: random numbers in [0, 1), (B,).
        """
        num_classes = self.shapes.num_classes
        for name, part in self.parts.items():
            if part is not None:
                condition = condition.dropped(uniform < part.dropout, num_classes, [name])
        return condition


@settings
class RunConfig:
    """All settings of a run.

    Args:
        data: the training data: a kind that comes with the package, or a path; see `ddgan train --help`.
        conditions: the conditions of the networks, besides x_t and t.
        seed: seed of the weights, the data order and the noise; 0 or more.
        method: the training method: losses, penalties, discriminators.
        diffusion: number of steps, noise schedule, and the generator's prediction.
        generator: the denoising network.
        augmentation: random changes to training samples.
        optimization: optimizers, learning rates, the EMA of the weights.
        training: length, batch size, logging, checkpoints, scores.
    """

    data: Annotated[Any, Component("data")] = default("data", "images")
    conditions: ConditionsConfig = ConditionsConfig()
    seed: Annotated[int, Interval(ge=0, lt=2**63)] = 0
    method: Annotated[Any, Component("method")] = default("method", "denoising_gan")
    diffusion: DiffusionConfig = dataclasses.field(default_factory=DiffusionConfig)
    generator: Annotated[GeneratorConfig, Component("generator")] = default("generator", "ncsnpp")
    augmentation: Annotated[tuple[Annotated[Any, Component("augmentation")], ...], Len(max_length=16)] = ()
    optimization: OptimizationConfig = dataclasses.field(default_factory=OptimizationConfig)
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self) -> None:
        prediction = self.diffusion.prediction
        if prediction != "x_0" and getattr(self.generator, "tanh", False):
            raise SettingError(
                "diffusion.prediction",
                f"is {prediction}, which is not bounded as images are; set generator.tanh to false",
            )
        self.method.check(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunConfig:
        """Build a configuration from nested plain values; missing settings take their defaults.

        Raises:
            ValueError: in one line, naming the unknown key, wrong type or broken range.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"a configuration is a mapping of sections, not {type(values).__name__}")
        check_version(dict(values), "this")
        if strange := [name for name in values if not isinstance(name, str)]:
            raise ValueError(f"a configuration has the section {strange[0]!r}; the name must be a string")
        return cls(**values)

    @classmethod
    def load(cls, source: str | Path | RunConfig, overrides: Mapping[str, Any] | None = None) -> RunConfig:
        """Load a preset, a YAML file or a RunConfig, and change settings by dotted name.

        Raises:
            ValueError: in one line, if there is no such preset or file, or a setting is invalid.
        """
        config = source if isinstance(source, RunConfig) else cls.from_dict(read_settings(source))
        return config.changed(overrides) if overrides else config

    def changed(self, overrides: Mapping[str, Any]) -> RunConfig:
        """Return the configuration with settings changed by dotted name, such as "training.batch_size".

        Raises:
            ValueError: in one line, naming the unknown setting or the invalid value.
        """
        values = self.to_dict()
        try:
            return type(self).from_dict(overridden(values, overrides, SECTIONS))
        except SettingError as error:
            raise with_hint(error, values, overrides) from None

    @property
    def num_classes(self) -> int:
        """Number of classes that the networks are conditioned on; 0 for none."""
        return self.conditions.shapes.num_classes

    def to_dict(self) -> dict[str, Any]:
        """Return nested plain values, as YAML and JSON hold them."""
        values: dict[str, Any] = json.loads(json.dumps(plain(self)))
        return values

    def to_yaml(self) -> str:
        """Return the configuration as YAML that `--config` reads."""
        return yaml_of(_without_none(self.to_dict()))


def _without_none(values: Any) -> Any:
    """Drop settings without a value."""
    if isinstance(values, dict):
        return {name: _without_none(value) for name, value in values.items() if value is not None}
    return [_without_none(value) for value in values] if isinstance(values, list) else values


SECTIONS = [f.name for f in dataclasses.fields(RunConfig)]
"""Names of the sections of a configuration."""
