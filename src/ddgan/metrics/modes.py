"""Mode coverage: which modes samples reach and how evenly (paper section 6, Table 3 and Fig 6).

For stacked digits a classifier reads the three channels of each sample; the number read is its mode.
The KL divergence is from the uniform distribution over all K modes, KL = sum p ln(K p). Even a perfect
model scores about (K - 1) / (2 N) from N samples, so N is always stated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from ddgan.data import toy
from ddgan.data.digits import StackedDigits
from ddgan.metrics.classifier import CONFIDENT, digits_judge


def kl_from_uniform(counts: Tensor) -> float:
    """KL(p || uniform) in nats, of the empirical distribution with these counts (K,)."""
    p = counts.double() / counts.sum()
    p = p[p > 0]
    return float((p * (len(counts) * p).log()).sum())


@dataclass(frozen=True)
class CoverageScore:
    """What `modes` reports.

    Attributes:
        num_samples: N.
        modes: how many of `num_modes` were reached at least once.
        num_modes: K.
        kl: KL(p || uniform) over the modes, in nats.
        kl_floor: the same score of N real samples: what a perfect model can expect.
    """

    num_samples: int
    modes: int
    num_modes: int
    kl: float
    kl_floor: float


@dataclass(frozen=True)
class DigitsScore(CoverageScore):
    """Coverage of stacked digits, with the classifier's own trustworthiness.

    Attributes:
        confident: share of the samples' channels read with probability >= 0.9.
        confident_real: the same share for held-out real digits.
        confident_shuffled: the same share for held-out digits with shuffled pixels.
        classifier_accuracy: on held-out real digits.
    """

    confident: float
    confident_real: float
    confident_shuffled: float
    classifier_accuracy: float


@dataclass(frozen=True)
class GaussiansScore(CoverageScore):
    """Coverage of the 25 Gaussians.

    A sample counts for the nearest centre if it lies within 3 sigma of it; `kl` is over those samples.

    Attributes:
        within: share of samples within 3 sigma of a centre.
        within_real: the same share for N real points.
    """

    within: float
    within_real: float


def score_digits(batches: Iterable[Tensor]) -> DigitsScore:
    """Score stacked digits given in batches (B, 3, 8, 8) in [-1, 1]."""
    judge = digits_judge()
    place = torch.tensor([100, 10, 1])
    counts, confident = torch.zeros(1000), 0
    for batch in batches:
        digits, confidence = judge.read(batch.cpu())
        counts += torch.bincount(digits @ place, minlength=1000)
        confident += int((confidence >= CONFIDENT).sum())
    total = int(counts.sum())
    real = StackedDigits(seed=1)
    numbers = real.labels[real.triples(0, total)] @ place
    return DigitsScore(
        num_samples=total,
        modes=int((counts > 0).sum()),
        num_modes=1000,
        kl=kl_from_uniform(counts),
        kl_floor=kl_from_uniform(torch.bincount(numbers, minlength=1000)),
        confident=confident / (3 * total),
        confident_real=judge.confident_real,
        confident_shuffled=judge.confident_shuffled,
        classifier_accuracy=judge.accuracy,
    )


def score_gaussians(batches: Iterable[Tensor]) -> GaussiansScore:
    """Score points given in batches (B, 2)."""
    points = torch.cat([batch.cpu() for batch in batches])
    counts, within = _nearest_counts(points)
    real_counts, within_real = _nearest_counts(toy.Gaussians(seed=1).batch(0, len(points)).images)
    return GaussiansScore(
        num_samples=len(points),
        modes=int((counts > 0).sum()),
        num_modes=25,
        kl=kl_from_uniform(counts) if within else float("inf"),
        kl_floor=kl_from_uniform(real_counts),
        within=within,
        within_real=within_real,
    )


def _nearest_counts(points: Tensor) -> tuple[Tensor, float]:
    """How many points lie within 3 sigma of each centre (25,), and the share that do."""
    distance, nearest = torch.cdist(points, toy.centres()).min(dim=1)
    near = distance <= 3 * toy.SPREAD
    return torch.bincount(nearest[near], minlength=25), float(near.double().mean())


SCORES = {"digits": score_digits, "gaussians": score_gaussians}
"""By data source."""


def as_table(score: CoverageScore) -> list[tuple[str, str]]:
    """Rows (name, value) for a person to read."""
    labels = {
        "num_samples": "samples (N)",
        "kl": "KL from uniform",
        "kl_floor": "KL of N real samples",
        "confident": "channels read with confidence >= 0.9",
        "confident_real": "the same for held-out real digits",
        "confident_shuffled": "the same for pixel-shuffled digits",
        "classifier_accuracy": "classifier's accuracy on held-out digits",
        "within": "samples within 3 sigma of a centre",
        "within_real": "the same for real samples",
    }
    values = asdict(score)
    rows = [("modes covered", f"{values.pop('modes')} of {values.pop('num_modes')}")]
    for name, value in values.items():
        shares = isinstance(value, float) and not name.startswith("kl")
        text = f"{value:.1%}" if shares else f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
        rows.append((labels[name], text))
    return rows
