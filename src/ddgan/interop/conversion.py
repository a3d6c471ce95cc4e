"""Conversion of published checkpoints to models of ddgan, and back.

The architecture is inferred from tensor shapes. The number of steps, the image size and the schedule cannot
be inferred: they come from the settings in the file, a preset or overrides, and must not contradict the file.
Converted weights keep their own licence.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import torch
from torch import Tensor

from ddgan.config.components import find
from ddgan.config.presets import preset_names
from ddgan.config.run_config import ConditionsConfig, RunConfig
from ddgan.config.settings import Interval, SettingError, settings
from ddgan.diffusion.process import DiffusionConfig
from ddgan.diffusion.schedules import MOST_STEPS
from ddgan.interop.nvlabs import PREFIX, generator_from_state_dict, published_state_dict
from ddgan.interop.published_checkpoints import Checkpoint
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.networks.conditions import ConditionShapes
from ddgan.networks.ncsnpp import Generator, NCSNppConfig
from ddgan.system.files import file_made_atomically
from ddgan.system.text import one_line

__all__ = ["LICENSE", "SamplingSettings", "describe", "published_tensors", "save_published", "to_model"]

LICENSE = (
    "NVIDIA Source Code License for Denoising Diffusion GAN: non-commercial use only (research or "
    "evaluation), see https://github.com/NVlabs/denoising-diffusion-gan/blob/main/LICENSE"
)
"""Licence of the published weights."""
ANY_SIZE = 4096
"""Largest image size; also used if the size is unknown, because it is divisible for any number of levels."""


@settings
class SamplingSettings:
    """Settings for sampling that cannot be inferred from tensor shapes; None if unknown.

    Args:
        num_steps: T.
        image_size: height and width in pixels.
        schedule: the kind of the noise schedule.
        beta_min: beta_min of the schedule.
        beta_max: beta_max of the schedule.
    """

    num_steps: Annotated[int, Interval(ge=1, le=MOST_STEPS)] | None = None
    image_size: Annotated[int, Interval(ge=1, le=ANY_SIZE)] | None = None
    schedule: Literal["vp", "geometric"] | None = None
    beta_min: float | None = None
    beta_max: float | None = None


def to_model(
    checkpoint: Checkpoint,
    preset: str | Path | RunConfig | None = None,
    overrides: SamplingSettings | None = None,
    *,
    weights: Literal["ema", "last"] = "ema",
    license: str = LICENSE,
) -> DDGAN:
    """Convert the generator of a published checkpoint to a model with float32 weights.

    Args:
        checkpoint: a generator or a training state.
        preset: a preset, YAML file or RunConfig with the sampling settings, and with the method and data of
            the training; its generator must match the file.
        overrides: sampling settings that replace those of the preset.
        weights: the weights to take from a training state: the EMA or the last ones.
        license: licence of the weights.

    Raises:
        ValueError: if the file has no such generator, or a setting is missing or contradicts the file.
    """
    tensors, overrides = _weights(checkpoint, weights), overrides or SamplingSettings()
    if preset is None:
        base, known = RunConfig(), _merged(overrides, SamplingSettings(), _of_file(checkpoint))
        generator = _generator(tensors, known.image_size, checkpoint.settings)
    else:
        base, shapes = RunConfig.load(preset), _shapes(checkpoint)
        _check_architecture(shapes, base)
        known = _merged(overrides, _of_preset(base, shapes), _of_file(checkpoint))
        generator = _generator(tensors, known.image_size, checkpoint.settings)
        _check_attention(generator, base)
    ours: Any = generator.config
    config = replace(base, conditions=ConditionsConfig(), generator=ours, diffusion=_diffusion(known))
    return DDGAN(generator.float(), config, generator.sample_shape, license)


def save_published(model: DDGAN, path: Path) -> None:
    """Write the generator as a state dict for the published code, atomically; equal models give equal files.

    Raises:
        ValueError: if the published code does not support the model.
    """
    tensors = published_tensors(model)
    with file_made_atomically(path) as partial, partial.open("wb") as file:
        torch.save(tensors, file)  # given a path, it would write the name into the file


def published_tensors(model: DDGAN) -> OrderedDict[str, Tensor]:
    """Return the generator's tensors in the format of netG_<epoch>.pth.

    Raises:
        ValueError: if the published code does not support the model.
    """
    check_ddgan(model, "the published code")
    generator, prediction, shape = model.generator, model.config.diffusion.prediction, model.sample_shape
    if not isinstance(generator, Generator):
        _refuse(f"the model's generator is {model.config.generator.kind}, not ncsnpp")
    if model.num_classes:
        _refuse(f"the model has {model.num_classes} classes")
    if model.conditions != ConditionShapes():
        _refuse("the model takes conditions")
    if not generator.config.latent_size:
        _refuse("the model's generator has no latent z")
    if prediction != "x_0":
        _refuse(f"the model's generator predicts {prediction}, not x_0")
    if shape[1] != shape[2]:
        _refuse(f"the model makes images of {shape[1]} x {shape[2]} pixels, which are not square")
    published = published_state_dict(generator)
    return OrderedDict((PREFIX + name, tensor.contiguous()) for name, tensor in published.items())


def describe(checkpoint: Checkpoint) -> Iterator[tuple[str, Any]]:
    """Yield rows (name, value) that describe a checkpoint."""
    yield "kind", f"published {checkpoint.kind}"
    yield from checkpoint.progress.items()
    yield "parameters", f"{sum(tensor.numel() for tensor in checkpoint.tensors.values()):,}"
    yield (
        "type",
        ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in checkpoint.tensors.values()})),
    )
    if checkpoint.kind == "training state":
        yield "EMA of the weights", "yes" if checkpoint.ema else "no"
    yield "licence", LICENSE
    if checkpoint.kind == "discriminator":
        return
    file, generator = _of_file(checkpoint), _shapes(checkpoint)
    config = generator.config
    yield "image channels", generator.sample_shape[0]
    yield "base channels", f"{config.base_channels} x {', '.join(map(str, config.channel_multipliers))}"
    yield "residual blocks per level", config.num_blocks
    yield "attention at", ", ".join(f"1/{n} of the size" for n in _attention(generator)) or "the middle only"
    yield (
        "latent",
        f"{config.latent_size}, mapped by {config.mapping_depth + 1} layers of {config.mapping_features}",
    )
    for name, value in asdict(file).items():
        yield name.replace("_", " "), "not in the file" if value is None else value
    fitting = [name for name in preset_names() if _fits(generator, file, RunConfig.load(name))]
    yield "presets with this generator", ", ".join(fitting) or "none"


def _merged(
    overrides: SamplingSettings, preset: SamplingSettings, file: SamplingSettings
) -> SamplingSettings:
    """Merge the sampling settings: overrides first, then the preset, then the file.

    Raises:
        ValueError: if the file contradicts the others, or T or the image size is unknown.
    """
    if overrides.schedule not in (None, preset.schedule):  # the preset's betas belong to another schedule
        preset = replace(preset, schedule=None, beta_min=None, beta_max=None)
    merged = {}
    for name, override in asdict(overrides).items():
        wanted, found = getattr(preset, name) if override is None else override, getattr(file, name)
        if None not in (wanted, found) and wanted != found:
            raise ValueError(
                f"{name} is {wanted}, but the file says {found}; pass --{name} {found}, or no preset"
            )
        merged[name] = found if wanted is None else wanted
    for name, meaning in (("num_steps", "T"), ("image_size", "the size of its images")):
        if merged[name] is None:
            raise ValueError(f"the file does not give {meaning}; pass --preset NAME or --{name}")
    return SamplingSettings(**merged)


def _of_preset(base: RunConfig, generator: Generator) -> SamplingSettings:
    """Return the sampling settings of a preset for this generator."""
    schedule: Any = base.diffusion.schedule
    numbers = (getattr(schedule, name, None) for name in ("beta_min", "beta_max"))
    return SamplingSettings(base.diffusion.num_steps, _image_size(base, generator), schedule.kind, *numbers)


def _image_size(base: RunConfig, generator: Generator) -> int | None:
    """Return the image size of a preset: its data's, or the one at which its attention matches the file."""
    if size := getattr(base.data, "size", 0):
        return int(size)
    assert isinstance(base.generator, NCSNppConfig)
    attention, shares = base.generator.attention_resolutions, _attention(generator)
    sizes = {resolution * share for resolution in attention for share in shares}
    fitting = [size for size in sizes if _levels(base.generator, size) == [size // n for n in shares]]
    return fitting[0] if len(fitting) == 1 else None


def _levels(config: NCSNppConfig, size: int) -> list[int]:
    """Return the resolutions at which a generator for this image size has attention, largest first."""
    levels = [size >> level for level in range(len(config.channel_multipliers))]
    return [level for level in levels if level in config.attention_resolutions]


def _attention(generator: Generator) -> list[int]:
    """Return the divisors of the image size at which a generator has attention: 2 means half the size."""
    size = max(generator.sample_shape[1:])
    return sorted(size // resolution for resolution in generator.config.attention_resolutions)


def _diffusion(known: SamplingSettings) -> DiffusionConfig:
    numbers = {"beta_min": known.beta_min, "beta_max": known.beta_max}
    schedule: Any = find("schedule", known.schedule or "vp")
    assert known.num_steps is not None
    return DiffusionConfig(
        known.num_steps, schedule(**{name: value for name, value in numbers.items() if value is not None})
    )


def _of_file(checkpoint: Checkpoint) -> SamplingSettings:
    """Return the sampling settings in the file."""

    def setting(name: str, *kinds: type) -> Any:
        value = checkpoint.settings.get(name)
        if value is not None and type(value) not in kinds:
            raise ValueError(f"the setting {name} in the file is {value!r}; expected {kinds[-1].__name__}")
        return value

    geometric = setting("use_geometric", bool)
    try:
        return SamplingSettings(
            setting("num_timesteps", int),
            setting("image_size", int),
            None if geometric is None else "geometric" if geometric else "vp",
            setting("beta_min", int, float),
            setting("beta_max", int, float),
        )
    except SettingError as error:
        raise ValueError(f"the settings in the file cannot be used: {error}") from None


def _weights(checkpoint: Checkpoint, weights: str) -> dict[str, Tensor]:
    if checkpoint.kind == "discriminator":
        raise ValueError(
            "the file holds a discriminator; give one with a generator (netG_*.pth, content.pth)"
        )
    if checkpoint.kind == "generator" or weights == "last":
        return checkpoint.tensors
    if checkpoint.ema is None:
        raise ValueError("the file has no EMA of the weights; use --weights last")
    return checkpoint.ema


def _generator(tensors: dict[str, Tensor], image_size: int | None, settings: dict[str, Any]) -> Generator:
    assert image_size is not None
    more = {name: value for name, value in settings.items() if name not in ("tensors", "image_size")}
    try:
        return generator_from_state_dict(tensors, image_size=image_size, **more)
    except TypeError as error:
        raise ValueError(f"the settings in the file are invalid: {one_line(error)}") from None


def _shapes(checkpoint: Checkpoint) -> Generator:
    """Build the generator on the meta device, for ANY_SIZE if the file does not give the image size."""
    tensors = {name: tensor.to("meta") for name, tensor in checkpoint.tensors.items()}
    size, settings = _of_file(checkpoint).image_size, dict(checkpoint.settings)
    if size is None:
        settings.pop("attn_resolutions", None)
    return _generator(tensors, size or ANY_SIZE, settings)


def _check_architecture(found: Generator, base: RunConfig) -> None:
    """Refuse a preset of another method or with another network."""
    if base.method.kind != "denoising_gan":
        raise ValueError(
            f"the preset's method is {base.method.kind}, but the file holds a denoising diffusion GAN; "
            "give a preset of the method denoising_gan"
        )
    if not isinstance(base.generator, NCSNppConfig):
        raise ValueError(
            f"the file holds a generator of kind ncsnpp, the preset's is {base.generator.kind}; give a "
            "matching preset, or pass --num_steps and --image_size instead"
        )
    channels = found.sample_shape[0]
    actual = asdict(found.config) | {"image channels": channels}
    expected = asdict(base.generator) | {"image channels": getattr(base.data, "channels", 0) or channels}
    del expected["attention_resolutions"]  # they depend on the image size
    wrong = [
        f"{name} {actual[name]} instead of {expected[name]}"
        for name in expected
        if expected[name] != actual[name]
    ]
    if wrong:
        raise _other_generator("; ".join(wrong))


def _check_attention(found: Generator, base: RunConfig) -> None:
    assert isinstance(base.generator, NCSNppConfig)
    actual, expected = (
        list(found.config.attention_resolutions),
        _levels(base.generator, found.sample_shape[1]),
    )
    if actual != expected:
        raise _other_generator(f"attention at {actual or 'no'} pixels instead of {expected or 'none'}")


def _other_generator(difference: str) -> ValueError:
    return ValueError(
        f"the file's generator is not the preset's: {difference}; "
        "give a matching preset, or pass --num_steps and --image_size instead"
    )


def _fits(found: Generator, file: SamplingSettings, base: RunConfig) -> bool:
    """Whether a preset has this generator, at the file's image size if that is known."""
    try:
        _check_architecture(found, base)
    except ValueError:
        return False
    assert isinstance(base.generator, NCSNppConfig)
    size = _image_size(base, found) or file.image_size or ANY_SIZE
    levels = [size // share for share in _attention(found)]
    return file.image_size in (None, size) and levels == _levels(base.generator, size)


def _refuse(why: str) -> NoReturn:
    raise ValueError(f"{why}; the published code does not support this")
