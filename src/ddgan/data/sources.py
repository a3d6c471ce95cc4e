"""Data sources by name: what `--data` takes."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from ddgan.data.digits import StackedDigits
from ddgan.data.toy import Gaussians

SOURCES: dict[str, Any] = {"digits": StackedDigits, "gaussians": Gaussians}


class Data(Protocol):
    """Training data: batch `step` of `size` samples, (size, *state_shape); images in [-1, 1]."""

    state_shape: tuple[int, ...]

    def batch(self, step: int, size: int) -> Tensor: ...


def check_source(name: str) -> None:
    """Complain where `name` is no data source.

    Raises:
        ValueError: naming the sources that exist.
    """
    if name not in SOURCES:
        given = f"data is '{name}'" if name else "this configuration names no data"
        raise ValueError(f"{given}; pass --data with one of: {', '.join(SOURCES)}")


def open_source(name: str, seed: int, device: torch.device | str = "cpu") -> Data:
    """The training data called `name`, in an order that depends on `seed`.

    Raises:
        ValueError: if there is no such source.
    """
    check_source(name)
    return SOURCES[name](seed=seed, device=device)
