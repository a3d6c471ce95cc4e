"""Inception score: how confident a classifier is in each sample, and how the samples vary over its classes.

    exp( mean_x KL( p(y|x) || mean_x p(y|x) ) )

It lies between 1 and the number of classes. The paper computes it over all samples at once; earlier work
reports the mean over ten splits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.features import score_name
from ddgan.metrics.metric import Evidence, Figure, Metric
from ddgan.metrics.resampling import check_finite, shuffled

__all__ = ["Inception", "InceptionScore", "exponential_information", "inception_score"]

NUM_SPLITS = 10


@dataclass(frozen=True)
class InceptionScore:
    """The score of `inception_score`.

    Attributes:
        name: "Inception score" for the Inception network, otherwise a name with the features.
        value: over all samples at once, as in the paper.
        mean_of_splits: mean over `num_splits` equal parts of the samples.
        deviation_of_splits: standard deviation over these parts.
        num_splits: 10, or fewer so that each has at least 2 samples.
    """

    name: str
    value: float
    mean_of_splits: float
    deviation_of_splits: float
    num_splits: int

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        spread = f"{self.mean_of_splits:.3f} +- {self.deviation_of_splits:.3f}"
        return [(self.name, f"{self.value:.3f} ({spread} in {self.num_splits} splits)")]


def exponential_information(probabilities: Tensor) -> float:
    """Return exp of the mean KL divergence of rows (N, K) from their mean."""
    p = probabilities.double()
    entropy = -torch.xlogy(p, p).sum(dim=1).mean()
    mean = p.mean(dim=0)
    return float((-torch.xlogy(mean, mean).sum() - entropy).exp())


def inception_score(name: str, probabilities: Tensor, num_splits: int = NUM_SPLITS) -> InceptionScore:
    """Score samples with these class probabilities (N, K), at once and in splits.

    The splits depend on the set of samples, not on their order.

    Raises:
        ValueError: if a probability is negative or not finite, or a row does not sum to 1.
    """
    probabilities = check_finite(probabilities, "class probabilities")
    if bool((probabilities.sum(dim=1) - 1).abs().max() > 1e-3) or bool(probabilities.min() < 0):
        raise ValueError("class probabilities must be 0 or more and sum to 1; apply a softmax to logits")
    num_splits = max(min(num_splits, len(probabilities) // 2), 1)
    parts = probabilities[shuffled(probabilities)].tensor_split(num_splits)
    values = torch.tensor([exponential_information(part) for part in parts], dtype=torch.float64)
    return InceptionScore(
        name=name,
        value=exponential_information(probabilities),
        mean_of_splits=float(values.mean()),
        deviation_of_splits=float(values.std(correction=0)),
        num_splits=num_splits,
    )


@register("metric", "inception_score")
class Inception(Metric):
    """Inception score of the samples' class probabilities; it needs no real images."""

    needs = ("probabilities",)
    figures = (Figure("quality", "Inception score", "value", "higher", deviation="deviation_of_splits"),)

    def score(self, evidence: Evidence) -> InceptionScore:
        name = score_name(evidence.kind_of_features, "Inception score", "class score")
        return inception_score(name, evidence.probabilities)
