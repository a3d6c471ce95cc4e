"""RunConfig: the settings of a run, composed of the parts' own dataclasses, and its YAML form.

A preset is a YAML file in `ddgan/presets` that users copy and edit. Parsing, type checks and --help
come from jsonargparse; ranges are checked by the dataclasses themselves.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ddgan.config.training import TrainingConfig
from ddgan.data import EMBEDDED
from ddgan.data.readers import FORMS
from ddgan.diffusion.process import DiffusionConfig
from ddgan.losses.adversarial import ObjectiveConfig
from ddgan.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    MLPConfig,
    MLPDiscriminatorConfig,
    NCSNppConfig,
    ResNetDiscriminatorConfig,
)
from ddgan.training.optimizers import OptimizationConfig

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run.

    Args:
        data: the data source, see `ddgan train --help`; empty if the user must name one.
        seed: seed of the weights, the data order and the noise; 0 or more.
        num_classes: classes that both networks are told of; 0 for none, "auto" for those of the data.
        generator: the network that denoises.
        discriminator: the network that judges.
        diffusion: the noise schedule.
        objective: losses and penalties.
        optimization: optimizers, learning rates, the average of the weights.
        training: length, batch, log, scores.
    """

    data: str = ""
    seed: int = 0
    num_classes: int | Literal["auto"] = 0
    generator: GeneratorConfig = field(default_factory=NCSNppConfig)
    discriminator: DiscriminatorConfig = field(default_factory=ResNetDiscriminatorConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must be 0 or more")
        if self.num_classes != "auto" and self.num_classes < 0:
            raise ValueError(f"num_classes is {self.num_classes}; it must be 0 or more, or auto")
        if self.diffusion.prediction != "x_0" and self.generator.tanh:
            raise ValueError(
                f"diffusion.prediction {self.diffusion.prediction} is not bounded as images are; "
                "set generator.tanh to false"
            )
        if self.diffusion.prediction == "x_prev" and self.objective.reconstruction != "none":
            raise ValueError(
                "objective.reconstruction compares x_0, which diffusion.prediction x_prev does not give; "
                "set objective.reconstruction to none"
            )

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> RunConfig:
        """A configuration from nested plain values; what is left out takes its default.

        Raises:
            ValueError: in one line, naming the unknown key, wrong type or broken range.
        """
        if not isinstance(settings, Mapping):
            raise ValueError(f"a configuration is a mapping of sections, not {type(settings).__name__}")
        return parse_settings(config_parser(settings), lambda parser: parser.parse_object(dict(settings)))

    @classmethod
    def load(cls, source: str | Path | RunConfig) -> RunConfig:
        """A preset's name, the path of a YAML file, or a RunConfig itself."""
        return source if isinstance(source, RunConfig) else cls.from_dict(read_settings(source))

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values: what YAML and JSON hold."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def to_yaml(self) -> str:
        """The configuration as a YAML file that `--config` reads."""
        import yaml

        return yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None)


KINDS: dict[str, dict[str, type]] = {
    "generator": {"ncsnpp": NCSNppConfig, "mlp": MLPConfig},
    "discriminator": {"resnet": ResNetDiscriminatorConfig, "mlp": MLPDiscriminatorConfig},
}
PARTS: dict[str, type] = {
    "diffusion": DiffusionConfig,
    "objective": ObjectiveConfig,
    "optimization": OptimizationConfig,
    "training": TrainingConfig,
}


def preset_names() -> list[str]:
    """The presets in the package, by name."""
    folder = resources.files("ddgan.config") / "presets"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def read_settings(source: str | Path) -> dict[str, Any]:
    """The plain values of a preset or of a YAML file.

    Raises:
        ValueError: if there is no such preset or file, or it is not YAML.
    """
    import yaml

    path = Path(source)
    if str(source) in preset_names():
        text = (resources.files("ddgan.config") / "presets" / f"{source}.yaml").read_text(encoding="utf-8")
    elif path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
    else:
        raise ValueError(
            f"'{source}' is neither a preset ({', '.join(preset_names())}) nor a configuration file"
        )
    try:
        settings = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ValueError(f"'{source}' is not valid YAML: {one_line(error)}") from None
    if not isinstance(settings, dict):
        raise ValueError(f"'{source}' holds {type(settings).__name__}, not a mapping of sections")
    return settings


