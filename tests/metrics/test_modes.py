"""Mode coverage, on samples whose score is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy

from ddgan.data.digits import StackedDigits, split_digits
from ddgan.data.toy import SPREAD, Gaussians, centres
from ddgan.metrics.classifier import Judge
from ddgan.metrics.modes import as_table, kl_from_uniform, score_digits, score_gaussians


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=50).filter(any))
def test_kl_equals_scipys(counts: list[int]) -> None:
    expected = entropy(counts, np.ones(len(counts)))
    assert kl_from_uniform(torch.tensor(counts)) == pytest.approx(expected, abs=1e-9)


def test_kl_of_one_mode_and_of_all() -> None:
    assert kl_from_uniform(torch.tensor([0, 7, 0, 0])) == pytest.approx(math.log(4))
    assert kl_from_uniform(torch.tensor([3, 3, 3, 3])) == pytest.approx(0)


def test_real_digits_score_as_a_perfect_model(judge: Judge) -> None:
    data = StackedDigits(seed=9, split="test")
    score = score_digits(data.batch(step, 2600).images for step in range(10))
    assert score.num_samples == 26_000
    assert score.modes == 1000
    assert score.kl < 0.05
    # 999 / (2 N) from chance, and a little from classes of 141 to 147 training digits
    assert score.kl_floor == pytest.approx(999 / 52_000, abs=0.003)
    assert score.confident == pytest.approx(judge.confident_real, abs=0.01)


def test_digits_are_read_in_the_order_red_green_blue(judge: Judge) -> None:
    images, labels = split_digits("train")
    for number in (7, 305, 999):
        channels = [images[labels == int(digit)][:40] for digit in f"{number:03d}"]
        batch = torch.from_numpy(np.stack(channels, axis=1)).float() / 127.5 - 1
        digits, _ = judge.read(batch)
        read = digits @ torch.tensor([100, 10, 1])
        assert (read == number).double().mean() > 0.95


def test_collapse_is_seen(judge: Judge) -> None:
    one = StackedDigits(seed=0).batch(0, 1).images.repeat(500, 1, 1, 1)
    score = score_digits([one[:200], one[200:]])
    assert (score.modes, score.num_modes) == (1, 1000)
    assert score.kl == pytest.approx(math.log(1000))


def test_noise_is_not_read_with_confidence(judge: Judge) -> None:
    noise = torch.randn(500, 3, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert score_digits([noise]).confident < 0.1


def test_real_points_score_as_a_perfect_model() -> None:
    data = Gaussians(seed=9)
    score = score_gaussians(data.batch(step, 2600).images for step in range(10))
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
    rows = dict(as_table(score_gaussians([Gaussians(seed=0).batch(0, 5000).images])))
    assert rows["modes covered"] == "25 of 25"
    assert rows["samples (N)"] == "5,000"
    assert rows["samples within 3 sigma of a centre"].endswith("%")
    assert float(rows["KL from uniform"]) < 0.1
