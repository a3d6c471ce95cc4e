"""Precision, recall, density and coverage: known sets, another library, and the tiles."""

from __future__ import annotations

import contextlib
import io

import pytest
import torch
from torch import Tensor

from ddgan.metrics import neighbours
from ddgan.metrics.precision_recall import neighbour_scores


def normal(count: int, dimensions: int, seed: int = 0) -> Tensor:
    return torch.randn(count, dimensions, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dimensions", [4, 64, 600])
def test_prdc_agrees(dimensions: int) -> None:
    from prdc import compute_prdc

    real, fake = normal(300, dimensions), 0.8 * normal(250, dimensions, seed=1) + 0.1
    with contextlib.redirect_stdout(io.StringIO()):
        three = compute_prdc(real.numpy(), fake.numpy(), nearest_k=3)
        five = compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    manifold, density = neighbour_scores(real, fake)
    assert manifold.precision == pytest.approx(three["precision"], abs=1e-5)
    assert manifold.recall == pytest.approx(three["recall"], abs=1e-5)
    assert density.density == pytest.approx(five["density"], abs=1e-5)
    assert density.coverage == pytest.approx(five["coverage"], abs=1e-5)
    assert (manifold.k, density.k, manifold.num_real) == (3, 5, 300)


@pytest.mark.parametrize("dimensions", [8, 2048])
def test_identical_sets_score_1(dimensions: int) -> None:
    features = normal(120, dimensions) + 3
    manifold, density = neighbour_scores(features, features.flip(0))
    assert (manifold.precision, manifold.recall, density.coverage) == (1, 1, 1)
    assert manifold.precision_interval == manifold.recall_interval == (1, 1)


@pytest.mark.parametrize("dimensions", [8, 2048])
def test_identical_sets_of_repeated_images_score_1(dimensions: int) -> None:
    features = normal(20, dimensions).repeat(7, 1)  # every ball has radius 0
    manifold, density = neighbour_scores(features, features[:100])
    assert (manifold.precision, manifold.recall, density.coverage) == (1, 1, 1)


def test_a_collapsed_set_has_high_precision_and_low_recall() -> None:
    real = normal(500, 6)
    manifold, density = neighbour_scores(real, real[:1] + 0.01 * normal(500, 6, seed=1))
    assert manifold.precision > 0.95
    assert manifold.recall < 0.02
    assert density.coverage < 0.1


def test_samples_far_away_score_0() -> None:
    manifold, density = neighbour_scores(normal(100, 4), normal(100, 4, seed=1) + 50)
    assert (manifold.precision, manifold.recall, density.density, density.coverage) == (0, 0, 0, 0)


def test_tiles_and_order_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, samples = normal(230, 5), normal(170, 5, seed=1) * 1.1
    whole = neighbour_scores(real, samples)
    monkeypatch.setattr(neighbours, "TILE", 64)
    assert neighbour_scores(real, samples) == whole
    assert neighbour_scores(real.flip(0), samples.roll(9, dims=0)) == whole


def test_recall_has_the_interval_of_its_share() -> None:
    manifold, _ = neighbour_scores(normal(400, 3), 0.7 * normal(400, 3, seed=1))
    low, high = manifold.recall_interval
    deviation = (manifold.recall * (1 - manifold.recall) / 400) ** 0.5
    assert low < manifold.recall < high
    assert high - low == pytest.approx(2 * 1.96 * deviation, rel=0.15)


def test_nearest_neighbours_are_found_across_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "TILE", 32)
    a, b = normal(50, 4), normal(100, 4, seed=1)
    centre = neighbours.centre_of(b)
    distances, which = neighbours.nearest(neighbours.centred(a, centre), neighbours.centred(b, centre), 3)
    expected = torch.cdist(a.double(), b.double()).topk(3, largest=False)
    torch.testing.assert_close(distances.sqrt(), expected.values)
    assert torch.equal(which, expected.indices)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="3 samples have no 5 neighbours each; use at least 6"):
        neighbour_scores(normal(3, 4), normal(10, 4))
    with pytest.raises(ValueError, match="real features have 3 dimensions, samples' have 4"):
        neighbour_scores(normal(10, 3), normal(10, 4))
