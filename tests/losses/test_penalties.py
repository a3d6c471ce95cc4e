"""Gradient penalties, against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ddgan.losses.penalties import CentringConfig, R1Config, R2Config, squared_difference, squared_gradient

BOTH = pytest.mark.parametrize("kind", [R1Config, R2Config])


@BOTH
def test_the_penalty_of_a_linear_discriminator(kind: Any) -> None:
    """D(x) = <w, x> has (gamma / 2) ||w||^2 and the gradient gamma w in w, for every sample."""
    w = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    config = kind(gamma=0.3)
    penalty = config.gamma * config.scale(0) * config.penalty((x * w).sum(dim=(1, 2, 3)), x)
    torch.testing.assert_close(penalty, (0.15 * w.square().sum()).expand(4))
    penalty.mean().backward()
    torch.testing.assert_close(w.grad, 0.3 * w.detach())


def test_the_penalty_of_a_quadratic_discriminator_differs_per_sample() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    squared = squared_gradient(0.5 * x.square().sum(dim=1), x)
    torch.testing.assert_close(squared, x.square().sum(dim=1))


@BOTH
@pytest.mark.parametrize(("scaled", "factor"), [(False, 1), (True, 3)])
def test_a_lazy_penalty(kind: Any, scaled: bool, factor: int) -> None:
    penalty = kind(gamma=0.5, every=3, scaled=scaled)
    assert [penalty.scale(step) for step in range(7)] == [
        0.5 * factor if step in (0, 3, 6) else 0 for step in range(7)
    ]


@BOTH
def test_a_penalty_is_not_lazy_by_default(kind: Any) -> None:
    assert [kind(gamma=2.0).scale(step) for step in range(3)] == [0.5, 0.5, 0.5]


def test_r1_looks_at_real_and_r2_at_fake_samples() -> None:
    assert (R1Config().on, R2Config().on) == ("real", "fake")


@BOTH
@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"gamma": 0.0}, "gamma is 0.0; it must be above 0"),
        ({"gamma": float("nan")}, "gamma is nan; it must be finite"),
        ({"every": 0}, "every is 0; it must be at least 1"),
        ({"every": 1.5}, "every is 1.5; it must be a whole number"),
    ],
)
def test_wrong_settings_are_refused(kind: Callable[..., Any], values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=f"^{rule}$"):
        kind(**values)


def test_differences_estimate_the_squared_gradient() -> None:
    """For a linear D the estimate is exactly <w, n>^2, whose mean over n is ||w||^2."""
    w, x = torch.randn(6, dtype=torch.float64), torch.randn(20_000, 6, dtype=torch.float64)
    n = torch.randn(20_000, 6, dtype=torch.float64)
    estimate = squared_difference(x @ w, (x + 0.01 * n) @ w, 0.01)
    torch.testing.assert_close(estimate, (n @ w).square(), rtol=1e-6, atol=1e-9)
    assert float(estimate.mean()) == pytest.approx(float(w.square().sum()), rel=0.05)


def test_differences_of_a_quadratic_discriminator_err_by_epsilon_squared() -> None:
    x, n = torch.randn(2, 7, 3, dtype=torch.float64)
    for epsilon in (1e-2, 1e-3):
        moved = 0.5 * (x + epsilon * n).square().sum(dim=1)
        estimate = squared_difference(0.5 * x.square().sum(dim=1), moved, epsilon)
        exact = ((x * n).sum(dim=1) + epsilon / 2 * n.square().sum(dim=1)).square()
        torch.testing.assert_close(estimate, exact, rtol=1e-7, atol=1e-9)


def test_centring_is_the_squared_mean_logit() -> None:
    real, fake = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 2.0])
    config = CentringConfig(gamma=0.5, every=2)
    assert config.penalty(real, fake).tolist() == [4.0, 0.0]
    assert [config.scale(step) for step in range(4)] == [1.0, 0.0, 1.0, 0.0]


def test_a_share_needs_differences() -> None:
    with pytest.raises(ValueError, match=r"share is 0.5, but epsilon is 0"):
        R1Config(share=0.5)
    assert R1Config(share=0.5, epsilon=0.01).share == 0.5
