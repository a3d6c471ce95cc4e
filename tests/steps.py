"""What tests of training share: states away from their start, and statistics by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.data.digits import StackedDigits
from ddgan.models.run_folder import read_log
from ddgan.system.processes import Processes
from ddgan.training.iteration import take
from ddgan.training.setup import create_state
from ddgan.training.state import TrainState
from ddgan.training.statistics import Statistics

TIMES = ("seconds", "iterations_per_second", "images_per_second", "memory_gb")
"""Values of a log record that depend on the machine."""
ALONE = Processes(torch.device("cpu"))
SHAPE = (3, 8, 8)


def untimed(run: Path) -> list[list[tuple[str, object]]]:
    """The log of a run without times and memory; what is left, in its order, follows from the settings."""
    records = read_log(run / "log.jsonl")
    return [[pair for pair in record.items() if pair[0] not in TIMES] for record in records]


def changed(config: RunConfig, **training: object) -> RunConfig:
    """The configuration with other settings of its section `training`."""
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **training))  # type: ignore[arg-type]


def flat(statistics: Statistics) -> dict[str, Tensor]:
    """What all updates of an iteration say, by name."""
    return {name: value for values in statistics.values() for name, value in values.items() if name != "t"}


def fresh(config: RunConfig, sample_shape: tuple[int, ...] = SHAPE) -> TrainState:
    """A state at step 0."""
    return create_state(config, sample_shape, ALONE)


def made(config: RunConfig, sample_shape: tuple[int, ...] = SHAPE) -> TrainState:
    """A state whose networks are not at their start, where a generator outputs almost nothing."""
    state = fresh(config, sample_shape)
    with torch.no_grad():
        for network in state.networks.values():
            for parameter in network.parameters():
                rng = torch.Generator().manual_seed(1)
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=rng))
    return state


def images(step: int, size: int = 8) -> Tensor:
    """Stacked digits of an iteration, (size, 3, 8, 8)."""
    return StackedDigits(seed=0).batch(step, size).x.to(torch.get_default_dtype())


def one_update(
    state: TrainState, name: str, x: Tensor, noise: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The update of this name alone: what it says, and the gradients that it took, by parameter."""
    (update,) = (one for one in state.method.updates(state.step) if one.name == name)
    gradients: dict[str, Tensor] = {}

    def remember(tensors: object) -> None:
        named = state.networks[name].named_parameters()
        gradients.update({key: p.grad.clone() for key, p in named if p.grad is not None})

    before, state.average_ = state.average_, remember
    statistics, _ = take(state, update, Batch(x), noise)
    state.average_ = before
    return statistics, gradients