def config_parser(settings: Mapping[str, Any], **options: Any) -> ArgumentParser:
    """A parser of all settings, for the kinds of networks that `settings` name; it sets no values.

    Raises:
        ValueError: if a kind of network is unknown.
    """
    from jsonargparse import ArgumentParser

    for section, value in settings.items():
        if section in KINDS | PARTS and not isinstance(value, Mapping):
            raise ValueError(f"{section} is {value!r}; it must be a mapping of settings")
        for name, setting in value.items() if isinstance(value, Mapping) else [("", value)]:
            if setting is None:
                raise ValueError(
                    f"{f'{section}.{name}'.rstrip('.')} has no value; give it one or leave it out"
                )
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False, print_config=None, **options)
    parser.add_argument("--data", type=str, default="", help=f"{', '.join(EMBEDDED)}, or {FORMS}")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, data order and noise")
    classes: Any = int | Literal["auto"]
    text = "classes that the networks are told of; 0: none, auto: those of the data"
    parser.add_argument("--num_classes", type=classes, default=0, help=text)
    for section, kinds in KINDS.items():
        kind = settings.get(section, {}).get("kind", next(iter(kinds)))
        if kind not in list(kinds):  # a list, because an unhashable value may be given
            raise ValueError(f"{section}.kind is {kind!r}; it must be one of {', '.join(kinds)}")
        parser.add_class_arguments(kinds[kind], section)
    for section, part in PARTS.items():
        parser.add_class_arguments(part, section)
    return parser


def parse_settings(parser: ArgumentParser, parse: Any) -> RunConfig:
    """Run `parse(parser)` and build the RunConfig; every complaint becomes a ValueError of one line."""
    from argparse import ArgumentError

    names = [f.name for f in dataclasses.fields(RunConfig)]
    try:
        values = parse(parser)
        for name, value in values.items():
            if value is None and ("." in name or name in names):
                raise ValueError(f"{name} has no value; leave it out to take its default")
        parsed = parser.instantiate(values)
    except (ArgumentError, TypeError) as error:
        raise ValueError(_explained(one_line(error), parser)) from None
    return RunConfig(**{name: parsed[name] for name in names})


def one_line(error: object) -> str:
    """The text of an error without line breaks."""
    return " ".join(str(error).split())


def _explained(message: str, parser: ArgumentParser) -> str:
    """Add to a complaint about an unknown option what there is instead."""
    known = [option.removeprefix("--") for action in parser._actions for option in action.option_strings]
    patterns = (
        r"arguments: --(?P<name>[\w.]+)",
        r"Group '(?P<group>[\w.]+)' does not accept option '(?P<name>[\w.]+)'",
        r"Option '(?P<name>[\w.]+)' is not accepted",
    )
    given = next(filter(None, (re.search(pattern, message) for pattern in patterns)), None)
    if given is None:
        return message
    groups = given.groupdict()
    name = f"{groups['group']}.{groups['name']}" if "group" in groups else groups["name"]
    section, _, leaf = name.rpartition(".")
    siblings = [option for option in known if option.startswith(f"{section}.") or not section]
    near = difflib.get_close_matches(name, known, 1, 0.85) or [
        sibling for sibling in siblings if difflib.get_close_matches(leaf, [sibling.split(".")[-1]], 1, 0.6)
    ]
    hint = f"; did you mean {near[0]}?" if near else ""
    if section and siblings:
        return f"{message}{hint}; {section} takes {', '.join(option.split('.')[-1] for option in siblings)}"
    if near:
        return message + hint
    return f"{message}; the sections are {', '.join([*KINDS, *PARTS])}, beside data, seed and num_classes"
