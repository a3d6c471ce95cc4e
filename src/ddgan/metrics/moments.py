"""Mean and covariance of a set of features.

They are accumulated batch by batch in float64. Each batch is merged by its own mean and scatter, so a large
common mean loses no digits and the batch size does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Moments", "Statistics", "statistics_of"]

BLOCK = 4096
"""Rows converted to float64 at a time."""


@dataclass(frozen=True)
class Statistics:
    """Mean and covariance of a set of features.

    Attributes:
        mean: float64 (D,).
        covariance: float64 (D, D), with N - 1 in the denominator.
        count: N; None if a published file does not state it.
    """

    mean: Tensor
    covariance: Tensor
    count: int | None

    @property
    def rank(self) -> int:
        """Upper bound of the covariance's rank, min(D, N - 1)."""
        return len(self.mean) if self.count is None else min(len(self.mean), self.count - 1)


class Moments:
    """Mean and covariance of features, accumulated batch by batch."""

    def __init__(self) -> None:
        self.count = 0
        self._mean: Tensor = torch.zeros(())
        self._scatter: Tensor = torch.zeros(())

    def update(self, features: Tensor) -> None:
        """Add features (B, D)."""
        for part in features.split(BLOCK):
            self._merge(part.double())

    def _merge(self, part: Tensor) -> None:
        mean = part.mean(dim=0)
        centred = part - mean
        scatter = centred.T @ centred
        if not self.count:
            self.count, self._mean, self._scatter = len(part), mean, scatter
            return
        total = self.count + len(part)
        shift = mean - self._mean
        self._scatter += scatter
        self._scatter.addr_(shift, shift, alpha=self.count * len(part) / total)
        self._mean = self._mean + shift * (len(part) / total)
        self.count = total

    def statistics(self) -> Statistics:
        """Return the statistics of all features added so far.

        Raises:
            ValueError: if there were fewer than two.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 samples, not {self.count}")
        return Statistics(self._mean.cpu(), (self._scatter / (self.count - 1)).cpu(), self.count)


def statistics_of(features: Tensor) -> Statistics:
    """Return mean and covariance of features (N, D)."""
    moments = Moments()
    moments.update(features)
    return moments.statistics()
