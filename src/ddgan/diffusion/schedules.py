"""Noise schedules: the signal power abar(u) over continuous time u in [0, 1] (paper section 2).

    variance preserving   abar(u) = exp(-u^2 (beta_max - beta_min) / 2 - u beta_min)
    geometric             abar(u) = 1 - beta_min (beta_max / beta_min)^u

A schedule of T steps is evaluated at u_k = epsilon + (1 - epsilon) k / T, k = 0..T, with epsilon = 1e-3:
beta_k = 1 - abar(u_k) / abar(u_{k-1}).
"""

from __future__ import annotations

import math
from typing import Annotated, Protocol

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.config.settings import Interval, SettingError

__all__ = ["GeometricConfig", "Schedule", "VPConfig", "step_betas"]

SMALLEST_TIME = 1e-3
"""epsilon."""


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
        beta_max: the largest noise rate; above beta_min.
    """

    beta_min: Annotated[float, Interval(gt=0, le=1000)] = 0.1
    beta_max: Annotated[float, Interval(gt=0, le=1000)] = 20.0

    def __post_init__(self) -> None:
        _check_order(self.beta_min, self.beta_max)

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

    def signal_power(self, u: float) -> float:
        """abar(u) = 1 - beta_min (beta_max / beta_min)^u."""
        ratio: float = (self.beta_max / self.beta_min) ** u
        return 1 - self.beta_min * ratio


def _check_order(low: float, high: float) -> None:
    if not low < high:
        raise SettingError(
            "beta_min", f"is {low:g} and beta_max is {high:g}; beta_min must be below beta_max"
        )


def step_betas(schedule: Schedule, num_steps: int) -> Tensor:
    """Return beta_1..beta_T, a (T,) float64 tensor.

    Raises:
        ValueError: if a step adds no noise, or leaves no signal in double precision.
    """
    times = [SMALLEST_TIME + (1 - SMALLEST_TIME) * k / num_steps for k in range(num_steps + 1)]
    powers = torch.tensor([schedule.signal_power(u) for u in times], dtype=torch.float64)
    betas = 1 - powers[1:] / powers[:-1]
    if not bool(((betas > 0) & (betas < 1)).all()):
        raise SettingError(
            "",
            f"the schedule {schedule} with num_steps {num_steps} has steps without noise, or leaves no "
            "signal; lower beta_max or raise beta_min",
            is_sentence=True,
        )
    return betas
