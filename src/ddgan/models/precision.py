"""The generator as used in sampling: its precision, its memory layout, compiled or not.

A U-Net runs in channels_last, and in bfloat16 or float16 if requested: weights and features then take half
the memory, and hardware with native 16-bit products is about twice as fast. The chain around it (the states
x_t, the posterior) stays in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, cast

import torch
from torch import Tensor, nn

from ddgan.networks.axes import CHANNELS_LAST
from ddgan.networks.conditions import Condition

__all__ = [
    "DTYPES",
    "Arithmetic",
    "Precision",
    "channels_innermost",
    "choose_precision",
    "computing_in",
    "in_its_type",
    "repays_compiling",
    "tf32",
]

Arithmetic = Literal["float32", "bf16", "fp16"]
Precision = Literal["auto"] | Arithmetic
DTYPES: dict[Arithmetic, torch.dtype] = {
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
}
"""The type of the numbers that a network computes with, by the name of the precision."""
PRECISIONS = ("auto", *DTYPES)


def choose_precision(name: str, device: torch.device) -> Arithmetic:
    """Resolve a precision by name.

    "auto" is bf16 on devices with native bfloat16, else fp16 on GPUs with fast float16, else float32.

    Raises:
        ValueError: if it is none of auto, float32, bf16, fp16.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision is '{name}'; it must be one of {', '.join(PRECISIONS)}")
    if name == "auto":
        if computes_in_bf16(device):
            return "bf16"
        return "fp16" if computes_in_fp16(device) else "float32"
    return cast(Arithmetic, name)


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; on others it is emulated and slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
    return False


def computes_in_fp16(device: torch.device) -> bool:
    """Whether it is a GPU with fast float16 (V100, T4, RTX 20 and later); on a CPU float16 is slow."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)


REPAYING_CALLS = 3000
"""A guess: compiling may take a minute on a GPU and save a few hundredths of a second per call."""


def repays_compiling(name: str, device: torch.device, calls: int) -> bool:
    """Whether to compile a generator for this number of calls; "auto": on a GPU, for many calls.

    Raises:
        ValueError: if `name` is none of auto, yes, no.
    """
    if name not in ("auto", "yes", "no"):
        raise ValueError(f"compile is '{name}'; it must be one of auto, yes, no")
    return name == "yes" or (name == "auto" and device.type == "cuda" and calls >= REPAYING_CALLS)


def channels_innermost(network: nn.Module) -> nn.Module:
    """Convert the weights of a network's convolutions to channels_last; the values stay the same."""
    for part in (*network.parameters(), *network.buffers()):
        if part.ndim in CHANNELS_LAST:
            part.data = part.data.to(memory_format=CHANNELS_LAST[part.ndim])
    return network


class InItsType(nn.Module):
    """A network with bf16 or float16 weights: float32 in and out.

    Args:
        network: (x_t, t, z, condition) -> prediction, with all weights of one dtype.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        prediction: Tensor = self.network(x_t.to(dtype), t, z.to(dtype), condition)
        return prediction.to(x_t.dtype)


def in_its_type(network: nn.Module) -> nn.Module:
    """Return the network itself, or with float32 in and out if its weights are bf16 or float16."""
    short = next(network.parameters()).dtype in (torch.float16, torch.bfloat16)
    return InItsType(network) if short else network


def computing_in(generator: nn.Module, dtype: torch.dtype) -> InItsType:
    """Copy a generator to bfloat16 or float16 inside, float32 in and out."""
    return InItsType(channels_innermost(copy.deepcopy(generator).to(dtype)))


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow or forbid, within the context, TF32 for float32 products on a GPU (10 mantissa bits of 23)."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
