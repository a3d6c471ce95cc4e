"""Orders and resamples of N images that do not depend on the order in which the images came.

A score that looks at subsets, or an interval from resampled images, would change when the same images come
in another order. So images are first put into an order that their features alone decide.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ddgan.system.randomness import generator_for

__all__ = ["Interval", "bootstrap_interval", "check_finite", "shuffled", "within"]

REPLICATES = 1000
"""Resamples of a bootstrap."""

Interval = tuple[float, float]
"""Its low and its high end."""


def bootstrap_interval(values: Tensor, seed: int = 0) -> Interval:
    """The 95 % interval of the mean of values (N,), by resampling them with replacement."""
    ordered = values.double().flatten().sort().values
    rng = generator_for(seed, "bootstrap")
    means = torch.empty(REPLICATES, dtype=torch.float64)
    for replicate in range(REPLICATES):
        chosen = torch.randint(len(ordered), (len(ordered),), generator=rng)
        means[replicate] = ordered[chosen].mean()
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def within(interval: Interval | None) -> str:
    """An interval, for a table, to stand behind its value."""
    return "" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]"


def shuffled(features: Tensor, seed: int = 0) -> Tensor:
    """An order int64 (N,) of features (N, D) that is random, but the same for the same set of rows.

    The rows are sorted along a fixed random direction and then permuted.
    """
    rng = generator_for(seed, "order of features")
    direction = torch.randn(features.shape[1], generator=rng, dtype=torch.float64)
    along = torch.cat([part.double() @ direction for part in features.split(4096)])
    return along.argsort()[torch.randperm(len(features), generator=rng)]


def check_finite(features: Tensor, what: str) -> Tensor:
    """The same features (N, D).

    Raises:
        ValueError: if a value is NaN or infinite, or there are no two rows.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"{what} have shape {tuple(features.shape)}; it must be (N, D) with N at least 2")
    if not math.isfinite(float(features.sum(dtype=torch.float64))):
        bad = int((~features.isfinite().all(dim=1)).sum())
        raise ValueError(f"{what} have NaN or infinite values in {bad} of {len(features)} rows")
    return features
