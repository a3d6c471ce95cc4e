"""Kernel distance: the estimator by its definition, another library, and what must not change it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ddgan.metrics.kernel import kernel_score, squared_mmd


def normal(count: int, dimensions: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_sum_over_pairs() -> None:
    x, y = normal(7, 3).double(), normal(5, 3, seed=1).double()

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    xx = [k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    yy = [k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j]
    xy = [k(a, b) for a in x for b in y]
    expected = sum(xx) / len(xx) + sum(yy) / len(yy) - 2 * sum(xy) / len(xy)
    assert squared_mmd(x, y) == pytest.approx(expected, rel=1e-12)


def test_it_is_unbiased_and_sees_a_shift() -> None:
    same = [squared_mmd(normal(50, 4, seed), normal(50, 4, seed + 1000)) for seed in range(200)]
    values = torch.tensor(same)
    assert abs(float(values.mean())) < 4 * float(values.std()) / 200**0.5
    assert kernel_score("", normal(500, 4), normal(500, 4, seed=1) + 1).value > 1


class Flat(nn.Module):
    num_features = 12

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1).double() / 255


@pytest.mark.filterwarnings("ignore:Metric .Kernel Inception Distance. will save")
def test_torchmetrics_agrees() -> None:
    from torchmetrics.image.kid import KernelInceptionDistance

    rng = torch.Generator().manual_seed(0)
    real = torch.randint(0, 256, (200, 3, 2, 2), generator=rng, dtype=torch.uint8)
    fake = torch.randint(0, 200, (200, 3, 2, 2), generator=rng, dtype=torch.uint8)
    theirs = KernelInceptionDistance(feature=Flat(), subsets=1, subset_size=200)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    ours = kernel_score("", Flat()(real), Flat()(fake))
    assert (ours.num_subsets, ours.subset_size) == (1, 200)
    assert ours.value == pytest.approx(float(theirs.compute()[0]), rel=1e-5)


def test_subsets_depend_on_the_sets_and_not_on_their_order() -> None:
    real, samples = normal(400, 8), normal(300, 8, seed=1) + 0.2
    score = kernel_score("", real, samples, num_subsets=10, subset_size=100)
    again = kernel_score("", real.flip(0), samples.roll(17, dims=0), num_subsets=10, subset_size=100)
    assert score.value == pytest.approx(again.value, rel=1e-9)
    assert score.deviation > 0
    whole = squared_mmd(real, samples)
    assert score.value == pytest.approx(whole, abs=4 * score.deviation / 10**0.5)


def test_what_is_not_finite_is_refused() -> None:
    bad = normal(10, 3)
    bad[4, 1] = torch.nan
    with pytest.raises(ValueError, match="samples' features have NaN or infinite values in 1 of 10 rows"):
        kernel_score("", normal(10, 3), bad)
