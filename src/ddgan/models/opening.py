"""Opening a trained model: from a run folder, a checkpoint, a weights file, the package or the Hub."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ddgan.config.settings import SettingError
from ddgan.models.checkpoint_file import STATE_NAME, is_checkpoint, read_checkpoint
from ddgan.models.hub import download_weights
from ddgan.models.precision import Precision, channels_innermost
from ddgan.models.shipped_models import folder_of, known_names
from ddgan.models.weights_file import (
    WEIGHTS_NAME,
    Weights,
    check_weights,
    ema_in,
    no_ema,
    read_metadata,
    read_weights,
)

__all__ = ["load", "model_of", "open_weights"]

SLACK = 4
"""Parameters that may be registered while a network is built, per tensor of its file: some replace others."""


def load(
    source: str | Path,
    device: torch.device | str = "cpu",
    *,
    ema: float | None = None,
    precision: Precision = "float32",
) -> Any:
    """Open a trained model of any method, such as a `DDGAN`.

    Args:
        source: a run folder, a checkpoint, a .safetensors file, the name of a model that comes with the
            package (see `ddgan models`), or "user/name" (optionally with "@revision") on the Hub. Local paths
            take precedence, then models of the package.
        device: device of the weights.
        ema: half-life of the EMA to open, in thousands of images (optimization.ema.half_lives); by default
            the main EMA, of optimization.ema.decay.
        precision: precision of the generator: float32, bf16, fp16 or auto.

    Returns:
        A `Model`: it has sample_shape, nfe, sample and save.

    Raises:
        ValueError: if `source` is none of these or cannot be fetched, the file is damaged or from another
            version, it was trained with a component that is not registered, or the run has no such EMA.
    """
    weights, path = open_weights(source, ema)
    return model_of(weights, path, device, precision)


def model_of(
    weights: Weights, path: Path, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> Any:
    """Build the model of weights that were read from a file.

    Raises:
        ValueError: if the weights do not fit their settings.
    """
    generator = _built(weights, path)
    if weights.config.training.channels_last:
        channels_innermost(generator)
    model = weights.config.method.open(
        generator.to(device), weights.config, weights.sample_shape, weights.license
    )
    model.source, model.data_checksum = path, weights.data
    if hasattr(model, "set_precision"):
        model.set_precision(precision)
    return model


def _built(weights: Weights, path: Path) -> nn.Module:
    """Build the generator and load its weights.

    The settings may come from anyone: nothing is allocated before all shapes are checked, and no network is
    built that is far larger than the file's.
    """
    shapes = weights.sample_shape, weights.config.conditions.shapes
    try:
        with torch.device("meta"), at_most(SLACK * (len(weights.tensors) + 1)):
            generator = weights.config.generator.build(*shapes)
        check_weights(generator, weights.tensors, path)
        if {name for name, _ in generator.named_buffers()} - generator.state_dict().keys():
            generator = weights.config.generator.build(*shapes)  # with buffers that no file has
    except TooManyParametersError:
        raise ValueError(
            f"'{path}' does not fit its own settings: they describe a network of far more than its "
            f"{len(weights.tensors)} tensors; fetch or save it again"
        ) from None
    except SettingError as error:
        raise ValueError(f"the settings in '{path}' cannot be used: {error.within('generator')}") from None
    dtypes = {name: tensor.dtype for name, tensor in generator.state_dict().items()}
    tensors = {name: tensor.to(dtypes[name]) for name, tensor in weights.tensors.items()}
    generator.load_state_dict(tensors, assign=True)
    return generator


class TooManyParametersError(Exception):
    """A network under construction has more parameters than are allowed."""


@contextmanager
def at_most(most: int) -> Iterator[None]:
    """Stop the construction of modules, in this thread, at more than `most` parameters (tensors).

    Raises:
        TooManyParametersError: in the constructor that registers one more.
    """
    count, builder = 0, threading.get_ident()

    def on_registration(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal count
        count += parameter is not None and threading.get_ident() == builder
        if count > most:
            raise TooManyParametersError

    hook = register_module_parameter_registration_hook(on_registration)
    try:
        yield
    finally:
        hook.remove()


def open_weights(source: str | Path, ema: float | None = None) -> tuple[Weights, Path]:
    """Read the EMA weights of a model; return them and their file. `source` is as for `load`.

    Raises:
        ValueError: if `source` is none of these or cannot be fetched, is damaged, has another format, or
            has no EMA of this half-life.
    """
    try:
        path = folder_of(source)
        checkpoint = _checkpoint_at(path)
    except OSError as error:  # such as a name that is too long
        raise ValueError(f"'{str(source)[:60]}' cannot be opened: {error.strerror}") from None
    if checkpoint is not None:
        return _of_checkpoint(checkpoint, ema), checkpoint / STATE_NAME
    if path.is_dir():
        if not (path / WEIGHTS_NAME).is_file():
            hides = "; it hides the model of this name that comes with ddgan: work in another folder"
            hint = hides if str(source) in known_names() else ""
            raise ValueError(f"'{source}' is not a run folder: it has no {WEIGHTS_NAME}{hint}")
        if ema is not None and path != Path(source):
            raise ValueError(f"ema is {ema:g}, but the model {source} comes with one EMA; leave it out")
        path = ema_in(path, ema)
    elif ema is not None:
        raise ValueError(f"ema is {ema:g}, but '{source}' is not a run folder; open the EMA's own file")
    elif not path.is_file():
        path = download_weights(str(source))
    return read_weights(path), path


def _checkpoint_at(path: Path) -> Path | None:
    """Return the checkpoint folder of a path to it or to its tensors; None for any other path."""
    folder = path.parent if path.name == STATE_NAME else path
    return folder if is_checkpoint(folder) else None


def _of_checkpoint(path: Path, ema: float | None) -> Weights:
    try:
        found = read_checkpoint(path, prefix="ema")
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error}") from None
    config, sample_shape, license = read_metadata(found.metadata, f"'{path}'")
    half_lives = config.optimization.ema.half_lives
    if ema is not None and ema not in half_lives:
        raise no_ema(path, ema, [f"{one:g}" for one in half_lives])
    tensors = found.weights(f"ema{0 if ema is None else 1 + half_lives.index(ema)}")
    return Weights(tensors, config, sample_shape, license, found.metadata.get("data", ""))
