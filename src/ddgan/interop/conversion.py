"""Published checkpoints as models of ours, and back.

The architecture is read from the shapes. What no shape tells, the number of steps, the image size and the
schedule, comes from a preset, from arguments, or from the settings in the file; where two say it, they must
agree. Converted weights carry their licence, which is not ours.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor

from ddgan.config.run_config import RunConfig, preset_names
from ddgan.diffusion.process import DiffusionConfig
from ddgan.interop.nvlabs import PREFIX, generator_from_state_dict, published_state_dict
from ddgan.interop.published_checkpoints import Checkpoint
from ddgan.models.ddgan import DDGAN
from ddgan.networks import Generator, NCSNppConfig

LICENSE = (
    "NVIDIA Source Code License for Denoising Diffusion GAN: non-commercial use only (research or "
    "evaluation), see https://github.com/NVlabs/denoising-diffusion-gan/blob/main/LICENSE"
)
"""Of the published weights."""
ANY_SIZE = 4096
"""Stands for an image size that is not known: every number of levels divides it."""


@dataclass(frozen=True)
class Unsaid:
    """What the shapes of a generator do not tell; None where it is to be found elsewhere.

    Args:
        num_steps: T.
        image_size: height and width in pixels.
        schedule: "vp" or "geometric".
        beta_min: see `DiffusionConfig`.
        beta_max: see `DiffusionConfig`.
    """

    num_steps: int | None = None
    image_size: int | None = None
    schedule: Literal["vp", "geometric"] | None = None
    beta_min: float | None = None
    beta_max: float | None = None

    def __post_init__(self) -> None:
        for name in ("num_steps", "image_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")


def to_model(
    checkpoint: Checkpoint,
    preset: str | Path | RunConfig | None = None,
    unsaid: Unsaid | None = None,
    *,
    weights: Literal["average", "last"] = "average",
    license: str = LICENSE,
) -> DDGAN:
    """The generator of a published checkpoint as a model, its weights in float32.

    Args:
        checkpoint: a generator or a training state.
        preset: a preset, YAML file or RunConfig that says what the shapes do not, and records how it was
            trained; its generator must be the file's.
        unsaid: the same by itself; it goes before the preset.
        weights: of a training state, the moving average or the last weights.
        license: of the weights.

    Raises:
        ValueError: if the file holds no such generator, something is not said, or two disagree.
    """
    base = None if preset is None else RunConfig.load(preset)
    said = _said(checkpoint, base, unsaid or Unsaid())
    generator = _generator(_weights(checkpoint, weights), said.image_size, checkpoint.settings)
    if base is not None:
        _check_generator(generator.config, base)
    diffusion = {name: value for name, value in asdict(said).items() if name != "image_size"}
    config = replace(
        base or RunConfig(),
        num_classes=0,
        generator=generator.config,
        diffusion=DiffusionConfig(**{name: value for name, value in diffusion.items() if value is not None}),
    )
    return DDGAN(generator.float(), config, license)


def save_published(model: DDGAN, path: Path) -> None:
    """Write the generator as a published state dict, for the published code; whole or not at all.

    Raises:
        ValueError: if the published network has no such generator.
    """
    tensors = published_tensors(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        torch.save(tensors, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def published_tensors(model: DDGAN) -> OrderedDict[str, Tensor]:
    """The generator's tensors as netG_<epoch>.pth holds them."""
    generator, prediction = model.generator, model.config.diffusion.prediction
    if not isinstance(generator, Generator):
        _refuse(f"the model's generator is {model.config.generator.kind}, not ncsnpp")
    if model.num_classes:
        _refuse(f"the model knows {model.num_classes} classes")
    if not generator.config.latent_size:
        _refuse("the model's generator has no latent z")
    if prediction != "x_0":
        _refuse(f"the model's generator predicts {prediction}, not x_0")
    published = published_state_dict(generator)
    return OrderedDict((PREFIX + name, tensor.contiguous()) for name, tensor in published.items())


