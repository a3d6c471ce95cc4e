"""Precision and recall, density and coverage of samples, by nearest neighbours.

The manifold of a set is the union of balls around its features, each with the radius to the k-th neighbour:

    precision   share of samples within the manifold of the real images      (Kynkäänniemi et al. 2019; k = 3)
    recall      share of real images within the manifold of the samples
    density     mean number of real balls that contain a sample, over k      (Naeem et al. 2020; k = 5)
    coverage    share of real balls that contain at least one sample
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.metric import Evidence, Figure, Metric
from ddgan.metrics.neighbours import centre_of, centred, own_distances, squared_distances
from ddgan.metrics.resampling import Interval, bootstrap_interval, check_finite, within

__all__ = ["DensityCoverage", "DensityScore", "ManifoldScore", "PrecisionRecall", "neighbour_scores"]

K_MANIFOLD, K_DENSITY = 3, 5


@dataclass(frozen=True)
class ManifoldScore:
    """The score of `precision_recall`.

    Attributes:
        precision: quality, in 0..1.
        recall: coverage, in 0..1.
        precision_interval: 95 % interval, by bootstrap over the samples with both manifolds fixed.
        recall_interval: the same over the real images.
        k: the balls reach to the k-th neighbour.
        num_real: number of real images.
    """

    precision: float
    recall: float
    precision_interval: Interval
    recall_interval: Interval
    k: int
    num_real: int

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        return [
            (f"precision (k = {self.k})", f"{self.precision:.4f}{within(self.precision_interval)}"),
            (f"recall (k = {self.k})", f"{self.recall:.4f}{within(self.recall_interval)}"),
        ]


@dataclass(frozen=True)
class DensityScore:
    """The score of `density_coverage`.

    Attributes:
        density: quality, 0 or more; about 1 for real images.
        coverage: in 0..1.
        density_interval: 95 % interval, by bootstrap over the samples with the real balls fixed.
        coverage_interval: the same over the real images.
        k: the balls reach to the k-th neighbour.
        num_real: number of real images.
    """

    density: float
    coverage: float
    density_interval: Interval
    coverage_interval: Interval
    k: int
    num_real: int

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        return [
            (f"density (k = {self.k})", f"{self.density:.4f}{within(self.density_interval)}"),
            (f"coverage (k = {self.k})", f"{self.coverage:.4f}{within(self.coverage_interval)}"),
        ]


def neighbour_scores(
    real: Tensor, samples: Tensor, k_manifold: int = K_MANIFOLD, k_density: int = K_DENSITY, seed: int = 0
) -> tuple[ManifoldScore, DensityScore]:
    """Compute all four scores of features (N, D) against real ones (M, D) in one pass over the distances.

    Memory: one centred copy of the features and a few tiles.

    Raises:
        ValueError: if a feature is not finite, or one set has fewer than k + 1 rows.
    """
    real, samples = check_finite(real, "real features"), check_finite(samples, "samples' features")
    if real.shape[1] != samples.shape[1]:
        raise ValueError(f"real features have {real.shape[1]} dimensions, samples' have {samples.shape[1]}")
    centre = centre_of(real)
    a, b = centred(real, centre), centred(samples, centre)
    real_nearest = own_distances(a, max(k_manifold, k_density))
    real_radius, density_radius = real_nearest[:, k_manifold - 1], real_nearest[:, k_density - 1]
    sample_radius = own_distances(b, k_manifold)[:, -1]

    precise = torch.zeros(len(samples), dtype=torch.bool, device=real.device)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    covered = recalled.clone()
    balls = torch.zeros(len(samples), dtype=torch.int64, device=real.device)
    for i, j, distances in squared_distances(a, b):
        precise[j] |= (distances <= real_radius[i, None]).any(dim=0)
        recalled[i] |= (distances <= sample_radius[None, j]).any(dim=1)
        inside = distances <= density_radius[i, None]
        covered[i] |= inside.any(dim=1)
        balls[j] += inside.sum(dim=0, dtype=torch.int32)
    manifold = ManifoldScore(
        precision=_mean(precise),
        recall=_mean(recalled),
        precision_interval=bootstrap_interval(precise.cpu(), seed),
        recall_interval=bootstrap_interval(recalled.cpu(), seed),
        k=k_manifold,
        num_real=len(real),
    )
    return manifold, DensityScore(
        density=float(balls.sum()) / (k_density * len(samples)),
        coverage=_mean(covered),
        density_interval=bootstrap_interval(balls.cpu() / k_density, seed),
        coverage_interval=bootstrap_interval(covered.cpu(), seed),
        k=k_density,
        num_real=len(real),
    )


def _mean(values: Tensor) -> float:
    return float(values.double().mean())


def _both(evidence: Evidence) -> tuple[ManifoldScore, DensityScore]:
    real, samples = evidence.real.features, evidence.features
    return neighbour_scores(real.to(evidence.device), samples.to(evidence.device))


@register("metric", "precision_recall")
class PrecisionRecall(Metric):
    """Precision and recall of the samples' features against the real ones."""

    needs = ("features", "real")
    figures = (
        Figure("quality", "precision", "precision", "higher", ("precision_interval",)),
        Figure("coverage", "recall", "recall", "higher", ("recall_interval",)),
    )

    def score(self, evidence: Evidence) -> ManifoldScore:
        return evidence.shared(_both)[0]


@register("metric", "density_coverage")
class DensityCoverage(Metric):
    """Density and coverage of the samples' features against the real ones."""

    needs = ("features", "real")
    figures = (
        Figure("quality", "density", "density", "higher", ("density_interval",)),
        Figure("coverage", "coverage", "coverage", "higher", ("coverage_interval",)),
    )

    def score(self, evidence: Evidence) -> DensityScore:
        return evidence.shared(_both)[1]
