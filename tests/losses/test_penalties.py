"""Gradient penalties, against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ddgan.losses.penalties import R1Config, R2Config, squared_gradient

BOTH = pytest.mark.parametrize("kind", [R1Config, R2Config])


@BOTH
def test_the_penalty_of_a_linear_discriminator(kind: Any) -> None:
    """D(x) = <w, x> has (gamma / 2) ||w||^2 and the gradient gamma w in w, for every sample."""
    w = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    config = kind(gamma=0.3)
    penalty = config.weight(0) * config.penalty((x * w).sum(dim=(1, 2, 3)), x)
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
    assert [penalty.weight(step) for step in range(7)] == [
        0.25 * factor if step in (0, 3, 6) else 0 for step in range(7)
    ]


@BOTH
def test_a_penalty_is_not_lazy_by_default(kind: Any) -> None:
    assert [kind(gamma=2.0).weight(step) for step in range(3)] == [1.0, 1.0, 1.0]


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
