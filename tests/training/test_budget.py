"""Minutes become iterations once, after a warm-up, by a clock that the test winds."""

from __future__ import annotations

import pytest
import torch

from ddgan.system.processes import Processes
from ddgan.training import budget
from ddgan.training.budget import LEAST_STEPS, UNMEASURED_STEPS, MinuteBudget

ALONE = Processes(torch.device("cpu"))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(budget, "time", clock)
    return clock


def first_answer(
    minutes: float, clock: Clock, slow: float, usual: float, step: int = 0, used: float = 0.0
) -> tuple[int, int]:
    asked = MinuteBudget(minutes, step, used)
    for done in range(1, 100_000):
        clock.now += slow if done <= UNMEASURED_STEPS else usual
        if (end := asked.iterations(step + done, ALONE)) is not None:
            return step + done, end
    raise AssertionError


def test_slow_first_iterations_are_not_extrapolated(clock: Clock) -> None:
    at, end = first_answer(10, clock, slow=4.0, usual=0.1)
    assert at >= LEAST_STEPS
    assert at * 0.1 + 20 >= 0.05 * 600 - 0.5  # the warm-up
    assert abs(20 + (end - UNMEASURED_STEPS) * 0.1 - 600) < 0.5  # all of it takes ten minutes


def test_few_slow_iterations_are_enough_to_measure(clock: Clock) -> None:
    at, end = first_answer(1, clock, slow=2.0, usual=2.0)
    assert at == LEAST_STEPS
    assert end == 30


def test_an_exhausted_budget_ends_at_the_next_iteration(clock: Clock) -> None:
    at, end = first_answer(1, clock, slow=20.0, usual=20.0)
    assert end == at + 1


def test_earlier_sittings_count(clock: Clock) -> None:
    _, end = first_answer(10, clock, slow=0.1, usual=0.1, step=1000, used=300.0)
    assert abs(end - 4000) < 5
