"""Adversarial losses, against closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddgan.config.components import find, kinds
from ddgan.losses.adversarial import NonSaturatingLoss, RelativisticLoss

logits = st.lists(st.floats(-30, 30), min_size=1, max_size=5)


def softplus(x: float) -> float:
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


def tensor(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


@settings(deadline=None)  # the first call is slow
@given(real=logits, shift=st.floats(-5, 5))
def test_losses_per_sample(real: list[float], shift: float) -> None:
    fake = [value * 0.7 + shift for value in real]
    d_real, d_fake = tensor(real), tensor(fake)
    expected: dict[Any, tuple[list[float], list[float]]] = {
        NonSaturatingLoss(): (
            [softplus(-r) + softplus(f) for r, f in zip(real, fake, strict=True)],
            [softplus(-f) for f in fake],
        ),
        RelativisticLoss(): (
            [softplus(f - r) for r, f in zip(real, fake, strict=True)],
            [softplus(r - f) for r, f in zip(real, fake, strict=True)],
        ),
    }
    for loss, (loss_d, loss_g) in expected.items():
        close = {"rtol": 1e-6, "atol": 1e-8}  # torch's softplus is linear above 20
        torch.testing.assert_close(loss.discriminator(d_real, d_fake), tensor(loss_d), **close)
        torch.testing.assert_close(loss.generator(d_real, d_fake), tensor(loss_g), **close)


def test_the_nonsaturating_generator_needs_no_real_logits() -> None:
    assert not NonSaturatingLoss().needs_real
    assert RelativisticLoss().needs_real
    torch.testing.assert_close(
        NonSaturatingLoss().generator(None, torch.zeros(2)), torch.full((2,), math.log(2))
    )


@pytest.mark.parametrize("kind", ["nonsaturating", "relativistic"])
def test_losses_push_logits_apart(kind: str) -> None:
    loss: Any = find("adversarial", kind)()
    d_real, d_fake = torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True)
    loss.discriminator(d_real, d_fake).sum().backward()
    assert (d_real.grad < 0).all()
    assert (d_fake.grad > 0).all()
    d_fake.grad = None
    loss.generator(d_real.detach(), d_fake).sum().backward()
    assert (d_fake.grad < 0).all()


def test_both_can_be_chosen_by_kind() -> None:
    assert find("adversarial", "nonsaturating") is NonSaturatingLoss
    assert find("adversarial", "relativistic") is RelativisticLoss
    assert {"nonsaturating", "relativistic"} <= set(kinds("adversarial"))
