"""Ramps: settings that change during training.

    gamma: 0.05                                            # constant
    gamma: {start: 0.05, end: 0.005, share: 0.5}           # falls tenfold over the first half

The value depends on the iteration alone, so a resumed run continues it exactly.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from ddgan.config.settings import Interval, SettingError, settings

__all__ = ["Ramp", "at", "in_words"]


@settings
class Ramp:
    """A setting that goes from `start` to `end` over the first part of training, and then stays.

    Args:
        start: the first value.
        end: the last value.
        share: the part of training over which it changes, in (0, 1].
        shape: "cosine" (slow at both ends), "linear", or "geometric" (by equal factors; both ends above 0).
    """

    start: Annotated[float, Interval(ge=0, le=1e6)]
    end: Annotated[float, Interval(ge=0, le=1e6)]
    share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    shape: Literal["cosine", "linear", "geometric"] = "cosine"

    def __post_init__(self) -> None:
        if self.shape == "geometric" and not (self.start > 0 and self.end > 0):
            raise SettingError("shape", "is geometric, for which start and end must be above 0")

    def at(self, step: int, num_iterations: int) -> float:
        """Return the value at iteration `step` of `num_iterations`."""
        done = min(step / max(self.share * num_iterations, 1), 1.0)
        if self.shape == "geometric":
            return math.exp((1 - done) * math.log(self.start) + done * math.log(self.end))
        if self.shape == "cosine":
            done = (1 - math.cos(math.pi * done)) / 2
        return self.start + (self.end - self.start) * done


def at(setting: float | Ramp, step: int, num_iterations: int) -> float:
    """Return the value of a setting that may be a ramp at iteration `step` of `num_iterations`."""
    return setting.at(step, num_iterations) if isinstance(setting, Ramp) else setting


def in_words(setting: float | Ramp) -> str:
    """Describe a setting that may be a ramp, such as 0.05 or 0.05 to 0.005."""
    return f"{setting.start:g} to {setting.end:g}" if isinstance(setting, Ramp) else f"{setting:g}"
