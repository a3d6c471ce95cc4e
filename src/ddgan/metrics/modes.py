"""Mode coverage: how many modes samples reach and how evenly (paper section 6, Table 3 and Fig 6).

For stacked digits a classifier reads the three channels of each sample; the resulting number is its mode.
The KL divergence is from the uniform distribution over all K modes, KL = sum p ln(K p). Even a perfect model
scores about (K - 1) / (2 N) from N samples, plus a little if the real classes are not equally frequent; this
floor is computed and reported too.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.data import toy
from ddgan.data.cache import check_cached
from ddgan.data.digits import split_digits
from ddgan.metrics.classifier import (
    CONFIDENT,
    MeasuredClassifier,
    digits_classifier,
    digits_classifier_path,
)
from ddgan.metrics.comparison_inputs import Inputs
from ddgan.metrics.labelled import check_classifier
from ddgan.metrics.metric import Evidence, Figure, Metric
from ddgan.metrics.real_data import RealData
from ddgan.system.randomness import generator_for

__all__ = [
    "CoverageScore",
    "DigitCounter",
    "DigitsScore",
    "GaussianCounter",
    "GaussiansScore",
    "ModeCounter",
    "Modes",
    "digit_shares",
    "kl_floor",
    "kl_from_uniform",
    "modes_are_countable",
]


def kl_from_uniform(counts: Tensor) -> float:
    """Return KL(p || uniform) in nats for the empirical distribution p with these counts (K,)."""
    p = counts.double() / counts.sum()
    p = p[p > 0]
    return float((p * (len(counts) * p).log()).sum())


@dataclass(frozen=True)
class CoverageScore:
    """The score of `modes`.

    Attributes:
        num_samples: N.
        modes: number of modes with at least one sample.
        num_modes: K.
        kl: KL(p || uniform) over the modes, in nats.
        kl_floor: the same for N samples of the real data: the expected value for a perfect model.
    """

    num_samples: int
    modes: int
    num_modes: int
    kl: float
    kl_floor: float

    @property
    def deviation(self) -> float:
        """Standard deviation of `kl`: 2 N KL is noncentral chi-squared, with K - 1 degrees of freedom."""
        freedom, total = self.num_modes - 1, self.num_samples
        excess = max(self.kl - freedom / (2 * total), 0.0)
        return math.sqrt(freedom / (2 * total**2) + 2 * excess / total)

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        values = asdict(self)
        rows = [("modes covered", f"{values.pop('modes')} of {values.pop('num_modes')}")]
        for name, value in values.items():
            is_share = isinstance(value, float) and not name.startswith("kl")
            text = (
                f"{value:.1%}" if is_share else f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
            )
            rows.append((LABELS[name], text))
        return rows


LABELS = {
    "num_samples": "samples (N)",
    "kl": "KL from uniform",
    "kl_floor": "KL of N real samples",
    "confident_modes": "modes classified with p >= 0.9",
    "confident": "channels classified with p >= 0.9",
    "confident_real": "the same for held-out real digits",
    "confident_shuffled": "the same for pixel-shuffled digits",
    "classifier_accuracy": "classifier's accuracy on held-out digits",
    "within": "samples within 3 sigma of a centre",
    "within_real": "the same for real samples",
}
"""Labels of the fields of a score."""


@dataclass(frozen=True)
class DigitsScore(CoverageScore):
    """Coverage of stacked digits, with measures of the classifier's reliability.

    The classifier assigns a number to any image, so blurred or noisy images reach all modes by chance;
    `confident_modes` counts only modes classified with high confidence (p >= 0.9).

    Attributes:
        confident_modes: modes reached by images whose channels are all classified with p >= 0.9.
        confident: share of the samples' channels that are classified with p >= 0.9.
        confident_real: the same share for held-out real digits.
        confident_shuffled: the same share for held-out digits with shuffled pixels.
        classifier_accuracy: on held-out real digits.
    """

    confident_modes: int
    confident: float
    confident_real: float
    confident_shuffled: float
    classifier_accuracy: float


@dataclass(frozen=True)
class GaussiansScore(CoverageScore):
    """Coverage of the 25 Gaussians.

    A sample counts for the nearest centre if it is within 3 sigma of it; `kl` is over these samples.

    Attributes:
        within: share of samples within 3 sigma of a centre.
        within_real: the same share for N real points.
    """

    within: float
    within_real: float


NUM_DRAWS = 20
"""Number of random draws averaged for a floor."""


def kl_floor(shares: Tensor, count: int, seed: int = 0) -> float:
    """Return the expected score of a perfect model: mean KL from uniform of `count` draws of shares (K,)."""
    rng = generator_for(seed, "perfect model")
    draws = (torch.multinomial(shares, count, replacement=True, generator=rng) for _ in range(NUM_DRAWS))
    return float(np.mean([kl_from_uniform(torch.bincount(d, minlength=len(shares))) for d in draws]))


def as_float(images: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [-1, 1]; float images and points stay unchanged."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()


class ModeCounter(Protocol):
    """Counts modes in batches of samples."""

    def update(self, images: Tensor) -> None:
        """Add images (B, C, H, W), uint8 or in [-1, 1], or points (B, 2)."""
        ...

    def score(self) -> CoverageScore:
        """Score all samples added so far."""
        ...


class DigitCounter:
    """Counts the numbers 0..10^C - 1 that a classifier reads in the C channels of images.

    Args:
        classifier: the classifier of digits.
        shares: share of each number in the real data, (10^C,), for the floor.
    """

    def __init__(self, classifier: MeasuredClassifier, shares: Tensor) -> None:
        self._classifier, self._shares = classifier, shares
        self._counts = torch.zeros(len(shares), dtype=torch.int64)
        self._confident_counts = torch.zeros_like(self._counts)
        self._confident = self._channels = 0

    def update(self, images: Tensor) -> None:
        digits, confidence = self._classifier.read(as_float(images.cpu()))
        place = 10 ** torch.arange(digits.shape[1] - 1, -1, -1)
        numbers, is_confident = digits @ place, confidence >= CONFIDENT
        whole = numbers[is_confident.all(dim=1)]
        self._counts += torch.bincount(numbers, minlength=len(self._counts))
        self._confident_counts += torch.bincount(whole, minlength=len(self._counts))
        self._confident += int(is_confident.sum())
        self._channels += confidence.numel()

    def score(self) -> DigitsScore:
        total = int(self._counts.sum())
        return DigitsScore(
            num_samples=total,
            modes=int((self._counts > 0).sum()),
            num_modes=len(self._counts),
            kl=kl_from_uniform(self._counts),
            kl_floor=kl_floor(self._shares, total),
            confident_modes=int((self._confident_counts > 0).sum()),
            confident=self._confident / self._channels,
            confident_real=self._classifier.confident_real,
            confident_shuffled=self._classifier.confident_shuffled,
            classifier_accuracy=self._classifier.accuracy,
        )


class GaussianCounter:
    """Counts points (B, 2) near each of the 25 centres."""

    def __init__(self) -> None:
        self._counts = torch.zeros(25, dtype=torch.int64)
        self._total = 0

    def update(self, images: Tensor) -> None:
        self._counts += _nearest_counts(images.cpu())
        self._total += len(images)

    def score(self) -> GaussiansScore:
        near = int(self._counts.sum())
        real = _nearest_counts(toy.Gaussians(seed=1).batch(0, self._total).x)
        return GaussiansScore(
            num_samples=self._total,
            modes=int((self._counts > 0).sum()),
            num_modes=25,
            kl=kl_from_uniform(self._counts) if near else float("inf"),
            kl_floor=kl_floor(torch.full((25,), 1 / 25), max(int(real.sum()), 1)),
            within=near / self._total,
            within_real=int(real.sum()) / self._total,
        )


def _nearest_counts(points: Tensor) -> Tensor:
    """Count the points within 3 sigma of each centre, (25,)."""
    distance, nearest = torch.cdist(points, toy.centres()).min(dim=1)
    return torch.bincount(nearest[distance <= 3 * toy.SPREAD], minlength=25)


def digit_shares(num_channels: int) -> Tensor:
    """Return the share of each number in the embedded digits with `num_channels` channels, (10^C,)."""
    single = torch.bincount(torch.from_numpy(split_digits("train")[1]), minlength=10).double()
    shares = torch.ones(1, dtype=torch.float64)
    for _ in range(num_channels):
        shares = torch.outer(shares, single / single.sum()).flatten()
    return shares


COUNTABLE = ("digits", "single_digits", "gaussians")
"""Embedded data whose modes can be counted."""


def modes_are_countable(real: RealData) -> bool:
    """Whether the modes of this data can be counted."""
    return real.name in COUNTABLE or real.stacked


@register("metric", "modes")
class Modes(Metric):
    """How many modes the samples cover, for data whose modes are known."""

    needs = ("real",)
    figures = (
        Figure("quality", "channels classified with p >= 0.9", "confident", "higher"),
        Figure("quality", "points near a mode", "within", "higher"),
        Figure("coverage", "modes", "modes", "higher", form=".0f"),
        Figure("coverage", "modes classified with p >= 0.9", "confident_modes", "higher", form=".0f"),
        Figure("coverage", "KL of the modes", "kl", "lower"),
    )
    headline = "kl"

    def check(self, inputs: Inputs) -> None:
        if inputs.real is None or not modes_are_countable(inputs.real):
            raise ValueError(
                "metrics: modes can be counted for digits, single_digits, gaussians and stackedmnist:FOLDER, "
                f"not for {inputs.data_name}; use balance or precision_recall"
            )
        if inputs.real.name not in COUNTABLE:
            check_classifier(inputs.training)
        elif inputs.real.name != "gaussians":
            check_cached(digits_classifier_path(), "the classifier of digits")

    def collector(self, inputs: Inputs) -> ModeCounter:
        real = inputs.real
        assert real is not None
        if real.name == "gaussians":
            return GaussianCounter()
        if real.name in COUNTABLE:
            return DigitCounter(digits_classifier(), digit_shares(real.images.shape[1]))
        return DigitCounter(inputs.classifier.of_channels, real.class_shares())

    def score(self, evidence: Evidence) -> CoverageScore:
        counter: ModeCounter = evidence.collector(self)
        return counter.score()
