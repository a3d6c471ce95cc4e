"""The space that the checkpoints and weights of a run take, checked before it begins."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from ddgan.config.optimization import OptimizerConfig
from ddgan.config.training import TrainingConfig, known_end
from ddgan.models.run_folder import AVERAGES_NAME, CHECKPOINTS_NAME
from ddgan.system.files import nearest_folder
from ddgan.system.memory import in_bytes
from ddgan.training.checkpoint import state_tensors
from ddgan.training.freezing import trained
from ddgan.training.state import TrainState

__all__ = ["check_space", "checkpoint_bytes", "moments_of", "weights_bytes"]

HALF = 2
"""Bytes of a value of a saved average."""
ADAMS = 2.0
"""Moments per parameter, for an optimizer that does not say: those of Adam."""


def checkpoint_bytes(state: TrainState) -> int:
    """Return the size of a checkpoint, with the optimizers' moments even if there are none yet."""
    total = _bytes(state_tensors(state).values())
    for name, optimizer in state.optimizers.items():
        if not optimizer.state:
            weights = _bytes(trained(state.networks[name]))
            total += round(weights * moments_of(state.optimizer_config(name)))
    return total


def weights_bytes(state: TrainState) -> int:
    """Return the size of the weights files of all EMAs, and of one more while it replaces another."""
    files = len(state.emas) - len(state.optimization.ema.lengths)
    return _bytes(state.ema.state_dict().values()) * (files + 1)


def averages_bytes(state: TrainState) -> int:
    """Return the size of all saved averages of a run, or of those at its end if its length is not known."""
    ema, end = state.optimization.ema, known_end(state.num_iterations)
    snapshots = 1 + ((end or 0) // ema.snapshot_every if ema.snapshot_every else 0)
    values = sum(tensor.numel() for tensor in state.ema.state_dict().values())
    return int(HALF * values * len(ema.lengths) * snapshots)


def moments_of(config: OptimizerConfig) -> float:
    """Return how many values an optimizer keeps per value of a parameter, seen from a step on a small one."""
    probe = nn.Parameter(torch.zeros(8, 8))
    probe.grad = torch.zeros_like(probe)
    try:
        optimizer = config.build([probe])
        optimizer.step()
        moments = optimizer.state[probe].values()
    except Exception:  # a user's optimizer may want other parameters
        return ADAMS
    return sum(value.numel() for value in moments if isinstance(value, Tensor) and value.ndim) / probe.numel()


def check_space(
    state: TrainState, training: TrainingConfig, path: Path, log: Callable[[str], object]
) -> None:
    """Check that the disk of the run folder has space; what an earlier run there holds will be replaced.

    Logs a warning if all checkpoints that the settings keep may not fit.

    Raises:
        ValueError: if the weights and two checkpoints, the last one and the next, do not fit.
    """
    checkpoint, weights = checkpoint_bytes(state), weights_bytes(state)
    weights += averages_bytes(state)
    is_scored = bool(training.score_interval(state.num_iterations))
    if is_scored:
        weights += _bytes(state.ema.state_dict().values())  # the best ones
    old = [*path.glob("*.safetensors"), *(path / CHECKPOINTS_NAME).glob("*/*")]
    old += (path / AVERAGES_NAME).glob("*")
    free = shutil.disk_usage(nearest_folder(path / CHECKPOINTS_NAME)).free
    free += sum(file.stat().st_size for file in old)
    least = 2 * checkpoint + weights
    if free < least:
        raise ValueError(
            f"out is '{path}', where {in_bytes(free)} are free, but two checkpoints and the weights take "
            f"{in_bytes(least)}; free {in_bytes(least - free)}, or name a folder on another disk"
        )
    count = min(training.keep_last, state.num_iterations) + 1 + is_scored
    end, remedy = known_end(state.num_iterations), f"lower training.keep_last ({training.keep_last})"
    if training.keep_every and end is not None:
        count += end // training.keep_every
        remedy = f"raise training.keep_every ({training.keep_every}) or set it to 0"
    if free < (most := count * checkpoint + weights):
        log(
            f"warning: '{path}' has {in_bytes(free)} free, but {count:,} checkpoints and the weights may "
            f"take {in_bytes(most)}; free {in_bytes(most - free)}, or {remedy}"
        )


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
