"""What training data is: batches by iteration, of samples and perhaps their classes."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from torch import Tensor

EVERY = slice(None)


class Batch(NamedTuple):
    """Training images (B, C, H, W) in [-1, 1], or points (B, F), and their classes int64 (B,) or None."""

    images: Tensor
    labels: Tensor | None = None

    def rows(self, rows: slice) -> Batch:
        """Some of the samples."""
        return Batch(self.images[rows], None if self.labels is None else self.labels[rows])


class Data(Protocol):
    """Training data.

    Attributes:
        state_shape: the shape of a sample.
        num_classes: how many classes its samples have; 0 if none.
    """

    @property
    def state_shape(self) -> tuple[int, ...]: ...

    @property
    def num_classes(self) -> int: ...

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """Batch `step` of `size` samples, or these rows of it; it depends on (seed, step) alone."""
        ...

    def held_out(self, size: int) -> Batch | None:
        """Up to `size` samples that no batch ever has, always the same; None where there are none."""
        ...
