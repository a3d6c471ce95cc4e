"""The weights of an export in fewer bits: what is stored, and the float32 numbers that it stands for.

    float32   w, as trained
    fp16      w rounded to float16: half the size
    int8      q = round(w / s) with s = max |w| / 127 for each output channel; it stands for q s: a quarter

Only the numbers in the file are short. A program that opens it restores float32 once, and computes with that,
so no precision is slower than another, on any processor.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

__all__ = ["PRECISIONS", "Stored", "WeightPrecision", "check_weight_precision", "round_weights"]

WeightPrecision = Literal["float32", "fp16", "int8"]
PRECISIONS: tuple[WeightPrecision, ...] = get_args(WeightPrecision)
FEWEST_VALUES = 1024
"""Smaller tensors, such as biases, stay float32: they take little space."""
LARGEST_INT8 = 127


class Stored(NamedTuple):
    """A weight as it is stored: float16 numbers, or int8 numbers and the scale of each output channel."""

    numbers: Tensor
    scale: Tensor | None = None

    @property
    def value(self) -> Tensor:
        """The float32 weight that it stands for."""
        numbers = self.numbers.float()
        return numbers if self.scale is None else numbers * self.scale


def check_weight_precision(precision: str) -> WeightPrecision:
    """Return the precision of that name.

    Raises:
        ValueError: if there is none.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is '{precision}'; it must be one of {', '.join(PRECISIONS)}")
    return precision


@torch.no_grad()
def round_weights(network: nn.Module, precision: WeightPrecision) -> dict[str, Stored]:
    """Round the large weights of a network of float32, in place; return how each is stored, by name.

    Weights of one dimension are never rounded.

    Raises:
        ValueError: if a weight is too large for float16, or not finite.
    """
    stored: dict[str, Stored] = {}
    if precision == "float32":
        return stored
    for name, parameter in network.named_parameters():
        if parameter.ndim < 2 or parameter.numel() < FEWEST_VALUES:
            continue
        short = _half(parameter.detach()) if precision == "fp16" else _int8(parameter.detach())
        if not short.value.isfinite().all():
            raise ValueError(
                f"precision is '{precision}', but the weight '{name}' has values that it cannot hold; "
                "use float32"
            )
        parameter.copy_(short.value)
        stored[name] = short
    return stored


def _half(weight: Tensor) -> Stored:
    return Stored(weight.half())


def _int8(weight: Tensor) -> Stored:
    rest = tuple(range(1, weight.ndim))
    scale = weight.abs().amax(dim=rest, keepdim=True) / LARGEST_INT8
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)  # for a channel of zeros
    return Stored((weight / scale).round().to(torch.int8), scale)
