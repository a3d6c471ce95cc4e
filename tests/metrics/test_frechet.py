"""Fréchet distance: closed forms, another library, and what must not change it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor, nn

from ddgan.metrics.frechet import frechet_distance, frechet_score
from ddgan.metrics.moments import Statistics, statistics_of


def normal(count: int, dimensions: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def exactly(mean: Tensor, covariance: Tensor, count: int = 400, seed: int = 0) -> Tensor:
    """Features whose mean and covariance are these, to float64."""
    x = normal(count, len(mean), seed).double()
    x = x - x.mean(dim=0)
    white = torch.linalg.cholesky(x.T @ x / (count - 1)).inverse()
    return x @ white.T @ torch.linalg.cholesky(covariance).T + mean


def spd(dimensions: int, seed: int) -> Tensor:
    x = normal(2 * dimensions, dimensions, seed).double()
    return x.T @ x / dimensions


def test_gaussians_whose_statistics_are_exact() -> None:
    sigma = torch.tensor([1.0, 4.0, 0.25]).double()
    first = exactly(torch.tensor([1.0, 2.0, 3.0]).double(), sigma.diag())
    second = exactly(torch.tensor([1.0, 0.0, 3.5]).double(), (4 * sigma).diag(), seed=1)
    expected = 4 + 0.25 + float(sigma.sum())  # |mean|^2 + sum (2 s - s)^2
    assert frechet_distance(statistics_of(first), statistics_of(second)) == pytest.approx(expected, rel=1e-9)


def test_covariances_that_do_not_commute() -> None:
    a, b = spd(12, 0), spd(12, 1)
    zero = torch.zeros(12).double()
    root = linalg.sqrtm((a @ b).numpy()).real
    expected = float(a.trace() + b.trace()) - 2 * np.trace(root)
    found = frechet_distance(Statistics(zero, a, 100), Statistics(zero, b, 100))
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("count", [30, 500])
def test_identical_sets_have_distance_0(count: int) -> None:
    statistics = statistics_of(normal(count, 64) * torch.logspace(0, -4, 64) + 50)
    assert frechet_distance(statistics, statistics) == pytest.approx(0, abs=1e-9)


def test_singular_covariances_lose_no_digits() -> None:
    first, second = normal(20, 64).double(), normal(25, 64, seed=1).double()
    a, b = statistics_of(first), statistics_of(second)
    x, y = ((z - z.mean(dim=0)) / (len(z) - 1) ** 0.5 for z in (first, second))
    expected = (a.mean - b.mean).square().sum() + a.covariance.trace() + b.covariance.trace()
    expected = expected - 2 * torch.linalg.svdvals(x @ y.T).sum()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-9)


class Flat(nn.Module):
    """What torchmetrics takes as an extractor: here the pixels."""

    num_features = 12

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).double()


def test_torchmetrics_agrees() -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    rng = torch.Generator().manual_seed(0)
    real = torch.randint(0, 256, (300, 3, 2, 2), generator=rng, dtype=torch.uint8)
    fake = torch.randint(0, 200, (300, 3, 2, 2), generator=rng, dtype=torch.uint8)
    theirs = FrechetInceptionDistance(feature=Flat(), input_img_size=(3, 2, 2)).set_dtype(torch.float64)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    ours = frechet_distance(statistics_of(real.flatten(1)), statistics_of(fake.flatten(1)))
    assert ours == pytest.approx(float(theirs.compute()), rel=1e-5)


def test_the_interval_is_as_wide_as_repeated_sampling_says() -> None:
    shape = torch.linspace(0.5, 2, 6)
    real = Statistics(torch.zeros(6).double(), torch.eye(6).double(), None)
    drawn = [normal(2000, 6, seed) * shape + 0.3 for seed in range(60)]
    scores = torch.tensor([frechet_distance(real, statistics_of(x)) for x in drawn])
    found = [frechet_score("", x, statistics_of(x), real).interval for x in drawn[:6]]
    widths = torch.tensor([high - low for low, high in found])
    assert float(widths.mean()) == pytest.approx(float(2 * 1.96 * scores.std()), rel=0.3)


def test_the_interval_is_reproducible_and_holds_the_score() -> None:
    features = normal(500, 8) + 0.1
    real = statistics_of(normal(500, 8, seed=1))
    score = frechet_score("x", features, statistics_of(features), real)
    again = frechet_score("x", features.flip(0), statistics_of(features.flip(0)), real)
    assert score.interval is not None
    assert score.interval[0] < score.value < score.interval[1]
    assert score.interval == pytest.approx(again.interval)


def test_too_few_samples_have_a_rank_and_no_interval() -> None:
    features = normal(20, 64)
    score = frechet_score("x", features, statistics_of(features), statistics_of(normal(200, 64, seed=1)))
    assert (score.rank, score.num_features, score.interval) == (19, 64, None)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="8 dimensions, but the reference statistics have 4"):
        frechet_distance(statistics_of(normal(10, 4)), statistics_of(normal(10, 8)))
