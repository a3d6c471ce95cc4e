"""Reading the published checkpoint files without running code in them.

There are two formats: a generator's state dict (netG_<epoch>.pth) and the state of a training run
(content.pth), which keeps the EMA of the weights in the generator's optimizer. Both are pickles, which can
run any code when they are opened; here only tensors, plain values and argparse.Namespace are loaded, and
anything else is refused.
"""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ddgan.interop.nvlabs import PREFIX
from ddgan.system.text import one_line

__all__ = ["Checkpoint", "load_harmless", "read_checkpoint"]

HARMLESS: list[Any] = [argparse.Namespace]
"""Classes that a checkpoint may contain besides tensors."""
Kind = Literal["generator", "discriminator", "training state"]


@dataclass(frozen=True)
class Checkpoint:
    """The content of a published file.

    Attributes:
        kind: a generator, a discriminator, or the state of a training run, which has both.
        tensors: the state dict of the generator, or of the discriminator; names as in the file.
        ema: the EMA of the generator's weights, with the same names; None if the file has none.
        settings: the published settings under their published names; empty if the file has none.
        progress: epoch and global_step of a training state.
    """

    kind: Kind
    tensors: dict[str, Tensor]
    ema: dict[str, Tensor] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, int] = field(default_factory=dict)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a published checkpoint without running code in it.

    Raises:
        ValueError: if it is not one, is damaged, or contains code.
    """
    content = load_harmless(Path(path))
    try:
        if isinstance(content, Mapping) and "netG_dict" in content:
            return _training_state(content)
        tensors = _state_dict(content, "it")
    except ValueError as error:
        raise ValueError(f"'{path}' is not a published checkpoint: {error}") from None
    names = {name.removeprefix(PREFIX) for name in tensors}
    if any(name.startswith("z_transform.") for name in names):
        return Checkpoint("generator", tensors)
    if "start_conv.weight" in names:
        return Checkpoint("discriminator", tensors)
    raise ValueError(
        f"'{path}' holds weights of another model: it has neither a mapping network (z_transform.*) nor a "
        "discriminator's start_conv"
    )


def load_harmless(path: Path) -> Any:
    """Load a file of torch.save on the CPU if it holds only tensors and plain values.

    Raises:
        ValueError: if it holds anything else, or is damaged.
    """
    if not path.is_file():
        raise ValueError(f"'{path}' is not a file; give a checkpoint")
    try:
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about other pickle protocols, which then fail
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can fail in any way
        if wanted := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise ValueError(
                f"'{path}' is refused: it wants to run {wanted[1]}, but a checkpoint needs only tensors and "
                "plain values; if you trust it, save its state dict alone and convert that"
            ) from None
        raise ValueError(f"'{path}' is damaged or not a file of torch.save: {_short(error)}") from None


def _short(error: Exception) -> str:
    text = re.split(r"Please file|In PyTorch|\. ", one_line(error))[0]
    return text or type(error).__name__


def _training_state(content: Mapping[str, Any]) -> Checkpoint:
    tensors = _state_dict(content["netG_dict"], "its netG_dict")
    settings = content.get("args", {})
    settings = vars(settings) if isinstance(settings, argparse.Namespace) else settings
    return Checkpoint(
        "training state",
        tensors,
        _ema(content.get("optimizerG"), tensors),
        _plain(settings) if isinstance(settings, Mapping) else {},
        {name: content[name] for name in ("epoch", "global_step") if isinstance(content.get(name), int)},
    )


def _state_dict(value: Any, what: str) -> dict[str, Tensor]:
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"{what} is not a state dict but {type(value).__name__}")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{what} has {name!r} of type {type(tensor).__name__}; expected tensors by name")
        if tensor.layout != torch.strided or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise ValueError(f"{what} has {name!r}, which would take more memory than is in the file")
    return dict(value)


def _ema(optimizer: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the EMA of each parameter from the optimizer's state, by parameter name.

    The optimizer numbers the parameters in the order of the state dict.
    """
    if not isinstance(optimizer, Mapping):
        return None
    try:
        order = [number for group in optimizer["param_groups"] for number in group["params"]]
        emas = [optimizer["state"].get(number, {}).get("ema") for number in order]
    except (KeyError, TypeError, AttributeError):
        raise ValueError("its optimizerG is not the state of an optimizer") from None
    if all(ema is None for ema in emas):
        return None
    if len(emas) != len(tensors):
        raise ValueError(f"its optimizerG has {len(emas)} parameters, its netG_dict {len(tensors)}")
    named = dict(zip(tensors, emas, strict=True))
    for name, ema in named.items():
        if not isinstance(ema, Tensor) or ema.shape != tensors[name].shape:
            raise ValueError(f"its optimizerG has no EMA with the shape of {name!r}")
    return _state_dict(named, "the EMA in its optimizerG")


def _plain(settings: Mapping[Any, Any]) -> dict[str, Any]:
    """Select the settings whose values are numbers, strings, or lists of them."""

    def is_plain(value: Any) -> bool:
        if isinstance(value, list | tuple):
            return all(is_plain(entry) for entry in value)
        return isinstance(value, bool | int | float | str)

    return {name: value for name, value in settings.items() if isinstance(name, str) and is_plain(value)}
