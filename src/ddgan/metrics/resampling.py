"""Permutations and resamples of N images that do not depend on the order of the images.

Subsets and resamples would change a score if the same images came in another order. So images are first
sorted into an order that depends only on their features.
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
"""Lower and upper end."""


def bootstrap_interval(values: Tensor, seed: int = 0) -> Interval:
    """Return the 95 % interval of the mean of values (N,), by resampling with replacement."""
    ordered = values.double().flatten().sort().values
    rng = generator_for(seed, "bootstrap")
    means = torch.empty(REPLICATES, dtype=torch.float64)
    for replicate in range(REPLICATES):
        chosen = torch.randint(len(ordered), (len(ordered),), generator=rng)
        means[replicate] = ordered[chosen].mean()
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def within(interval: Interval | None) -> str:
    """Format an interval to follow its value in a table."""
    return "" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]"


def shuffled(features: Tensor, seed: int = 0) -> Tensor:
    """Return a random permutation int64 (N,) of features (N, D), the same for the same set of rows.

    The rows are sorted along a fixed random direction and then permuted.
    """
    rng = generator_for(seed, "order of features")
    direction = torch.randn(features.shape[1], generator=rng, dtype=torch.float64)
    along = torch.cat([part.double() @ direction for part in features.split(4096)])
    return along.argsort()[torch.randperm(len(features), generator=rng)]


def check_finite(features: Tensor, what: str) -> Tensor:
    """Check features (N, D) and return them.

    Raises:
        ValueError: if a value is NaN or infinite, or there are fewer than two rows.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"{what} have shape {tuple(features.shape)}; it must be (N, D) with N at least 2")
    if not math.isfinite(float(features.sum(dtype=torch.float64))):
        bad = int((~features.isfinite().all(dim=1)).sum())
        raise ValueError(f"{what} have NaN or infinite values in {bad} of {len(features)} rows")
    return features
