"""Kernel distance: the unbiased squared maximum mean discrepancy under a cubic kernel (KID).

    k(x, y) = (x.y / D + 1)^3
    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),   x' another x, y' another y

It is the mean over random subsets, as Binkowski et al. (2018) define it. Being unbiased it may be negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.features import score_name
from ddgan.metrics.metric import Evidence, Figure, Metric
from ddgan.metrics.resampling import check_finite, shuffled
from ddgan.system.randomness import generator_for

__all__ = ["Kernel", "KernelScore", "kernel_score", "squared_mmd"]

NUM_SUBSETS, SUBSET_SIZE = 100, 1000


@dataclass(frozen=True)
class KernelScore:
    """What `kernel` reports.

    Attributes:
        name: "KID" for Inception features, otherwise a name that says which.
        value: the mean over the subsets.
        deviation: the standard deviation over the subsets.
        num_subsets: how many.
        subset_size: images of each kind in each.
    """

    name: str
    value: float
    deviation: float
    num_subsets: int
    subset_size: int

    def rows(self) -> list[tuple[str, str]]:
        """For a person to read."""
        spread = f"+- {self.deviation:.1e} over {self.num_subsets} subsets"
        return [(self.name, f"{self.value:.3e} {spread}")]


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased estimate from features x (N, D) and y (M, D), N and M at least 2."""
    x, y = x.double(), y.double()
    return float(_mean_of_others(x) + _mean_of_others(y) - 2 * _kernel(x, y).mean())


def _mean_of_others(x: Tensor) -> Tensor:
    """The mean kernel of two different rows."""
    kernel = _kernel(x, x)
    return (kernel.sum() - kernel.trace()) / (len(x) * (len(x) - 1))


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def kernel_score(
    name: str,
    real: Tensor,
    samples: Tensor,
    num_subsets: int = NUM_SUBSETS,
    subset_size: int = SUBSET_SIZE,
    seed: int = 0,
) -> KernelScore:
    """The kernel distance between the features (N, D) of real images and of samples.

    Where there are fewer than `subset_size` of one kind, all of them are in every subset, and the deviation
    over the subsets shows what the choice of the other kind alone does to it.

    Raises:
        ValueError: if a feature is not finite, or there are no two of one kind.
    """
    real, samples = check_finite(real, "real features"), check_finite(samples, "samples' features")
    size = min(subset_size, len(real), len(samples))
    if size == len(real) == len(samples):
        num_subsets = 1
    real_order, sample_order = shuffled(real, seed), shuffled(samples, seed)
    rng = generator_for(seed, "kernel subsets")
    values = torch.empty(num_subsets, dtype=torch.float64)
    for subset in range(num_subsets):
        x = real[real_order[torch.randperm(len(real), generator=rng)[:size]]]
        y = samples[sample_order[torch.randperm(len(samples), generator=rng)[:size]]]
        values[subset] = squared_mmd(x, y)
    return KernelScore(
        name, float(values.mean()), float(values.std(correction=0)), num_subsets, subset_size=size
    )


@register("metric", "kernel")
class Kernel(Metric):
    """The kernel distance of the samples' features from the real ones."""

    needs = ("features", "real")
    figures = (Figure("quality", "kernel distance", "value", "lower", form=".3e"),)

    def score(self, evidence: Evidence) -> KernelScore:
        name = score_name(evidence.kind_of_features, "KID", "kernel distance")
        return kernel_score(name, evidence.real.features, evidence.features)
