"""The 25 Gaussians."""

from __future__ import annotations

import torch

from ddgan.data.toy import SPREAD, Gaussians, GaussiansConfig, centres
from ddgan.networks.conditions import ConditionShapes


def test_centres_are_a_grid_of_5_by_5() -> None:
    grid = centres()
    assert grid.shape == (25, 2)
    assert len({tuple(point) for point in grid.tolist()}) == 25
    torch.testing.assert_close(grid.unique(dim=0)[0], torch.full((2,), -4 / 2.828))
    distances = torch.cdist(grid, grid) + 9 * torch.eye(25)
    torch.testing.assert_close(distances.min(dim=1).values, torch.full((25,), 2 / 2.828))


def test_points_are_spread_evenly_and_normally() -> None:
    points = Gaussians(seed=0).batch(0, 100_000).x
    distance, nearest = torch.cdist(points, centres()).min(dim=1)
    counts = torch.bincount(nearest, minlength=25)
    assert ((counts - 4000).abs() < 5 * 62).all()
    offsets = (points - centres()[nearest]) / SPREAD
    torch.testing.assert_close(offsets.std(dim=0), torch.ones(2), atol=0.01, rtol=0)
    torch.testing.assert_close(offsets.mean(dim=0), torch.zeros(2), atol=0.02, rtol=0)
    within = (distance <= 3 * SPREAD).double().mean()  # 1 - exp(-9 / 2) in the plane
    assert abs(within - 0.98889) < 0.0015


def test_the_centre_is_a_standardised_vector_and_changes_no_point() -> None:
    plain, conditioned = GaussiansConfig().open(3), GaussiansConfig(condition="centre").open(3)
    assert conditioned.conditions == ConditionShapes(vector_features=2)
    batch = conditioned.batch(1, 50_000)
    assert torch.equal(batch.x, plain.batch(1, 50_000).x)
    assert plain.batch(1, 4).condition is None
    assert batch.condition is not None
    vector = batch.condition.vector
    assert torch.equal(vector[:, 2], torch.ones(50_000))
    nearest = torch.cdist(batch.x, centres()).argmin(dim=1)
    assert float((vector[:, :2] - centres()[nearest]).norm(dim=1).median()) == 0
    torch.testing.assert_close(vector[:, :2].std(dim=0), torch.ones(2), atol=0.02, rtol=0)
    torch.testing.assert_close(vector[:, :2].mean(dim=0), torch.zeros(2), atol=0.02, rtol=0)


def test_batches_depend_on_seed_and_step_alone() -> None:
    data = Gaussians(seed=1)
    expected = data.batch(2, 9).x
    assert torch.equal(expected, Gaussians(seed=1).batch(2, 9).x)
    assert not torch.equal(expected, data.batch(3, 9).x)
    assert not torch.equal(expected, Gaussians(seed=2).batch(2, 9).x)
