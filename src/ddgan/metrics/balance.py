"""Balance: how often each class occurs among the samples, compared with the real data.

A classifier trained on the labelled data assigns classes to the samples. The KL divergence of the class
shares is in nats; a perfect model has that of N real images, which is reported too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.metric import Evidence, Figure, Metric
from ddgan.metrics.modes import NUM_DRAWS
from ddgan.system.randomness import generator_for

__all__ = ["Balance", "BalanceScore", "balance_score", "kl_between"]


@dataclass(frozen=True)
class BalanceScore:
    """The score of `balance`.

    Attributes:
        num_samples: N.
        num_classes: K.
        classes_found: number of classes with at least one sample.
        kl: KL(samples' shares || real shares), in nats.
        kl_floor: the same for N real images with true labels: the expected value for a perfect model.
        total_variation: half the sum of the absolute differences of the shares.
        shares: share of each class among the samples.
        real_shares: share of each class among the real images.
        classifier_accuracy: on held-out real images.
    """

    num_samples: int
    num_classes: int
    classes_found: int
    kl: float
    kl_floor: float
    total_variation: float
    shares: tuple[float, ...]
    real_shares: tuple[float, ...]
    classifier_accuracy: float

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        return [
            ("classes found", f"{self.classes_found} of {self.num_classes}"),
            ("KL of class shares from the real ones", f"{self.kl:.4f}"),
            ("the same for N real images", f"{self.kl_floor:.4f}"),
            ("classifier accuracy on held-out images", f"{self.classifier_accuracy:.1%}"),
        ]


def kl_between(counts: Tensor, shares: Tensor) -> float:
    """Return KL(p || shares) in nats for the empirical distribution p with these counts (K,)."""
    p = counts.double() / counts.sum()
    seen = p > 0
    return float((p[seen] * (p[seen] / shares[seen]).log()).sum())


def balance_score(classes: Tensor, real_shares: Tensor, accuracy: float) -> BalanceScore:
    """Score samples with these predicted classes, int64 (N,), against the real shares (K,)."""
    counts = torch.bincount(classes, minlength=len(real_shares))
    shares = counts.double() / len(classes)
    rng = generator_for(0, "perfect model")
    floors = []
    for _ in range(NUM_DRAWS):
        drawn = torch.multinomial(real_shares, len(classes), replacement=True, generator=rng)
        floors.append(kl_between(torch.bincount(drawn, minlength=len(shares)), real_shares))
    return BalanceScore(
        num_samples=len(classes),
        num_classes=len(shares),
        classes_found=int((counts > 0).sum()),
        kl=kl_between(counts, real_shares),
        kl_floor=sum(floors) / NUM_DRAWS,
        total_variation=float((shares - real_shares).abs().sum() / 2),
        shares=tuple(shares.tolist()),
        real_shares=tuple(real_shares.tolist()),
        classifier_accuracy=accuracy,
    )


@register("metric", "balance")
class Balance(Metric):
    """Class shares of the samples, compared with those of the real data."""

    needs = ("classes", "real")
    figures = (Figure("coverage", "KL of the classes", "kl", "lower"),)

    def score(self, evidence: Evidence) -> BalanceScore:
        assert evidence.inputs.real is not None
        found = evidence.classified
        return balance_score(found.classes, evidence.inputs.real.class_shares(), found.accuracy)
