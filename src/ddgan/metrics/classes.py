"""Classes of samples, as the classifier of the data reads them: their balance, and their obedience.

balance     how often each class occurs among the samples, against the real data
classes     for conditional models: is a sample of the class it was asked to be, and are the samples of one
            class as different from each other as real ones
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.metrics.modes import NUM_DRAWS
from ddgan.system.randomness import generator_for

MOST_PER_CLASS = 200
"""Samples of one class that are compared with each other."""


@dataclass(frozen=True)
class BalanceScore:
    """What `balance` reports.

    Attributes:
        num_samples: N.
        num_classes: K.
        classes_found: classes that at least one sample is read as.
        kl: KL(samples' shares || real shares), in nats.
        kl_floor: the same for N real images with true labels: what a perfect model can expect.
        total_variation: half the sum of the differences of the shares.
        shares: of each class among the samples.
        real_shares: of each class among the real images.
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


def kl_between(counts: Tensor, shares: Tensor) -> float:
    """KL(p || shares) in nats, of the empirical distribution with these counts (K,)."""
    p = counts.double() / counts.sum()
    seen = p > 0
    return float((p[seen] * (p[seen] / shares[seen]).log()).sum())


def balance_score(read: Tensor, real_shares: Tensor, accuracy: float) -> BalanceScore:
    """Of samples read as these classes, int64 (N,), against the real shares (K,)."""
    counts = torch.bincount(read, minlength=len(real_shares))
    shares = counts.double() / len(read)
    rng = generator_for(0, "perfect model")
    floors = []
    for _ in range(NUM_DRAWS):
        drawn = torch.multinomial(real_shares, len(read), replacement=True, generator=rng)
        floors.append(kl_between(torch.bincount(drawn, minlength=len(shares)), real_shares))
    return BalanceScore(
        num_samples=len(read),
        num_classes=len(shares),
        classes_found=int((counts > 0).sum()),
        kl=kl_between(counts, real_shares),
        kl_floor=sum(floors) / NUM_DRAWS,
        total_variation=float((shares - real_shares).abs().sum() / 2),
        shares=tuple(shares.tolist()),
        real_shares=tuple(real_shares.tolist()),
        classifier_accuracy=accuracy,
    )


@dataclass(frozen=True)
class ClassesScore:
    """What `classes` reports.

    Attributes:
        num_samples: N.
        agreement: share of samples that are read as the class they were asked to be.
        agreement_real: the same for held-out real images: the classifier's accuracy.
        diversity: mean distance between two samples of one class, in the classifier's features, over that of
            real images; the mean over the classes. 1 is as varied as real, 0 is one image per class.
        least_diverse: the class where that is smallest.
        least_diversity: its value.
    """

    num_samples: int
    agreement: float
    agreement_real: float
    diversity: float
    least_diverse: int
    least_diversity: float


def classes_score(
    features: Tensor,
    read: Tensor,
    asked: Tensor,
    real_features: Tensor,
    real_labels: Tensor,
    accuracy: float,
) -> ClassesScore:
    """Of samples with features (N, D), read as and asked to be classes (N,), against real ones.

    Raises:
        ValueError: if no class has two samples and two real images.
    """
    ratios: dict[int, float] = {}
    for label in asked.unique().tolist():
        samples, real = features[asked == label], real_features[real_labels == label]
        if len(samples) > 1 and len(real) > 1:
            ratios[label] = mean_distance(samples) / max(mean_distance(real), 1e-12)
    if not ratios:
        raise ValueError("classes need two samples of a class that the real data has; ask for more samples")
    least = min(ratios, key=ratios.__getitem__)
    return ClassesScore(
        num_samples=len(asked),
        agreement=float((read == asked).double().mean()),
        agreement_real=accuracy,
        diversity=sum(ratios.values()) / len(ratios),
        least_diverse=int(least),
        least_diversity=ratios[least],
    )


def mean_distance(features: Tensor) -> float:
    """The mean Euclidean distance between two different ones of the first 200 rows (N, D)."""
    return float(torch.pdist(features[:MOST_PER_CLASS].double()).mean())
