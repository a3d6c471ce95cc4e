"""Sampling speed, measured as in the paper: seconds for 100 images at batch size 100 (Table 1, Fig 4).

Each time is the median of several, after a warm-up; on a GPU the clock waits for the device.
"""

from __future__ import annotations

import platform
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.metric import Evidence, Figure, Metric
from ddgan.models.model import Model
from ddgan.system.devices import wait_for

__all__ = ["SamplingClock", "Speed", "SpeedScore", "Timing", "describe_machine", "measure_speed"]

PAPER_BATCH = 100
BATCHES = (10, 30, 100, 300, 1000, 3000, 10_000)
"""Batch sizes tried for the best throughput."""
MOST_REPEATS = 5
BUDGET = 2.0
"""Seconds after which a measurement is not repeated."""


@dataclass(frozen=True)
class Timing:
    """Seconds for one task: median, fastest and slowest of `repeats`."""

    median: float
    fastest: float
    slowest: float
    repeats: int


@dataclass(frozen=True)
class SpeedScore:
    """The score of `speed`.

    Attributes:
        seconds_per_100: seconds for 100 images at batch size 100.
        latency: seconds for one image.
        images_per_second: throughput at the best batch size.
        best_batch: the best batch size.
        nfe: network evaluations per sample.
        peak_memory: bytes; on a GPU the peak allocation of sampling, on the CPU that of the process.
        device: the device, in words.
        dtype: precision of the generator.
    """

    seconds_per_100: Timing
    latency: Timing
    images_per_second: float
    best_batch: int
    nfe: int
    peak_memory: int
    device: str
    dtype: str

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        hundred = self.seconds_per_100
        spread = f"{hundred.fastest:.3g} to {hundred.slowest:.3g}, {hundred.repeats} times"
        best = f"{self.images_per_second:,.0f} images/s at batch size {self.best_batch}"
        return [
            ("sampling speed", f"{best} ({self.device}, {self.dtype})"),
            ("seconds per 100 images, batch size 100", f"{hundred.median:.3g} ({spread})"),
            ("seconds for one image", f"{self.latency.median:.3g}"),
            ("peak memory", f"{self.peak_memory / 2**20:,.0f} MiB"),
        ]


def measure_speed(model: Model, budget: float = BUDGET) -> SpeedScore:
    """Time a model's sampling; a task longer than `budget` seconds is timed only once."""
    if model.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(model.device)
    _seconds(model, 1)  # warm-up
    latency = _timing(model, 1, budget)
    hundred = _timing(model, PAPER_BATCH, budget)
    rates = {1: 1 / latency.median, PAPER_BATCH: PAPER_BATCH / hundred.median}
    for size in BATCHES:
        if size in rates or size > 4 * model.default_batch_size():
            continue
        expected = size / max(rates.values())
        if expected > budget:
            break
        rates[size] = size / _timing(model, size, budget / 4).median
        if size > PAPER_BATCH and rates[size] < 0.9 * max(rates.values()):
            break  # larger batches would be slower still
    best = max(rates, key=rates.__getitem__)
    return SpeedScore(
        seconds_per_100=hundred,
        latency=latency,
        images_per_second=rates[best],
        best_batch=best,
        nfe=model.nfe,
        peak_memory=_peak_memory(model.device),
        device=describe_machine(model.device),
        dtype=model.precision,
    )


def _timing(model: Model, size: int, budget: float) -> Timing:
    times = [_seconds(model, size)]
    if times[0] < budget / MOST_REPEATS or model.is_compiled:
        times = []  # that was the warm-up at this size
    while len(times) < MOST_REPEATS and (not times or sum(times) + times[-1] < budget):
        times.append(_seconds(model, size))
    return Timing(statistics.median(times), min(times), max(times), len(times))


def _seconds(model: Model, size: int) -> float:
    start = time.perf_counter()
    for _ in model.batches(size, seed=0, batch_size=size):
        pass
    wait_for(model.device)
    return time.perf_counter() - start


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return 0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe_machine(device: torch.device) -> str:
    """Describe the device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type.upper()}, {torch.get_num_threads()} threads, {platform.machine()}"


@register("metric", "speed")
class Speed(Metric):
    """Sampling speed of a model, on its device and in its precision."""

    needs = ("model",)
    figures = (
        Figure(
            "speed",
            "seconds per 100 images",
            "seconds_per_100.median",
            "lower",
            ("seconds_per_100.fastest", "seconds_per_100.slowest"),
        ),
        Figure("speed", "images per second", "images_per_second", "higher"),
        Figure(
            "speed",
            "seconds for one image",
            "latency.median",
            "lower",
            ("latency.fastest", "latency.slowest"),
        ),
    )

    def score(self, evidence: Evidence) -> SpeedScore:
        return measure_speed(evidence.model)


class SamplingClock:
    """Measures the time spent generating batches, without their processing."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, batches: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield the same batches, timed; on a GPU the clock waits for the device."""
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            wait_for(batch.device)
            self.seconds += time.perf_counter() - start
            yield batch
