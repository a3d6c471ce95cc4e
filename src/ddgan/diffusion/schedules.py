"""Noise schedules: the signal power abar(u) over continuous time u in [0, 1] (paper section 2).

    variance preserving   abar(u) = exp(-u^2 (beta_max - beta_min) / 2 - u beta_min)
    geometric             abar(u) = 1 - beta_min (beta_max / beta_min)^u
    cosine                abar(u) = cos^2(u arccos(sqrt(signal_left)))        (not in the paper)

A schedule of T steps is evaluated at u_k = epsilon + (1 - epsilon) k / T, k = 0..T, with epsilon = 1e-3:
beta_k = 1 - abar(u_k) / abar(u_{k-1}).

Whatever T is, no step then has more noise than the single step of T = 1, and none less than the first of the
most steps allowed, because all schedules add noise ever faster. The schedules check these two.
"""

from __future__ import annotations

import math
from typing import Annotated, Protocol

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.config.settings import Interval, SettingError

__all__ = ["CosineConfig", "GeometricConfig", "Schedule", "VPConfig", "step_betas"]

SMALLEST_TIME = 1e-3
"""epsilon."""
MOST_STEPS = 10_000
"""The largest T."""
LEAST_SIGNAL, LEAST_NOISE = 1e-12, 1e-10
"""Signal power that must be left at the end, and noise variance that each step must add.

Signals of 1e-6 beside noise of 1 are about the smallest that float32 represents, and in double precision
1 - beta keeps four digits of either.
"""


class Schedule(Protocol):
    """Interface of every kind of schedule."""

    def signal_power(self, u: float) -> float:
        """Return abar(u) in (0, 1], decreasing for u in [0, 1]; it is renormalised to start at 1."""
        ...


@register("schedule", "vp")
class VPConfig:
    """The variance-preserving schedule of the paper.

    Args:
        beta_min: the smallest noise rate; above 0.
        beta_max: the largest noise rate; above beta_min. Together at most 55, so that some signal is left.
    """

    beta_min: Annotated[float, Interval(gt=0, le=55)] = 0.1
    beta_max: Annotated[float, Interval(gt=0, le=55)] = 20.0

    def __post_init__(self) -> None:
        _check_order(self.beta_min, self.beta_max)
        _check_levels(self)

    def signal_power(self, u: float) -> float:
        """abar(u) = exp(-u^2 (beta_max - beta_min) / 2 - u beta_min)."""
        return math.exp(-0.5 * u**2 * (self.beta_max - self.beta_min) - u * self.beta_min)


@register("schedule", "geometric")
class GeometricConfig:
    """The schedule whose noise variance grows geometrically.

    Args:
        beta_min: the smallest noise variance; above 0.
        beta_max: the largest noise variance; above beta_min, below 1.
    """

    beta_min: Annotated[float, Interval(gt=0, lt=1)] = 1e-4
    beta_max: Annotated[float, Interval(gt=0, lt=1)] = 0.99

    def __post_init__(self) -> None:
        _check_order(self.beta_min, self.beta_max)
        _check_levels(self)

    def signal_power(self, u: float) -> float:
        """abar(u) = 1 - beta_min (beta_max / beta_min)^u."""
        ratio: float = (self.beta_max / self.beta_min) ** u
        return 1 - self.beta_min * ratio


@register("schedule", "cosine")
class CosineConfig:
    """The cosine schedule (Nichol and Dhariwal, arXiv 2102.09672), which ends at a chosen signal power.

    More of its steps have little noise than those of the paper's schedule: of eight, four keep half of the
    signal power, and two of the paper's.

    Args:
        signal_left: abar(1), the signal power at the end; above 0. What is left is missing in the noise that
            sampling starts from, and counts for more with larger images.
    """

    signal_left: Annotated[float, Interval(ge=1e-6, le=0.5)] = 1e-3

    def signal_power(self, u: float) -> float:
        """abar(u) = cos^2(u arccos(sqrt(signal_left)))."""
        return math.cos(u * math.acos(math.sqrt(self.signal_left))) ** 2


def _check_order(low: float, high: float) -> None:
    if not low < high:
        raise SettingError(
            "beta_min", f"is {low:g} and beta_max is {high:g}; beta_min must be below beta_max"
        )


def _check_levels(schedule: VPConfig | GeometricConfig) -> None:
    """Check that signal and noise can be represented for every T that is allowed."""
    low, high = schedule.beta_min, schedule.beta_max
    start, first, end = (schedule.signal_power(u) for u in (*_times(MOST_STEPS)[:2], 1.0))
    if end / start < LEAST_SIGNAL:
        raise SettingError(
            "beta_max",
            f"is {high} and beta_min is {low}, which leaves a signal power of {end / start:.2g} at the end, "
            f"and at least {LEAST_SIGNAL:g} is needed; lower beta_max",
        )
    if 1 - first / start < LEAST_NOISE:
        raise SettingError(
            "beta_min",
            f"is {low} and beta_max is {high}, which adds a noise variance of {1 - first / start:.2g} in the "
            f"first of {MOST_STEPS:,} steps, and at least {LEAST_NOISE:g} is needed; raise beta_min",
        )


def _times(num_steps: int) -> list[float]:
    return [SMALLEST_TIME + (1 - SMALLEST_TIME) * k / num_steps for k in range(num_steps + 1)]


def step_betas(schedule: Schedule, num_steps: int) -> Tensor:
    """Return beta_1..beta_T, a (T,) float64 tensor.

    Raises:
        ValueError: if a step adds too little noise, or too little signal is left at the end.
    """
    powers = torch.tensor([schedule.signal_power(u) for u in _times(num_steps)], dtype=torch.float64)
    betas = 1 - powers[1:] / powers[:-1]
    if not bool((betas >= LEAST_NOISE).all() and powers[-1] / powers[0] >= LEAST_SIGNAL):
        raise SettingError(
            "",
            f"the schedule {schedule} with num_steps {num_steps} has steps without noise, or leaves no "
            "signal; lower beta_max or raise beta_min",
            is_sentence=True,
        )
    return betas
