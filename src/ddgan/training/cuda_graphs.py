"""The updates of an iteration as one CUDA graph, which a GPU replays without being told each kernel.

An iteration of a small U-Net is thousands of kernels, and a processor may take longer to launch them than
the GPU to run them. A graph is recorded once, and has its own memory; each iteration then copies its images
and noise into that memory and replays. Nothing else changes: where a penalty is due the kernels differ, so
there is a graph for every kind of iteration. Each of these runs as usual before any is recorded: what
runs as usual cannot use the memory of a graph, and beside one would need all of its own again.
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

NUM_USUAL = 3
"""Iterations that run as usual at least, so that libraries have chosen their kernels."""
Kind = Hashable
"""What a method calls iterations with the same kernels, see `Method.iteration_kind`."""
T = TypeVar("T")


def check_graphs(training: TrainingConfig, processes: Processes) -> None:
    """Complain where iterations cannot be replayed, though that is asked for.

    Raises:
        ValueError: if there is no GPU, or more than one process.
    """
    if not training.cuda_graphs:
        return
    problem = ""
    if processes.device.type != "cuda":
        problem = f"needs a CUDA device, and this is {processes.device.type}"
    elif processes.count > 1:
        problem = f"is for one process, and there are {processes.count}"
    if problem:
        raise ValueError(f"training.cuda_graphs {problem}; set it to false")


@dataclass(frozen=True)
class Recorded:
    """A graph, with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Batch, Noise]
    statistics: Statistics


class ReplayedUpdates:
    """(state, batch, noise) -> statistics, as `all_updates`; the statistics hold until the next call.

    One for each state. The batch size must stay the same.
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
        # The graphs share their memory: only one runs at a time, and none needs what another left.
        with as_capturable(state), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            statistics = all_updates(state, *inputs)
        return Recorded(graph, inputs, statistics)


def kinds_due(method: Method, step: int) -> set[Kind]:
    """Those of the iterations from `step` on until each usual kind has had its turn.

    Two penalties that meet more rarely than that are not waited for.
    """
    return {method.iteration_kind(later) for later in range(step, step + method.period)}


def take_rates_from_memory(state: TrainState) -> None:
    """Let the optimizers read their rates where a graph can find them."""
    for optimizer in state.optimizers.values():
        (group,) = optimizer.param_groups
        group["lr"] = torch.zeros((), device=group["params"][0].device)


@contextmanager
def as_capturable(state: TrainState) -> Iterator[None]:
    """Within it, the optimizers let themselves be recorded."""
    groups = [optimizer.param_groups[0] for optimizer in state.optimizers.values()]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def replayed(recorded: Recorded, batch: Batch, noise: Noise) -> Statistics:
    """The statistics of these images and this noise.

    Raises:
        ValueError: if they are not as large as those that were recorded.
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
    """The same structure of dataclasses and tuples, with each tensor changed."""
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
    """The tensors in such a structure, in order."""
    found: list[Tensor] = []
    mapped(lambda tensor: found.append(tensor) or tensor, value)  # type: ignore[func-returns-value]
    yield from found
