"""Losses and penalties, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ddgan.losses.adversarial import (
    ObjectiveConfig,
    PenaltyConfig,
    discriminator_loss,
    generator_loss,
    reconstruction_loss,
    squared_gradient,
)

logits = st.lists(st.floats(-30, 30), min_size=1, max_size=5)


def softplus(x: float) -> float:
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(real=logits, shift=st.floats(-5, 5))
def test_losses_per_sample(real: list[float], shift: float) -> None:
    fake = [value * 0.7 + shift for value in real]
    d_real, d_fake = tensor(real), tensor(fake)
    expected = {
        "nonsaturating": (
            [softplus(-r) + softplus(f) for r, f in zip(real, fake, strict=True)],
            [softplus(-f) for f in fake],
        ),
        "relativistic": (
            [softplus(f - r) for r, f in zip(real, fake, strict=True)],
            [softplus(r - f) for r, f in zip(real, fake, strict=True)],
        ),
    }
    for kind, (loss_d, loss_g) in expected.items():
        close = {"rtol": 1e-6, "atol": 1e-8}  # torch's softplus is linear above 20
        torch.testing.assert_close(discriminator_loss(kind, d_real, d_fake), tensor(loss_d), **close)
        torch.testing.assert_close(generator_loss(kind, d_real, d_fake), tensor(loss_g), **close)


def test_the_nonsaturating_generator_needs_no_real_logits() -> None:
    torch.testing.assert_close(
        generator_loss("nonsaturating", None, torch.zeros(2)), torch.full((2,), math.log(2))
    )


def test_losses_push_logits_apart() -> None:
    for kind in ("nonsaturating", "relativistic"):
        d_real, d_fake = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
        discriminator_loss(kind, d_real, d_fake).sum().backward()
        assert (d_real.grad < 0).all()
        assert (d_fake.grad > 0).all()
        d_fake.grad = None
        generator_loss(kind, d_real.detach(), d_fake).sum().backward()
        assert (d_fake.grad < 0).all()


def test_the_penalty_of_a_linear_discriminator() -> None:
    """D(x) = <w, x> has (gamma / 2) ||w||^2 and the gradient gamma w in w, for every sample."""
    w = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = PenaltyConfig(gamma=0.3).weight(0)
    penalty = weight * squared_gradient((x * w).sum(dim=(1, 2, 3)), x)
    torch.testing.assert_close(penalty, (0.15 * w.square().sum()).expand(4))
    penalty.mean().backward()
    torch.testing.assert_close(w.grad, 0.3 * w.detach())


def test_the_penalty_of_a_quadratic_discriminator_differs_per_sample() -> None:
    x = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    squared = squared_gradient(0.5 * x.square().sum(dim=1), x)
    torch.testing.assert_close(squared, x.square().sum(dim=1))


@pytest.mark.parametrize(("scaled", "factor"), [(False, 1), (True, 3)])
def test_a_lazy_penalty(scaled: bool, factor: int) -> None:
    penalty = PenaltyConfig(gamma=0.5, every=3, scaled=scaled)
    assert [penalty.weight(step) for step in range(7)] == [
        0.25 * factor if step in (0, 3, 6) else 0 for step in range(7)
    ]


def test_a_penalty_is_not_lazy_by_default() -> None:
    assert [PenaltyConfig(gamma=2.0).weight(step) for step in range(3)] == [1.0, 1.0, 1.0]


def test_the_reconstruction_is_a_mean_over_each_sample() -> None:
    predicted = torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), -1.0)])
    target = torch.zeros(2, 3, 2, 2)
    assert reconstruction_loss("l1", predicted, target).tolist() == [0.5, 1.0]
    assert reconstruction_loss("l2", predicted, target).tolist() == [0.25, 1.0]


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda: PenaltyConfig(gamma=0.0), "gamma is 0.0; it must be finite and above 0"),
        (lambda: PenaltyConfig(every=0), "every is 0; it must be at least 1"),
        (
            lambda: ObjectiveConfig(reconstruction_weight=0.0),
            "reconstruction_weight is 0.0; it must be above 0",
        ),
    ],
)
def test_wrong_settings_are_refused(make: object, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        make()
