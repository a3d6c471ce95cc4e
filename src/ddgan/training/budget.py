"""A budget of minutes, turned once into a number of iterations."""

from __future__ import annotations

import math
import time

from ddgan.system.devices import wait_for
from ddgan.system.processes import Processes

UNMEASURED_STEPS = 5
"""The first iterations of a sitting are slower (compilers, caches) and do not count."""
LEAST_STEPS = 20
WARM_UP_SHARE = 0.05
"""Measured for this share of the minutes."""


class MinuteBudget:
    """How many iterations fit into the minutes of a run, known after a warm-up.

    Args:
        minutes: for all of training.
        step: iterations that were finished before.
        seconds: that they took.
    """

    def __init__(self, minutes: float, step: int, seconds: float) -> None:
        self._total = 60 * minutes
        self._first_step, self._used = step, seconds
        self._start = time.monotonic()
        self._measured: tuple[int, float] | None = None

    def iterations(self, step: int, processes: Processes) -> int | None:
        """The number of iterations to end at, the same for every process, or None while it is measured."""
        wait_for(processes.device)  # a GPU may be some iterations behind
        now = time.monotonic()
        done = step - self._first_step
        if done == UNMEASURED_STEPS:
            self._measured = (step, now)
        if self._measured is None or done < LEAST_STEPS:
            return None
        elapsed = now - self._start
        first, since = self._measured
        seconds_left = self._total - self._used - elapsed
        warm = now - since >= WARM_UP_SHARE * self._total
        fitting = step + max(1, math.floor(seconds_left * (step - first) / (now - since)))
        agreed = processes.largest(fitting if warm and processes.is_main else 0)
        return agreed or None