def describe(checkpoint: Checkpoint) -> Iterator[tuple[str, Any]]:
    """Rows (name, value) that tell a person what a checkpoint is."""
    yield "kind", f"published {checkpoint.kind}"
    yield from checkpoint.progress.items()
    yield "parameters", f"{sum(tensor.numel() for tensor in checkpoint.tensors.values()):,}"
    yield (
        "type",
        ", ".join(sorted({str(t.dtype).removeprefix("torch.") for t in checkpoint.tensors.values()})),
    )
    if checkpoint.kind == "training state":
        yield "moving average of the weights", "yes" if checkpoint.average else "no"
    yield "licence", LICENSE
    if checkpoint.kind == "discriminator":
        return
    size = _published(checkpoint).image_size
    config = _generator(checkpoint.tensors, size or ANY_SIZE, checkpoint.settings, empty=True).config
    yield "image channels", config.image_channels
    yield "base channels", f"{config.base_channels} x {', '.join(map(str, config.channel_multipliers))}"
    yield "residual blocks per level", config.num_blocks
    shares = (config.image_size // resolution for resolution in config.attention_resolutions)
    yield "attention at", ", ".join(f"1/{share} of the size" for share in shares) or "the middle only"
    yield (
        "latent",
        f"{config.latent_size}, mapped by {config.mapping_depth + 1} layers of {config.mapping_features}",
    )
    for name, value in asdict(_published(checkpoint)).items():
        yield name.replace("_", " "), "not said by the file" if value is None else value
    fitting = [name for name in preset_names() if _fits(config, RunConfig.load(name))]
    yield "presets with this generator", ", ".join(fitting) or "none"


def _said(checkpoint: Checkpoint, base: RunConfig | None, unsaid: Unsaid) -> Unsaid:
    """Everything that the shapes do not tell, from the arguments, the preset and the file's settings."""
    file = _published(checkpoint)
    preset = Unsaid()
    if base is not None:
        diffusion = base.diffusion
        size = base.generator.image_size if isinstance(base.generator, NCSNppConfig) else None
        preset = Unsaid(diffusion.num_steps, size, diffusion.schedule, diffusion.beta_min, diffusion.beta_max)
    said = {}
    for name, argument in asdict(unsaid).items():
        asked, found = getattr(preset, name) if argument is None else argument, getattr(file, name)
        if None not in (asked, found) and asked != found:
            raise ValueError(
                f"{name} is {asked}, but the file says {found}; pass --{name} {found}, or no preset"
            )
        said[name] = found if asked is None else asked
    for name, meaning in (("num_steps", "T"), ("image_size", "the size of its images")):
        if said[name] is None:
            raise ValueError(f"the file does not tell {meaning}; pass --preset NAME or --{name}")
    return Unsaid(**said)


def _published(checkpoint: Checkpoint) -> Unsaid:
    """What the file's own settings say."""

    def setting(name: str, *kinds: type) -> Any:
        value = checkpoint.settings.get(name)
        if value is not None and type(value) not in kinds:
            raise ValueError(f"the setting {name} in the file is {value!r}; expected {kinds[-1].__name__}")
        return value

    geometric = setting("use_geometric", bool)
    return Unsaid(
        setting("num_timesteps", int),
        setting("image_size", int),
        None if geometric is None else "geometric" if geometric else "vp",
        setting("beta_min", int, float),
        setting("beta_max", int, float),
    )


def _weights(checkpoint: Checkpoint, weights: str) -> dict[str, Tensor]:
    if checkpoint.kind == "discriminator":
        raise ValueError(
            "the file holds a discriminator; a model is made of a generator (netG_*.pth, content.pth)"
        )
    if checkpoint.kind == "generator" or weights == "last":
        return checkpoint.tensors
    if checkpoint.average is None:
        raise ValueError("the file keeps no average of the weights; take the last ones, with --weights last")
    return checkpoint.average


def _generator(
    tensors: dict[str, Tensor], image_size: int | None, settings: dict[str, Any], *, empty: bool = False
) -> Generator:
    """The generator; an empty one has the shapes alone."""
    assert image_size is not None
    if empty:
        tensors = {name: tensor.to("meta") for name, tensor in tensors.items()}
    more = {name: value for name, value in settings.items() if name not in ("tensors", "image_size")}
    try:
        return generator_from_state_dict(tensors, image_size=image_size, **more)
    except TypeError as error:
        raise ValueError(f"the settings in the file make no sense: {error}") from None


def _check_generator(found: NCSNppConfig, base: RunConfig) -> None:
    if base.generator.kind != found.kind:
        raise ValueError(
            f"the file holds a generator of kind {found.kind}, the preset's is {base.generator.kind}"
        )
    expected = replace(base.generator, image_size=found.image_size)  # its size may have been overridden
    wrong = [
        f"{name} {value} instead of {getattr(expected, name)}"
        for name, value in asdict(found).items()
        if value != getattr(expected, name)
    ]
    if wrong:
        raise ValueError(
            f"the file's generator is not the preset's: {'; '.join(wrong)}; "
            "name the preset that fits, or pass --num_steps and --image_size without one"
        )


def _fits(config: NCSNppConfig, base: RunConfig) -> bool:
    """Whether the preset has this generator; a size that the file does not tell may be any."""
    if not isinstance(base.generator, NCSNppConfig):
        return False
    size = base.generator.image_size
    levels = [resolution * size // config.image_size for resolution in config.attention_resolutions]
    return replace(config, image_size=size, attention_resolutions=tuple(levels)) == base.generator


def _refuse(why: str) -> NoReturn:
    raise ValueError(f"{why}; the published network has no such generator")
