"""How many images a machine sees in the time, roughly and always the same, so that rules can depend on it.

Work is counted in floating-point operations per image of an iteration, as `training.estimate.operations`
counts them. The networks of `choices` need about

    4e9 (size / 32)^2 (width / 32)^2 ,    a quarter of it on sub-bands

A rate is what training with these networks reaches, and not the peak of the hardware. Where it was measured
is in docs/planning.md; a GPU that we have not measured has a range, from the bandwidths of the memories of
GPUs of its size, relative to that of the one that we have.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from ddgan.planning.machine import Machine

__all__ = ["Range", "images_seen", "rates", "work_per_image"]

OPERATIONS = 4e9
"""Of an iteration, per image of 32 x 32 pixels, with 32 channels at full resolution."""
PER_CORE = 55e9
"""Operations per second of one thread (AMD EPYC, AVX-512)."""
H200 = 83e12
"""Operations per second of an NVIDIA H200 in bf16, with CUDA graphs."""
GPUS = ((64e9, 0.33, 1.0), (20e9, 0.06, 0.33), (0.0, 0.04, 0.15))
"""(least bytes of memory, lowest and highest rate of GPUs of this size relative to the H200's)."""
APPLE = 10 * PER_CORE
"""A guess, for choices alone: on an Apple GPU iterations are measured."""


class Range(NamedTuple):
    """Two bounds, and what is taken for rules and settings: their geometric mean."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """The geometric mean."""
        return math.sqrt(self.low * self.high)


def rates(machine: Machine) -> Range:
    """Return the operations per second of training on a machine, lowest and highest."""
    if machine.device == "cuda":
        memory = machine.memory or 0
        low, high = next((low, high) for least, low, high in GPUS if memory >= least)
        return Range(H200 * low, H200 * high)
    rate = APPLE if machine.device == "mps" else PER_CORE * machine.cores
    return Range(rate, rate)


def work_per_image(size: int, width: int, in_subbands: bool) -> float:
    """Return the operations of an iteration per image.

    Args:
        size: height and width in pixels.
        width: channels of both networks at full resolution.
        in_subbands: whether they work on sub-bands, with a quarter of the pixels.
    """
    return OPERATIONS * (size / 32) ** 2 * (width / 32) ** 2 / (4 if in_subbands else 1)


def images_seen(machine: Machine, minutes: float, size: int, width: int, in_subbands: bool) -> float:
    """Return how many images training sees in the time, counted once per iteration."""
    return 60 * minutes * rates(machine).middle / work_per_image(size, width, in_subbands)
