"""Mode coverage, on samples whose score is known."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch import Tensor

from ddgan.data.digits import StackedDigits, split_digits
from ddgan.data.toy import SPREAD, Gaussians, centres
from ddgan.metrics.classifier import MeasuredClassifier, digits_classifier
from ddgan.metrics.modes import (
    CoverageScore,
    DigitCounter,
    DigitsScore,
    GaussianCounter,
    GaussiansScore,
    digit_shares,
    kl_floor,
    kl_from_uniform,
)


def score_digits(batches: Iterable[Tensor]) -> DigitsScore:
    """Of stacked digits (B, 3, 8, 8), uint8 or in [-1, 1]."""
    counter = DigitCounter(digits_classifier(), digit_shares(3))
    for batch in batches:
        counter.update(batch)
    return counter.score()


def score_gaussians(batches: Iterable[Tensor]) -> GaussiansScore:
    """Of points (B, 2)."""
    counter = GaussianCounter()
    for batch in batches:
        counter.update(batch)
    return counter.score()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50).filter(any))
def test_kl_equals_scipys(counts: list[int]) -> None:
    expected = entropy(counts, np.ones(len(counts)))
    assert kl_from_uniform(torch.tensor(counts)) == pytest.approx(expected, abs=1e-9)


def test_kl_of_one_mode_and_of_all() -> None:
    assert kl_from_uniform(torch.tensor([0, 7, 0, 0])) == pytest.approx(math.log(4))
    assert kl_from_uniform(torch.tensor([3, 3, 3, 3])) == pytest.approx(0)


class Reader:
    """A classifier that reads the number written in the top left pixel of each channel."""

    accuracy, confident_real, confident_shuffled = 1.0, 1.0, 0.0

    def read(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        digits = ((images[:, :, 0, 0] + 1) * 127.5).round().long()
        return digits, torch.ones(digits.shape)


def test_uniform_counts_with_100_of_1000_modes_dropped() -> None:
    numbers = torch.arange(900).repeat(29)[torch.randperm(900 * 29, generator=torch.Generator())]
    digits = torch.stack([numbers // 100, numbers // 10 % 10, numbers % 10], dim=1)
    counter = DigitCounter(Reader(), torch.full((1000,), 1 / 1000))  # type: ignore[arg-type]
    for part in digits.to(torch.uint8)[:, :, None, None].split(777):
        counter.update(part)
    score = counter.score()
    assert (score.modes, score.num_modes, score.num_samples) == (900, 1000, 26_100)
    assert score.kl == pytest.approx(math.log(1000 / 900), abs=1e-12)
    assert round(score.kl, 3) == 0.105


def test_the_floor_is_that_of_a_perfect_model() -> None:
    uniform = torch.full((1000,), 1 / 1000)
    assert kl_floor(uniform, 26_000) == pytest.approx(999 / 52_000, rel=0.05)
    assert kl_floor(uniform, 100_000) == pytest.approx(999 / 200_000, rel=0.05)
    uneven = torch.tensor([0.5, 0.25, 0.25])
    expected = entropy([0.5, 0.25, 0.25], [1, 1, 1])
    assert kl_floor(uneven, 100_000) == pytest.approx(expected, abs=1e-3)


def test_shares_of_stacks_are_products() -> None:
    shares = digit_shares(2)
    assert shares.shape == (100,)
    assert float(shares.sum()) == pytest.approx(1)
    single = digit_shares(1)
    assert float(shares[37]) == pytest.approx(float(single[3] * single[7]))


def test_real_digits_score_as_a_perfect_model(classifier: MeasuredClassifier) -> None:
    data = StackedDigits(seed=9, split="test")
    score = score_digits(data.batch(step, 2600).x for step in range(4))
    assert score.num_samples == 10_400
    assert score.modes == 1000
    assert score.kl < 0.07
    # 999 / (2 N) from chance, and a little from classes of 141 to 147 training digits
    assert score.kl_floor == pytest.approx(999 / 20_800, abs=0.003)
    assert score.confident == pytest.approx(classifier.confident_real, abs=0.01)
    assert score.confident_modes >= 995


def test_digits_are_read_in_the_order_red_green_blue(classifier: MeasuredClassifier) -> None:
    images, labels = split_digits("train")
    for number in (7, 305, 999):
        channels = [images[labels == int(digit)][:40] for digit in f"{number:03d}"]
        batch = torch.from_numpy(np.stack(channels, axis=1)).float() / 127.5 - 1
        digits, _ = classifier.read(batch)
        read = digits @ torch.tensor([100, 10, 1])
        assert (read == number).double().mean() > 0.95


def test_collapse_is_seen(classifier: MeasuredClassifier) -> None:
    one = StackedDigits(seed=0).batch(0, 1).x.repeat(500, 1, 1, 1)
    score = score_digits([one[:200], one[200:]])
    assert (score.modes, score.num_modes) == (1, 1000)
    assert score.kl == pytest.approx(math.log(1000))


def test_noise_is_not_classified_with_confidence(classifier: MeasuredClassifier) -> None:
    noise = torch.randn(500, 3, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert score_digits([noise]).confident < 0.1


def test_blur_and_noise_reach_modes_only_by_chance(classifier: MeasuredClassifier) -> None:
    real = StackedDigits(seed=9, split="test").batch(0, 2600).x
    noisy = real + 1.2 * torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(real, 3, 1, 1, count_include_pad=False)
    for bad in (noisy, blurred):
        score = score_digits([bad.clamp(-1, 1)])
        assert score.modes > max(50, 3 * score.confident_modes)


def test_an_image_has_high_confidence_only_if_all_its_channels_have(classifier: MeasuredClassifier) -> None:
    images = StackedDigits(seed=9, split="test").batch(0, 500).x
    _, confidence = classifier.read(images)
    whole = images[(confidence > 0.95).all(dim=1)]
    score = score_digits([whole])
    assert score.confident == 1
    assert score.confident_modes == score.modes
    one_lost = whole.clone()
    one_lost[:, 1] = 0
    assert score_digits([one_lost]).confident_modes == 0


def test_real_points_score_as_a_perfect_model() -> None:
    data = Gaussians(seed=9)
    score = score_gaussians(data.batch(step, 2600).x for step in range(10))
    assert (score.modes, score.num_modes) == (25, 25)
    assert score.within == pytest.approx(1 - math.exp(-4.5), abs=0.003)
    assert score.kl < 0.002
    assert abs(score.within - score.within_real) < 0.003


def test_points_count_only_near_a_centre() -> None:
    near = centres()[:5] + torch.tensor([2.9 * SPREAD, 0])
    far = centres()[5:10] + torch.tensor([3.1 * SPREAD, 0])
    score = score_gaussians([near, far])
    assert (score.modes, score.within) == (5, 0.5)
    assert score.kl == pytest.approx(math.log(5))


def test_points_far_from_everything_have_infinite_divergence() -> None:
    score = score_gaussians([torch.full((4, 2), 50.0)])
    assert (score.modes, score.within, score.kl) == (0, 0.0, float("inf"))


def test_the_table_is_for_people() -> None:
    rows = dict(score_gaussians([Gaussians(seed=0).batch(0, 5000).x]).rows())
    assert rows["modes covered"] == "25 of 25"
    assert rows["samples (N)"] == "5,000"
    assert rows["samples within 3 sigma of a centre"].endswith("%")
    assert float(rows["KL from uniform"]) < 0.1


def test_the_floor_of_points_is_that_of_as_many_real_ones() -> None:
    """KL is of the points near a centre; a model with few of those is not measured by less for it."""
    near, far = Gaussians(seed=3).batch(0, 300).x, torch.full((700, 2), 9.0)
    alone, with_far = score_gaussians([near]), score_gaussians([near, far])
    assert with_far.kl == alone.kl
    assert alone.kl_floor == pytest.approx(24 / 600, rel=0.1)
    assert with_far.kl_floor == pytest.approx(24 / 2000, rel=0.1)
    assert with_far.within == pytest.approx(0.3 * alone.within)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_deviation_of_kl_is_that_of_repeated_draws(spread: float) -> None:
    """Of near-uniform shares, and of shares that differ by 30 %."""
    rng = torch.Generator().manual_seed(0)
    shares = 1 + spread * torch.randn(200, generator=rng, dtype=torch.float64).clamp(-2, 2)
    draws = [
        torch.bincount(torch.multinomial(shares, 5000, replacement=True, generator=rng), minlength=200)
        for _ in range(400)
    ]
    found = torch.tensor([kl_from_uniform(counts) for counts in draws], dtype=torch.float64)
    score = CoverageScore(5000, 200, 200, float(found.mean()), 0.0)
    assert score.deviation == pytest.approx(float(found.std()), rel=0.15)
