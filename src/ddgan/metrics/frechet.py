"""Fréchet distance between two sets of features, each modelled as a Gaussian (paper section 6; FID).

    d^2 = |mu_1 - mu_2|^2 + tr S_1 + tr S_2 - 2 tr (S_1 S_2)^(1/2)

With S_i = A_i A_i^T the last trace is the sum of the singular values of A_1^T A_2. Unlike a matrix square
root, this loses no digits if the covariances are singular.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.features import score_name
from ddgan.metrics.metric import Evidence, Figure, Metric
from ddgan.metrics.moments import BLOCK, Statistics
from ddgan.metrics.resampling import Interval, bootstrap_interval, within

__all__ = ["Frechet", "FrechetScore", "frechet_distance", "frechet_score"]


@dataclass(frozen=True)
class FrechetScore:
    """The score of `frechet`.

    Attributes:
        name: "FID" for Inception features, otherwise a name with the features.
        value: the distance, 0 or more.
        interval: 95 % interval, by bootstrap over the samples; None if rank is below D.
        num_features: D.
        rank: upper bound of the rank of the samples' covariance; below D the score is too large by an unknown
            amount.
        num_real: number of real samples in the reference; None if its file does not state it.
    """

    name: str
    value: float
    interval: Interval | None
    num_features: int
    rank: int
    num_real: int | None

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        rank = f", rank {self.rank} of {self.num_features}" if self.rank < self.num_features else ""
        return [(self.name, f"{self.value:.4g}{within(self.interval)}{rank}")]


@dataclass(frozen=True)
class _Overlap:
    """The decomposition of (A_1^T A_2)(A_1^T A_2)^T, for tr (S_1 S_2)^(1/2) and its derivative.

    Attributes:
        factor: A_1.
        vectors: eigenvectors, in columns.
        singular_values: singular values of A_1^T A_2, one for each eigenvector.
    """

    factor: np.ndarray
    vectors: np.ndarray
    singular_values: np.ndarray

    @classmethod
    def of(cls, first: Statistics, second: Statistics) -> _Overlap:
        if first.mean.shape != second.mean.shape:
            raise ValueError(
                f"the features have {len(second.mean)} dimensions, but the reference statistics have "
                f"{len(first.mean)}; use statistics of the same features"
            )
        factor = _factor(first)
        product = factor.T @ _factor(second)
        vectors = np.linalg.eigh(product @ product.T)[1]
        # computed as lengths, not as roots of eigenvalues, small values keep their digits
        return cls(factor, vectors, np.linalg.norm(product.T @ vectors, axis=0))


def _factor(statistics: Statistics) -> np.ndarray:
    """Return A with covariance = A A^T; eigenvalues below the rounding error are set to 0."""
    values, vectors = np.linalg.eigh(statistics.covariance.numpy())  # torch's is many times slower
    values[values < values[-1] * len(values) * np.finfo(np.float64).eps] = 0
    factor: np.ndarray = vectors * np.sqrt(values)
    return factor


def _distance(real: Statistics, samples: Statistics, overlap: _Overlap) -> float:
    traces = real.covariance.trace() + samples.covariance.trace()
    spread = float(traces) - 2 * float(overlap.singular_values.sum())
    return max(float((real.mean - samples.mean).square().sum()) + spread, 0.0)


def frechet_distance(real: Statistics, samples: Statistics) -> float:
    """Return the squared Fréchet distance, as all published scores do.

    Raises:
        ValueError: if the two have different numbers of features.
    """
    return _distance(real, samples, _Overlap.of(real, samples))


def _first_order_changes(
    features: Tensor, samples: Statistics, real: Statistics, overlap: _Overlap
) -> Tensor:
    """Return each sample's first-order contribution to the distance, for features (N, D): float64 (N,).

    2 (mu - mu_r).(x - mu) + (x - mu)^T (I - T) (x - mu),   T = A_r (A_r^T S A_r)^(-1/2) A_r^T
    """
    values = overlap.singular_values
    kept = values > values.max() * len(values) * np.finfo(np.float64).eps
    half = torch.from_numpy((overlap.factor @ overlap.vectors[:, kept]) * values[kept] ** -0.5)
    curvature = torch.eye(len(values), dtype=torch.float64) - half @ half.T
    slope = 2 * (samples.mean - real.mean)
    changes = []
    for part in features.cpu().split(BLOCK):
        centred = part.double() - samples.mean
        changes.append(centred @ slope + (centred @ curvature * centred).sum(dim=1))
    return torch.cat(changes)


def frechet_score(
    name: str, features: Tensor, samples: Statistics, real: Statistics, seed: int = 0
) -> FrechetScore:
    """Return the distance of samples with these features (N, D) and statistics from the real ones.

    The interval is a bootstrap over the samples. Resampled sets repeat images, which makes them farther from
    any other set than N different images are; so the first-order change of the score is resampled instead of
    the score.
    """
    overlap = _Overlap.of(real, samples)
    distance, interval = _distance(real, samples, overlap), None
    if samples.rank == len(samples.mean):
        change = _first_order_changes(features, samples, real, overlap)
        low, high = bootstrap_interval(change - change.mean(), seed)
        interval = (max(distance + low, 0.0), max(distance + high, 0.0))
    return FrechetScore(name, distance, interval, len(samples.mean), samples.rank, real.count)


@register("metric", "frechet")
class Frechet(Metric):
    """Fréchet distance of the samples' features from those of all real images."""

    needs = ("features",)
    figures = (Figure("quality", "Fréchet distance", "value", "lower", ("interval",)),)

    def score(self, evidence: Evidence) -> FrechetScore:
        name = score_name(evidence.kind_of_features, "FID", "Fréchet distance")
        samples, real = evidence.statistics, evidence.reference
        for statistics, what in ((samples, "samples"), (real, "real images")):
            dimensions = len(statistics.mean)
            if statistics.rank < dimensions:
                evidence.warnings.append(
                    f"{statistics.count:,} {what} give a covariance of rank {statistics.rank:,} at most in "
                    f"{dimensions:,} dimensions, so the {name} is too large; use more than {dimensions:,}"
                )
        return frechet_score(name, evidence.features, samples, real)
