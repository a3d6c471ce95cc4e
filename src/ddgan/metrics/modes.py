"""Mode coverage: which modes samples reach and how evenly (paper section 6, Table 3 and Fig 6).

For stacked digits a classifier reads the three channels of each sample; the number read is its mode.
The KL divergence is from the uniform distribution over all K modes, KL = sum p ln(K p). Even a perfect
model scores about (K - 1) / (2 N) from N samples, and a little for classes that are not equally frequent in
the real data; that floor is computed and reported beside the score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ddgan.data import EMBEDDED, toy
from ddgan.data.digits import split_digits
from ddgan.metrics.classifier import CONFIDENT, Judge, digits_judge
from ddgan.metrics.real_data import RealData
from ddgan.system.randomness import generator_for


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
        kl_floor: the same score of N samples of the real data: what a perfect model can expect.
    """

    num_samples: int
    modes: int
    num_modes: int
    kl: float
    kl_floor: float


@dataclass(frozen=True)
class DigitsScore(CoverageScore):
    """Coverage of stacked digits, with the classifier's own trustworthiness.

    The classifier finds some number in anything, so that blurred or noisy images reach all modes by chance;
    `confident_modes` counts only what is surely read.

    Attributes:
        confident_modes: modes reached by images whose channels are all read with probability >= 0.9.
        confident: share of the samples' channels read with probability >= 0.9.
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

    A sample counts for the nearest centre if it lies within 3 sigma of it; `kl` is over those samples.

    Attributes:
        within: share of samples within 3 sigma of a centre.
        within_real: the same share for N real points.
    """

    within: float
    within_real: float


NUM_DRAWS = 20
"""Draws that a floor is averaged over."""


def kl_floor(shares: Tensor, count: int, seed: int = 0) -> float:
    """What a perfect model can expect: the mean KL from uniform of `count` draws from class shares (K,)."""
    rng = generator_for(seed, "perfect model")
    draws = (torch.multinomial(shares, count, replacement=True, generator=rng) for _ in range(NUM_DRAWS))
    return float(np.mean([kl_from_uniform(torch.bincount(d, minlength=len(shares))) for d in draws]))


def as_float(images: Tensor) -> Tensor:
    """uint8 images -> float32 in [-1, 1]; floats, and points, stay."""
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images.float()


class ModeCounter(Protocol):
    """Counts modes in batches of samples."""

    def update(self, images: Tensor) -> None:
        """Take in images (B, C, H, W), uint8 or in [-1, 1], or points (B, 2)."""
        ...

    def score(self) -> CoverageScore:
        """Of all that was taken in."""
        ...


class DigitCounter:
    """Counts the numbers 0..10^C - 1 that a judge reads in the C channels of images.

    Args:
        judge: what reads digits.
        shares: how often each number occurs in the real data, (10^C,), for the floor.
    """

    def __init__(self, judge: Judge, shares: Tensor) -> None:
        self._judge, self._shares = judge, shares
        self._counts = torch.zeros(len(shares), dtype=torch.int64)
        self._sure_counts = torch.zeros_like(self._counts)
        self._confident = self._channels = 0

    def update(self, images: Tensor) -> None:
        digits, confidence = self._judge.read(as_float(images.cpu()))
        place = 10 ** torch.arange(digits.shape[1] - 1, -1, -1)
        numbers, sure = digits @ place, confidence >= CONFIDENT
        self._counts += torch.bincount(numbers, minlength=len(self._counts))
        self._sure_counts += torch.bincount(numbers[sure.all(dim=1)], minlength=len(self._counts))
        self._confident += int(sure.sum())
        self._channels += confidence.numel()

    def score(self) -> DigitsScore:
        total = int(self._counts.sum())
        return DigitsScore(
            num_samples=total,
            modes=int((self._counts > 0).sum()),
            num_modes=len(self._counts),
            kl=kl_from_uniform(self._counts),
            kl_floor=kl_floor(self._shares, total),
            confident_modes=int((self._sure_counts > 0).sum()),
            confident=self._confident / self._channels,
            confident_real=self._judge.confident_real,
            confident_shuffled=self._judge.confident_shuffled,
            classifier_accuracy=self._judge.accuracy,
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
        real = _nearest_counts(toy.Gaussians(seed=1).batch(0, self._total).images)
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
    """How many points lie within 3 sigma of each centre, (25,)."""
    distance, nearest = torch.cdist(points, toy.centres()).min(dim=1)
    return torch.bincount(nearest[distance <= 3 * toy.SPREAD], minlength=25)


def digit_shares(num_channels: int) -> Tensor:
    """How often each number occurs in the embedded digits, stacked `num_channels` high, (10^C,)."""
    single = torch.bincount(torch.from_numpy(split_digits("train")[1]), minlength=10).double()
    shares = torch.ones(1, dtype=torch.float64)
    for _ in range(num_channels):
        shares = torch.outer(shares, single / single.sum()).flatten()
    return shares


def modes_are_countable(real: RealData) -> bool:
    """Whether `mode_counter` has one for this data."""
    return real.source in EMBEDDED or real.stacked


def mode_counter(real: RealData, trained_judge: Callable[[], Judge]) -> ModeCounter:
    """The counter for data whose modes can be counted.

    `trained_judge` is called for stacked digits other than the embedded ones.
    """
    if real.source == "gaussians":
        return GaussianCounter()
    if real.source in EMBEDDED:
        return DigitCounter(digits_judge(), digit_shares(real.images.shape[1]))
    return DigitCounter(trained_judge(), real.class_shares())


def as_table(score: CoverageScore) -> list[tuple[str, str]]:
    """Rows (name, value) for a person to read."""
    labels = {
        "num_samples": "samples (N)",
        "kl": "KL from uniform",
        "kl_floor": "KL of N real samples",
        "confident_modes": "modes of confidently read images",
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
