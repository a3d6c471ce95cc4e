"""Both updates of an iteration as one CUDA graph, which a GPU replays without being told each kernel.

An iteration of a small U-Net is thousands of kernels, and a processor may take longer to launch them than
the GPU to run them. A graph is recorded once, and has its own memory; each iteration then copies its images
and noise into that memory and replays. Nothing else changes: where a penalty is due the kernels differ, so
there is a graph for every combination of penalties. Each of these runs as usual before any is recorded: what
runs as usual cannot use the memory of a graph, and beside one would need all of its own again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from ddgan.config.training import TrainingConfig
from ddgan.data.batch import Batch
from ddgan.losses.adversarial import PenaltyConfig
from ddgan.system.processes import Processes
from ddgan.training.iteration import Statistics, both_updates, train_step
from ddgan.training.noise import StepNoise
from ddgan.training.state import TrainState

NUM_USUAL = 3
"""Iterations that run as usual at least, so that libraries have chosen their kernels."""
Kind = tuple[float, ...]
"""The weights of the penalties in an iteration: where they are the same, so are the kernels."""
T = TypeVar("T")


def check_graphs(training: TrainingConfig, processes: Processes, is_known: bool) -> None:
    """Complain where iterations cannot be replayed, though that is asked for.

    Raises:
        ValueError: if there is no GPU, or more than one process, or the method's replay is not known.
    """
    if not training.cuda_graphs:
        return
    problem = ""
    if processes.device.type != "cuda":
        problem = f"needs a CUDA device, and this is {processes.device.type}"
    elif processes.count > 1:
        problem = f"is for one process, and there are {processes.count}"
    elif not is_known:
        problem = "is for denoising diffusion GANs, and this is a baseline"
    if problem:
        raise ValueError(f"training.cuda_graphs {problem}; set it to false")


@dataclass(frozen=True)
class Recorded:
    """A graph, with the memory that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Batch, StepNoise]
    statistics: Statistics


class ReplayedUpdates:
    """(state, batch, noise) -> statistics, as `both_updates`; the statistics hold until the next call.

    One for each state. The batch size must stay the same.
    """

    def __init__(self) -> None:
        self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()
        self._recorded: dict[Kind, Recorded] = {}
        self._usual: list[Kind] = []
        self._due: set[Kind] = set()

    def __call__(self, state: TrainState, batch: Batch, noise: StepNoise) -> Statistics:
        if not self._usual:
            take_rates_from_memory(state)
            self._due = kinds_due(state.objective.penalties, state.step)
        for optimizer, rate in zip(
            (state.optimizer_g, state.optimizer_d), state.learning_rates(), strict=True
        ):
            optimizer.param_groups[0]["lr"].fill_(rate)
        kind = kind_of(state.objective.penalties, state.step)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            if self._is_usual(kind):
                self._usual.append(kind)
                statistics = both_updates(state, batch, noise)
            else:
                if kind not in self._recorded:
                    self._recorded[kind] = self._record(state, batch, noise)
                statistics = replayed(self._recorded[kind], batch, noise)
        torch.cuda.current_stream().wait_stream(self._stream)
        return statistics

    def _is_usual(self, kind: Kind) -> bool:
        is_warm = len(self._usual) >= NUM_USUAL and self._due.issubset(self._usual)
        return not is_warm or kind not in self._usual

    def _record(self, state: TrainState, batch: Batch, noise: StepNoise) -> Recorded:
        inputs = mapped(torch.clone, (batch, noise))
        graph = torch.cuda.CUDAGraph()
        # The graphs share their memory: only one runs at a time, and none needs what another left.
        with as_capturable(state), torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
            statistics = both_updates(state, *inputs)
        return Recorded(graph, inputs, statistics)


def kind_of(penalties: Sequence[PenaltyConfig], step: int) -> Kind:
    """That of an iteration."""
    return tuple(penalty.weight(step) for penalty in penalties)


def kinds_due(penalties: Sequence[PenaltyConfig], step: int) -> set[Kind]:
    """Those of the iterations from `step` on until each penalty has had its turn.

    Two penalties that meet more rarely than that are not waited for.
    """
    period = max((penalty.every for penalty in penalties), default=1)
    return {kind_of(penalties, later) for later in range(step, step + period)}


def replayed_step() -> Callable[[TrainState, Batch, StepNoise], Statistics]:
    """A `train_step` that replays its updates; for one state."""
    return partial(train_step, updates=ReplayedUpdates())


def take_rates_from_memory(state: TrainState) -> None:
    """Let the optimizers read their rates where a graph can find them."""
    for _, optimizer in state.optimizers().values():
        (group,) = optimizer.param_groups
        group["lr"] = torch.zeros((), device=group["params"][0].device)


@contextmanager
def as_capturable(state: TrainState) -> Iterator[None]:
    """Within it, the optimizers let themselves be recorded."""
    groups = [optimizer.param_groups[0] for _, optimizer in state.optimizers().values()]
    for group in groups:
        group["capturable"] = True
    try:
        yield
    finally:
        for group in groups:
            group["capturable"] = False


def replayed(recorded: Recorded, batch: Batch, noise: StepNoise) -> Statistics:
    """The statistics of these images and this noise.

    Raises:
        ValueError: if they are not as large as those that were recorded.
    """
    targets, values = list(tensors_of(recorded.inputs)), list(tensors_of((batch, noise)))
    if [target.shape for target in targets] != [value.shape for value in values]:
        raise ValueError(
            f"a batch of {len(batch.images)} images{' with classes' if batch.labels is not None else ''} "
            f"cannot be replayed: {len(recorded.inputs[0].images)} were recorded"
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
