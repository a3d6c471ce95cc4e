"""A time budget in minutes, converted once into a number of iterations."""

from __future__ import annotations

import math
import time

from ddgan.system.devices import wait_for
from ddgan.system.processes import Processes

__all__ = ["MinuteBudget"]

UNMEASURED_STEPS = 5
"""The first iterations after a start are slower (compilation, caches) and are not timed."""
LEAST_STEPS = 20
WARM_UP_SHARE = 0.05
"""The speed is measured over this share of what is left of the budget."""


class MinuteBudget:
    """How many iterations fit into a time budget, measured after a warm-up.

    Args:
        minutes: the budget for the whole of training.
        step: iterations finished before this start.
        seconds: the time they took.
    """

    def __init__(self, minutes: float, step: int, seconds: float) -> None:
        self._total = 60 * minutes
        self._first_step, self._used = step, seconds
        self._start = time.monotonic()
        self._measured: tuple[int, float] | None = None

    def iterations(self, step: int, processes: Processes) -> int | None:
        """Return the last iteration, equal on every process, or None while the speed is being measured."""
        wait_for(processes.device)  # a GPU may lag some iterations behind
        now = time.monotonic()
        done = step - self._first_step
        if done == UNMEASURED_STEPS:
            self._measured = (step, now)
        if self._measured is None or done < LEAST_STEPS:
            return None
        elapsed = now - self._start
        first, since = self._measured
        seconds_left = self._total - self._used - elapsed
        warm = now - since >= WARM_UP_SHARE * (self._total - self._used)
        fitting = step + max(1, math.floor(seconds_left * (step - first) / (now - since)))
        agreed = processes.largest(fitting if warm and processes.is_main else 0)
        return agreed or None
