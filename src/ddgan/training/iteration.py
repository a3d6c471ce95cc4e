"""One training iteration: the updates of its method, one after the other, then the EMAs (paper section 3).

A function of (state, batch, noise) that changes `state` and nothing else: no files, no clock, no random
numbers of its own. The losses are those of the method, see `methods`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ddgan.data.batch import Batch
from ddgan.training.optimizers import guarded_update
from ddgan.training.state import Terms, TrainState, Update, UpdateStatistics
from ddgan.training.statistics import LOSS_SCALE, Statistics

__all__ = ["all_updates", "iterate", "update_ema"]


def iterate(
    state: TrainState,
    batch: Batch,
    noise: Any,
    updates: Callable[[TrainState, Batch, Any], Statistics] | None = None,
) -> Statistics:
    """Train for one iteration on samples (B, ...) in [-1, 1] and their conditions, if any.

    An update with a non-finite gradient is skipped, on every process alike. `updates` replaces `all_updates`.

    Returns:
        The statistics of each update by its name, see the methods; and under "iteration" the number of
        updates `skipped`, ().
    """
    state.method.prepare(state)
    state.renew_ramps()
    statistics = (updates or all_updates)(state, batch, noise)
    finish_iteration(state, len(batch.x), statistics["iteration"]["skipped"])
    return statistics


def all_updates(state: TrainState, batch: Batch, noise: Any) -> Statistics:
    """Make the updates of the method at this iteration, without waiting for the device."""
    statistics: Statistics = {}
    skipped: Tensor | None = None
    for update in state.method.updates(state.step):
        statistics[update.name], was_skipped = take(state, update, batch, noise)
        skipped = was_skipped if skipped is None else skipped + was_skipped
    assert skipped is not None
    return statistics | {"iteration": {"skipped": skipped}}


def take(state: TrainState, update: Update, batch: Batch, noise: Any) -> tuple[UpdateStatistics, Tensor]:
    """Make one update of one network; networks that it freezes get no gradient.

    Returns:
        Its statistics, and 1.0 if it was skipped for a failure, which an overflow that a smaller loss scale
        mends is not, else 0.0.
    """
    optimizer, scale = state.optimizers[update.name], state.loss_scales.get(update.name)
    optimizer.zero_grad(set_to_none=True)
    parts = []
    with state.without_gradients(update.freezes):
        for part, part_noise in in_parts(state.num_parts, batch, noise):
            terms, statistics = update.loss(state, part, part_noise)
            mean = total(terms).mean()
            mean = mean if state.num_parts == 1 else mean / state.num_parts
            (mean if scale is None else mean * scale.factor).backward()
            parts.append({name: value.detach() for name, value in statistics.items()})
    state.average_([p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None])
    factor = None if scale is None else scale.factor
    skipped = guarded_update(optimizer, state.learning_rate(update.name), factor)
    optimizer.zero_grad(set_to_none=True)  # freed, so that memory is not fragmented when activations need it
    if scale is None:
        return joined(parts), skipped
    of_scale = {f"{LOSS_SCALE}{update.name}": scale.factor.clone()}
    return joined(parts) | of_scale, scale.adjust(skipped)


def total(terms: Terms) -> Tensor:
    """Return a loss (B,), the sum of its terms."""
    return functools.reduce(torch.add, terms.values())


def finish_iteration(state: TrainState, num_samples: int, skipped: Tensor) -> None:
    """Update the EMAs and count the iteration."""
    decays = state.optimization.ema.decays(state.batch_size or num_samples, state.step)
    for ema, decay in zip(state.emas, decays, strict=True):
        update_ema(ema, state.generator, decay)
    state.streak = torch.where(skipped > 0, state.streak + 1, 0)
    state.longest_streak = torch.maximum(state.longest_streak, state.streak)
    state.step += 1


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float) -> None:
    """ema <- decay * ema + (1 - decay) * model, parameter by parameter; 0 copies the model."""
    torch._foreach_lerp_(list(ema.parameters()), list(model.parameters()), 1 - decay)


def in_parts(count: int, batch: Batch, noise: Any) -> Iterator[tuple[Batch, Any]]:
    """Yield the batch and its noise in `count` parts of equal size."""
    if count == 1:
        yield batch, noise
        return
    size = len(batch.x) // count
    for first in range(0, size * count, size):
        rows = slice(first, first + size)
        yield batch.rows(rows), noise.rows(rows)


def joined(parts: list[UpdateStatistics]) -> UpdateStatistics:
    """Concatenate the statistics of all parts."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
