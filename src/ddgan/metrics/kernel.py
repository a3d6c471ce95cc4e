"""Kernel distance: the unbiased squared maximum mean discrepancy under a cubic kernel (KID).

    k(x, y) = (x.y / D + 1)^3
    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),   x' another x, y' another y

It is averaged over random subsets, as in Binkowski et al. (2018). As it is unbiased, it may be negative.
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
    """The score of `kernel`.

    Attributes:
        name: "KID" for Inception features, otherwise a name with the features.
        value: mean over the subsets.
        deviation: standard deviation over the subsets.
        num_subsets: number of subsets.
        subset_size: real images, and samples, per subset.
    """

    name: str
    value: float
    deviation: float
    num_subsets: int
    subset_size: int

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        spread = f"+- {self.deviation:.1e} over {self.num_subsets} subsets"
        return [(self.name, f"{self.value:.3e} {spread}")]


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """Return the unbiased estimate from features x (N, D) and y (M, D), N and M at least 2."""
    x, y = x.double(), y.double()
    return float(_mean_of_others(x) + _mean_of_others(y) - 2 * _kernel(x, y).mean())


def _mean_of_others(x: Tensor) -> Tensor:
    """Return the mean kernel over pairs of different rows."""
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
    """Return the kernel distance between features (N, D) of real images and of samples.

    If one side has fewer than `subset_size` rows, every subset has all of them, so the deviation shows only
    the variation of the other side.

    Raises:
        ValueError: if a feature is not finite, or one side has fewer than 2 rows.
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
    """Kernel distance of the samples' features from the real ones."""

    needs = ("features", "real")
    figures = (Figure("quality", "kernel distance", "value", "lower", form=".3e", deviation="deviation"),)

    def score(self, evidence: Evidence) -> KernelScore:
        name = score_name(evidence.kind_of_features, "KID", "kernel distance")
        return kernel_score(name, evidence.real.features, evidence.features)
