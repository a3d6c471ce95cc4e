"""Training data: batches of samples and their conditions, by iteration."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.system.randomness import generator_for

__all__ = ["EVERY", "Batch", "DataConfig", "Dataset", "shuffled_indices"]

EVERY = slice(None)
"""The rows of a whole batch."""


class Batch(NamedTuple):
    """Samples x (B, *sample_shape), images in [-1, 1], and their conditions, or None."""

    x: Tensor
    condition: Condition | None = None

    def rows(self, rows: slice | Tensor) -> Batch:
        """Select some of the samples."""
        return Batch(self.x[rows], None if self.condition is None else self.condition.rows(rows))

    @property
    def label(self) -> Tensor | None:
        """The class of each sample, int64 (B,), or None."""
        return None if self.condition is None else self.condition.label


class Dataset(Protocol):
    """Open training data.

    Attributes:
        sample_shape: the shape of a sample, (C, *spatial) or (F,).
        conditions: what conditions its samples have.
        checksum: of its contents, so that a resumed run can tell other data; "" where they cannot change.
    """

    @property
    def sample_shape(self) -> tuple[int, ...]: ...

    @property
    def conditions(self) -> ConditionShapes: ...

    @property
    def checksum(self) -> str: ...

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """Return batch `step` of `size` samples, or the given rows of it, from (seed, step) alone."""
        ...

    def held_out(self, size: int) -> Batch | None:
        """Return up to `size` held-out samples, always the same; None if there are none."""
        ...


class DataConfig(Protocol):
    """Settings of data: the slot `data`."""

    kind: Any

    @property
    def name(self) -> str:
        """The name that `--data` accepts: a kind or a path."""
        ...

    def check(self) -> None:
        """Check that the data exists, before any work is done.

        Raises:
            ValueError: saying what data may be.
        """
        ...

    def open(
        self,
        seed: int = 0,
        device: torch.device | str = "cpu",
        *,
        split: str | None = None,
        num_held_out: int = 0,
        progress: bool = False,
    ) -> Dataset:
        """Open the data; `seed` decides its order.

        Args:
            seed: of the order.
            device: where batches are wanted.
            split: a part of it; by default the one to train on.
            num_held_out: samples kept from training, where the data does not hold out by itself.
            progress: show a progress bar.

        Raises:
            ValueError: if there is no such data or split, or it is damaged.
        """
        ...


def shuffled_indices(seed: int, step: int, size: int, count: int) -> Tensor:
    """Return which of `count` samples are in batch `step` of `size`, int64 (size,).

    Every epoch contains each sample once, in an order that depends on (seed, epoch) alone; batches cross the
    ends of epochs.
    """
    place = torch.arange(step * size, (step + 1) * size)
    epochs = place // count
    parts = [_order(seed, int(epoch), count)[place[epochs == epoch] % count] for epoch in epochs.unique()]
    return torch.cat(parts)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, count: int) -> Tensor:
    return torch.randperm(count, generator=generator_for(seed, "epoch", epoch))
