"""The updates of an iteration as one CUDA graph, replayed without launching each kernel from the CPU.

An iteration of a small U-Net is thousands of kernels, and the CPU may take longer to launch them than the
GPU to run them. A graph is recorded once and has its own memory; each iteration copies its images and noise
into that memory and replays. Iterations with a penalty run other kernels, so each kind of iteration has its
own graph. Every kind runs eagerly before any is recorded: eager iterations cannot use a graph's memory, and
after recording they would allocate all of theirs again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from ddgan.config.training import TrainingConfig
from ddgan.data.batch import Batch
from ddgan.system.processes import Processes
from ddgan.training.iteration import all_updates
from ddgan.training.state import Method, Noise, TrainState
from ddgan.training.statistics import Statistics

__all__ = ["ReplayedUpdates", "check_graphs"]

NUM_USUAL = 3
"""At least this many iterations run eagerly first, so that libraries have chosen their kernels."""
Kind = Hashable
"""Identifies iterations that run the same kernels, see `Method.iteration_kind`."""
T = TypeVar("T")


def check_graphs(training: TrainingConfig, processes: Processes) -> None:
    """Refuse training.cuda_graphs where it cannot work.

    Raises:
        ValueError: if there is no CUDA device, or more than one process.
    """
    if not training.cuda_graphs:
        return
    problem = ""
    if processes.device.type != "cuda":
        problem = f"needs a CUDA device, and this is {processes.device.type}"
    elif processes.count > 1:
        problem = f"works with one process, and there are {processes.count}"
    if problem:
        raise ValueError(f"training.cuda_graphs {problem}; set it to false")


@dataclass(frozen=True)
class Recorded:
    """A graph with the tensors it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Batch, Noise]
    statistics: Statistics


class ReplayedUpdates:
    """(state, batch, noise) -> statistics, like `all_updates`; the next call overwrites the statistics.

    Make one per state. The batch size must not change.
    """

    def __init__(self) -> None:
        self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self._recorded: dict[Kind, Recorded] = {}
        self._usual: list[Kind] = []
        self._due: set[Kind] = set()

    def __call__(self, state: TrainState, batch: Batch, noise: Noise) -> Statistics:
        if not self._usual:
            take_rates_from_memory(state)
            self._due = kinds_due(state.method, state.step)
        for name, rate in state.learning_rates().items():
            state.optimizers[name].param_groups[0]["lr"].fill_(rate)
        kind = state.method.iteration_kind(state.step)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            if self._is_usual(kind):
                self._usual.append(kind)
                statistics = all_updates(state, batch, noise)
            else:
                if kind not in self._recorded:
                    self._recorded[kind] = self._record(state, batch, noise)
                statistics = replayed(self._recorded[kind], batch, noise)
        torch.cuda.current_stream().wait_stream(self._stream)
        return statistics

    def _is_usual(self, kind: Kind) -> bool:
        is_warm = len(self._usual) >= NUM_USUAL and self._due.issubset(self._usual)
        return not is_warm or kind not in self._usual

    def _record(self, state: TrainState, batch: Batch, noise: Noise) -> Recorded:
        inputs = mapped(torch.clone, (batch, noise))
        graph = torch.cuda.CUDAGraph()
        # The graphs share memory: only one runs at a time, and none needs the values of another.
        with as_capturable(state), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            statistics = all_updates(state, *inputs)
        return Recorded(graph, inputs, statistics)


def kinds_due(method: Method, step: int) -> set[Kind]:
    """Return the kinds of the iterations of one period from `step` on.

    A combination of penalties that is rarer than that is not waited for.
    """
    return {method.iteration_kind(later) for later in range(step, step + method.period)}


def take_rates_from_memory(state: TrainState) -> None:
    """Make the learning rates tensors, which a graph can read."""
    for optimizer in state.optimizers.values():
        (group,) = optimizer.param_groups
        group["lr"] = torch.zeros((), device=group["params"][0].device)


@contextmanager
def as_capturable(state: TrainState) -> Iterator[None]:
    """Make the optimizers capturable within the block."""
    groups = [optimizer.param_groups[0] for optimizer in state.optimizers.values()]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def replayed(recorded: Recorded, batch: Batch, noise: Noise) -> Statistics:
    """Replay a graph on a batch and its noise, and return the statistics.

    Raises:
        ValueError: if their shapes differ from those recorded.
    """
    targets, values = list(tensors_of(recorded.inputs)), list(tensors_of((batch, noise)))
    if [target.shape for target in targets] != [value.shape for value in values]:
        raise ValueError(
            f"a batch of {len(batch.x)} samples{' with conditions' if batch.condition is not None else ''} "
            f"cannot be replayed: {len(recorded.inputs[0].x)} were recorded"
        )
    for target, value in zip(targets, values, strict=True):
        target.copy_(value)
    recorded.graph.replay()
    return recorded.statistics


def mapped(change: Callable[[Tensor], Tensor], value: T) -> T:
    """Apply a function to each tensor of a structure of dataclasses and tuples."""
    if isinstance(value, Tensor):
        return change(value)  # type: ignore[return-value]
    if isinstance(value, tuple):
        parts = [mapped(change, part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)  # type: ignore[return-value]
    if dataclasses.is_dataclass(value):
        fields = {f.name: mapped(change, getattr(value, f.name)) for f in dataclasses.fields(value)}
        return dataclasses.replace(value, **fields)  # type: ignore[type-var]
    return value


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of such a structure, in order."""
    found: list[Tensor] = []
    mapped(lambda tensor: found.append(tensor) or tensor, value)  # type: ignore[func-returns-value]
    yield from found
