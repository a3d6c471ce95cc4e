"""The densities of Fig 2, against their closed forms and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ddgan.paper.multimodal1d import (
    CENTRES,
    GIVEN,
    GRID,
    SHARES,
    WIDTH,
    Densities,
    count_modes,
    densities,
    distance_from_gaussian,
    marginal,
    normal,
    posterior,
)


@pytest.fixture(scope="module")
def found() -> Densities:
    return densities()


def test_all_densities_integrate_to_one(found: Densities) -> None:
    for density in (*found.marginals, *found.reverse):
        assert np.trapezoid(density, GRID) == pytest.approx(1, abs=2e-3)
        assert (density >= 0).all()


def test_the_marginals_are_mixtures_of_wider_gaussians(found: Densities) -> None:
    for power, density in zip(found.alpha_bar, found.marginals, strict=True):
        variance = power * WIDTH**2 + 1 - power
        parts = [
            s * normal(GRID, math.sqrt(power) * c, variance) for c, s in zip(CENTRES, SHARES, strict=True)
        ]
        np.testing.assert_allclose(density, np.sum(parts, axis=0), atol=1e-6)


def test_the_reverse_distributions_match_simulation(found: Densities) -> None:
    """Among many chains x_0 .. x_5, those with x_5 near X have the x_s of the density."""
    rng, count = np.random.default_rng(0), 2_000_000
    x = rng.choice(CENTRES, size=count, p=SHARES) + WIDTH * rng.standard_normal(count)
    states = [x]
    for power, before in zip(found.alpha_bar[1:], found.alpha_bar, strict=False):
        ratio = power / before
        x = math.sqrt(ratio) * x + math.sqrt(1 - ratio) * rng.standard_normal(count)
        states.append(x)
    near = np.abs(states[-1] - GIVEN) < 0.02
    assert near.sum() > 5000
    for s, density in zip(range(len(states) - 2, -1, -1), found.reverse, strict=True):
        cumulative = np.cumsum(density) * (GRID[1] - GRID[0])
        sample = np.sort(states[s][near])
        theirs = np.interp(sample, GRID, cumulative)
        ours = (np.arange(len(sample)) + 0.5) / len(sample)
        assert np.abs(ours - theirs).max() < 2.0 / math.sqrt(len(sample)), f"x_{s}"


def test_larger_steps_have_more_modes_and_are_less_gaussian(found: Densities) -> None:
    modes = [count_modes(density) for density in found.reverse]
    assert modes[0] == 1
    assert modes[-1] == len(CENTRES)
    assert modes == sorted(modes)
    distances = [distance_from_gaussian(density) for density in found.reverse]
    assert distances == sorted(distances)
    assert distances[0] < 0.03
    assert distances[-1] > 0.3


def test_bayes_rule_of_a_gaussian_is_known() -> None:
    """With q(x_s) = N(0, 1): q(x_s | x_t = X) = N(sqrt(r) X, 1 - r)."""
    density = posterior(normal(GRID, 0.0, 1.0), 0.7, 0.5)
    np.testing.assert_allclose(density, normal(GRID, math.sqrt(0.7) * 0.5, 0.3), atol=1e-6)
    np.testing.assert_allclose(marginal(normal(GRID, 0.0, 1.0), 0.4), normal(GRID, 0.0, 1.0), atol=1e-4)
    assert distance_from_gaussian(density) < 1e-6


def test_modes_are_counted() -> None:
    two = normal(GRID, -1.0, 0.1) + normal(GRID, 1.0, 0.1)
    assert count_modes(normal(GRID, 0.3, 1.0)) == 1
    assert count_modes(two) == 2
