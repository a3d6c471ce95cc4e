"""Speed: what is timed, and what is said about it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from ddgan import DDGAN
from ddgan.metrics.speed import PAPER_BATCH, SamplingClock, describe_machine, measure_speed


class Slow:
    """Stands for a model that takes 10 ms per batch and 0.1 ms per image, by a clock of its own.

    A batch of more than `most` images takes four times as long.
    """

    device = torch.device("cpu")
    precision = "float32"
    nfe = 3
    is_compiled = False

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = 10**6) -> None:
        self.sizes: list[int] = []
        self.now, self.most = 0.0, most
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def default_batch_size(self) -> int:
        return 1000

    def batches(self, n: int, seed: int, batch_size: int) -> Iterator[torch.Tensor]:
        self.sizes.append(n)
        self.now += (0.01 + 0.0001 * n) * (1 if n <= self.most else 4)
        yield torch.zeros(n, 1)


def test_it_measures_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: Any = Slow(monkeypatch)
    score = measure_speed(slow, budget=0.5)
    assert score.seconds_per_100.median == pytest.approx(0.02)
    assert score.seconds_per_100.fastest <= score.seconds_per_100.median <= score.seconds_per_100.slowest
    assert score.seconds_per_100.repeats == 5
    assert score.latency.median == pytest.approx(0.0101)
    assert score.best_batch >= 1000
    assert score.images_per_second == pytest.approx(score.best_batch / (0.01 + 0.0001 * score.best_batch))
    assert slow.sizes.count(PAPER_BATCH) == 6  # one to warm up


def test_a_slow_model_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: Any = Slow(monkeypatch)
    score = measure_speed(slow, budget=0.001)
    assert score.seconds_per_100.repeats == 1
    assert slow.sizes == [1, 1, 100]


def test_larger_batches_are_tried_until_they_are_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: Any = Slow(monkeypatch, most=300)
    score = measure_speed(slow, budget=5)
    assert score.best_batch == 300
    assert score.images_per_second == pytest.approx(300 / 0.04)
    assert max(slow.sizes) == 1000


def test_a_models_report(model: DDGAN) -> None:
    score = measure_speed(model, budget=0.1)
    assert score.nfe == 3
    assert score.dtype == "float32"
    assert score.device.startswith("CPU, ")
    assert score.peak_memory > 50 * 2**20
    assert score.images_per_second > 0


def test_the_clock_counts_making_and_not_using() -> None:
    def making() -> Iterator[torch.Tensor]:
        for _ in range(3):
            time.sleep(0.02)
            yield torch.zeros(1)

    clock = SamplingClock()
    before = time.perf_counter()
    for _ in clock.timed(making()):
        time.sleep(0.05)
    assert 0.06 <= clock.seconds <= time.perf_counter() - before - 0.15


def test_the_machine_is_named() -> None:
    assert describe_machine(torch.device("cpu")).startswith("CPU, ")
