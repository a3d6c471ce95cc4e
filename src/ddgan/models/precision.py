"""The generator as sampling calls it: its arithmetic, its layout in memory, compiled or not.

A U-Net runs with the channels innermost, and in bfloat16 where that was asked for: weights and features
then take half the memory, and processors that know the format do about twice the work. The chain around
it (the states x_t, the posterior) stays in float32.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from ddgan.networks.conditions import Condition

__all__ = [
    "Precision",
    "channels_innermost",
    "choose_precision",
    "in_bf16",
    "in_its_type",
    "repays_compiling",
    "tf32",
]

Precision = Literal["auto", "float32", "bf16"]
PRECISIONS = ("auto", "float32", "bf16")


def choose_precision(name: str, device: torch.device) -> Literal["float32", "bf16"]:
    """The precision that `name` stands for: "auto" is bf16 where the device computes in it natively.

    Raises:
        ValueError: if it is none of auto, float32, bf16.
    """
    if name not in PRECISIONS:
        raise ValueError(f"precision is '{name}'; it must be one of {', '.join(PRECISIONS)}")
    if name == "auto":
        return "bf16" if computes_in_bf16(device) else "float32"
    return "bf16" if name == "bf16" else "float32"


def computes_in_bf16(device: torch.device) -> bool:
    """Whether the device has instructions for bfloat16; elsewhere it is emulated, and slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return bool(found.get("avx512_bf16") or found.get("amx_bf16") or found.get("bf16"))
    return False


REPAYING_CALLS = 3000
"""A guess: compiling may take a minute on a GPU, and save a few hundredths of a second in each later call."""


def repays_compiling(name: str, device: torch.device, calls: int) -> bool:
    """Whether to compile a generator that will be called so often; "auto": on a GPU, for many calls.

    Raises:
        ValueError: if `name` is none of auto, yes, no.
    """
    if name not in ("auto", "yes", "no"):
        raise ValueError(f"compile is '{name}'; it must be one of auto, yes, no")
    return name == "yes" or (name == "auto" and device.type == "cuda" and calls >= REPAYING_CALLS)


def channels_innermost(network: nn.Module) -> nn.Module:
    """The network with its convolutions' weights laid out channels_last; the values stay."""
    to: Callable[..., nn.Module] = network.to  # whose stub knows no memory format alone
    return to(memory_format=torch.channels_last)


class InItsType(nn.Module):
    """A network whose weights are of a shorter type: it takes and gives what it would in float32.

    Args:
        network: (x_t, t, z, condition) -> prediction, all weights of one type.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        prediction: Tensor = self.network(x_t.to(dtype), t, z.to(dtype), condition)
        return prediction.to(x_t.dtype)


def in_its_type(network: nn.Module) -> nn.Module:
    """The network as float32 calls it: itself, unless its weights are half as long."""
    short = next(network.parameters()).dtype in (torch.float16, torch.bfloat16)
    return InItsType(network) if short else network


def in_bf16(generator: nn.Module) -> InItsType:
    """A copy of a generator that computes in bfloat16."""
    return InItsType(channels_innermost(copy.deepcopy(generator).bfloat16()))


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Within it, whether a GPU may multiply float32 matrices in TF32, which keeps 10 bits of the 23."""
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = allowed
    try:
        yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before
