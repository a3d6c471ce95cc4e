"""Where the weights of a model may be: a run folder, one of its checkpoints, a file, or the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ddgan.config.run_config import RunConfig
from ddgan.models.weights_file import WEIGHTS_NAME, average_in, no_average, read_weights


class Opened(NamedTuple):
    """What was read: weights by name, settings, the licence in words, and from where."""

    tensors: dict[str, Tensor]
    config: RunConfig
    license: str
    path: Path


def open_weights(source: str | Path, ema: float | None = None) -> Opened:
    """The averaged weights of a model, by whatever name `DDGAN.from_pretrained` takes.

    Raises:
        ValueError: if `source` is none of these or cannot be fetched, is damaged or of another format, or
            has no average of this half-life.
    """
    path = Path(source)
    if (checkpoint := _checkpoint_at(path)) is not None:
        return _of_checkpoint(checkpoint, ema)
    if path.is_dir():
        if not (path / WEIGHTS_NAME).is_file():
            raise ValueError(f"'{source}' is no run folder: it holds no {WEIGHTS_NAME}")
        path = average_in(path, ema)
    elif ema is not None:
        raise ValueError(f"ema is {ema:g}, but '{source}' is no run folder; its averages are files of it")
    elif not path.is_file():
        from ddgan.models.hub import download_weights

        path = download_weights(str(source))
    return Opened(*read_weights(path, RunConfig.from_dict), path)


def _checkpoint_at(path: Path) -> Path | None:
    """The folder of the checkpoint that a path names by its folder or by its tensors; None if it is none."""
    from ddgan.training.checkpoint import STATE_NAME, is_checkpoint

    folder = path.parent if path.name == STATE_NAME else path
    return folder if is_checkpoint(folder) else None


def _of_checkpoint(path: Path, ema: float | None) -> Opened:
    from ddgan.training.checkpoint import STATE_NAME, read_checkpoint

    try:
        found = read_checkpoint(path, prefix="average")
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error}") from None
    if "method" in found.facts.get("config", {}):
        raise ValueError(f"'{path}' is no checkpoint of a denoising diffusion GAN but of a baseline")
    try:
        config = RunConfig.from_dict(found.facts["config"])
    except (KeyError, ValueError) as error:
        raise ValueError(f"'{path}' is no checkpoint of a denoising diffusion GAN: {error}") from None
    half_lives = config.optimization.ema_half_lives
    if ema is not None and ema not in half_lives:
        raise no_average(path, ema, [f"{one:g}" for one in half_lives])
    weights = found.weights(f"average{0 if ema is None else 1 + half_lives.index(ema)}")
    return Opened(weights, config, found.facts.get("license", ""), path / STATE_NAME)
