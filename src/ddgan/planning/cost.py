"""The seconds of an iteration: measured on this machine, or estimated for another."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

import torch

from ddgan.config.run_config import RunConfig
from ddgan.data.batch import EVERY, Batch
from ddgan.models.precision import tf32
from ddgan.networks.conditions import ConditionShapes
from ddgan.planning.machine import Machine
from ddgan.planning.work import rates
from ddgan.system.devices import wait_for
from ddgan.system.processes import Processes
from ddgan.training.cuda_graphs import ReplayedUpdates
from ddgan.training.estimate import operations
from ddgan.training.iteration import iterate
from ddgan.training.setup import create_state, training_inputs

__all__ = ["Cost", "estimated_cost", "measured_cost"]

WARM_UP = 3
"""Iterations of each kind that are not timed: caches, and the recording of CUDA graphs."""
SECONDS = 8.0
"""Iterations are timed for so long, and at least each kind of them once."""
MOST_TIMED = 200


@dataclass(frozen=True)
class Cost:
    """The seconds of an iteration.

    Attributes:
        seconds: the mean over the iterations between two applications of the rarest penalty.
        low: the least that it may be, for an estimate.
        high: the most.
        is_measured: whether it was measured.
    """

    seconds: float
    low: float
    high: float
    is_measured: bool


class _Random:
    """Data of random values, as costly as a prepared dataset."""

    def __init__(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes, device: torch.device
    ) -> None:
        self.sample_shape, self.conditions, self.checksum = sample_shape, conditions, ""
        self._device = device

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """Return a batch of random values, with no condition given."""
        x = torch.rand(size, *self.sample_shape)[rows].mul_(2).sub_(1).to(self._device)
        return Batch(x, self.conditions.null(len(x), self.sample_shape, self._device))

    def held_out(self, size: int) -> Batch | None:
        """Return none."""
        return None


def measured_cost(
    config: RunConfig, sample_shape: tuple[int, ...], device: torch.device, seconds: float = SECONDS
) -> Cost:
    """Train on random values for some seconds; each kind of iteration counts as often as it occurs.

    Args:
        config: the settings, with a known number of classes.
        sample_shape: the shape of a sample.
        device: where to train.
        seconds: how long to measure after the warm-up.
    """
    processes, training, method = Processes(device), config.training, config.method
    state = create_state(config, sample_shape, processes)
    updates = ReplayedUpdates() if training.cuda_graphs else None
    inputs = training_inputs(config, _Random(sample_shape, config.conditions.shapes, device), processes)
    first = -(-method.first_usual // method.period) * method.period
    steps = range(first, first + method.period)
    counts = Counter(method.iteration_kind(step) for step in steps)
    example = {method.iteration_kind(step): step for step in steps}  # a step of each kind
    timed: dict[Hashable, list[float]] = {kind: [] for kind in counts}

    def take(kind: Hashable) -> float:
        began = time.perf_counter()
        state.step = example[kind]
        iterate(state, *inputs(state.step), updates)
        wait_for(device)
        return time.perf_counter() - began

    with tf32(training.tf32):
        for kind in counts:
            for _ in range(WARM_UP):
                take(kind)
        end = time.perf_counter() + seconds
        rarest_first = sorted(counts, key=counts.__getitem__)
        while True:
            for kind in rarest_first:
                often = counts[kind] > 1 or len(counts) == 1
                for _ in range(4 if often else 1):
                    timed[kind].append(take(kind))
            if time.perf_counter() > end or sum(map(len, timed.values())) > MOST_TIMED:
                break
    mean = sum(counts[kind] * statistics.median(times) for kind, times in timed.items()) / method.period
    return Cost(mean, mean, mean, is_measured=True)


def estimated_cost(config: RunConfig, sample_shape: tuple[int, ...], machine: Machine) -> Cost:
    """Estimate from the operations of an iteration and the rates of such machines, see `work`."""
    needed = operations(config, sample_shape, Processes(torch.device(machine.device)))
    found = rates(machine)
    return Cost(needed / found.middle, needed / found.high, needed / found.low, is_measured=False)
