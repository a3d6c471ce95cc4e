"""The weights file: one .safetensors with the tensors of a generator and the whole configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.system.files import read_tensors, save_tensors

WEIGHTS_NAME = "model.safetensors"
FORMAT, BASELINE_FORMAT = "ddgan-1", "ddgan-baseline-1"
OPENED_BY = {
    FORMAT: "a denoising diffusion GAN, which ddgan.DDGAN.from_pretrained opens",
    BASELINE_FORMAT: "a baseline, which ddgan.training.methods.load_baseline opens",
}
C = TypeVar("C", bound=RunConfig)


def write_weights(
    path: Path, tensors: dict[str, Tensor], config: RunConfig, license: str = "", format: str = FORMAT
) -> None:
    """Write the file; it appears whole or not at all."""
    metadata = {"format": format, "config": json.dumps(config.to_dict())}
    if license:
        metadata["license"] = license
    save_tensors(path, tensors, metadata)


def average_name(half_life: float | None) -> str:
    """The file of a run's average with this half-life (thousands of images), or of its first."""
    return WEIGHTS_NAME if half_life is None else f"model-ema{half_life:g}k.safetensors"


def average_in(run: Path, half_life: float | None) -> Path:
    """The file of an average of a run.

    Raises:
        ValueError: if the run has none of that half-life.
    """
    path = run / average_name(half_life)
    if not path.is_file():
        found = sorted(
            file.name[len("model-ema") : -len("k.safetensors")] for file in run.glob("model-ema*k.*")
        )
        assert half_life is not None  # the other file was looked for before
        raise no_average(run, half_life, found)
    return path


def no_average(place: Path, half_life: float, found: Sequence[str]) -> ValueError:
    """The complaint that `place` has averages of other half-lives only."""
    there = ", ".join(found) or "only the one of optimization.ema_decay"
    return ValueError(f"ema is {half_life:g}, but '{place}' has no average of that half-life; it has {there}")


def read_weights(
    path: Path, parse: Callable[[Mapping[str, Any]], C], format: str = FORMAT
) -> tuple[dict[str, Tensor], C, str]:
    """Tensors by name, the configuration and the licence of a file that `write_weights` wrote.

    Args:
        path: the file.
        parse: plain values -> configuration, as `RunConfig.from_dict`.
        format: what the file must say it is.

    Raises:
        ValueError: if it is damaged, or not of this format.
    """
    try:
        tensors, metadata = read_tensors(path)
    except (ValueError, OSError) as error:
        hint = "; is it a published checkpoint? ddgan convert" if path.suffix in (".pth", ".pt") else ""
        raise ValueError(f"'{path}' is no whole .safetensors file: {error}{hint}") from None
    found = metadata.get("format", "")
    if found != format and found in OPENED_BY:
        raise ValueError(f"'{path}' holds {OPENED_BY[found]}")
    if found != format or "config" not in metadata:
        raise ValueError(f"'{path}' was not written by ddgan: its metadata has no {format} config")
    try:
        config = parse(json.loads(metadata["config"]))
    except ValueError as error:
        raise ValueError(f"the config in '{path}' is damaged: {error}") from None
    if config.num_classes == "auto":
        raise ValueError(f"the config in '{path}' is damaged: num_classes is auto")
    return tensors, config, metadata.get("license", "")


def misfits(network: nn.Module, tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that are missing, unknown or of another shape than the network's, sorted."""
    ours = {name: tensor.shape for name, tensor in network.state_dict().items()}
    theirs = {name: tensor.shape for name, tensor in tensors.items()}
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def load_weights(generator: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put the tensors of the file `path` into a generator.

    Raises:
        ValueError: if one is missing, unknown or of another shape.
    """
    if wrong := misfits(generator, tensors):
        raise ValueError(
            f"'{path}' does not fit its own config: {len(wrong)} tensors are missing, unknown or of another "
            f"shape, the first '{wrong[0]}'"
        )
    generator.load_state_dict(tensors)
