"""Learning rates, decays of the averages, and updates that are left out."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from ddgan.training.optimizers import OptimizationConfig, adam, decayed, guarded_update

CONFIG = OptimizationConfig(generator_lr=1e-3, final_lr=1e-5, decay_every=10)


def test_the_rate_ends_where_it_should_and_is_constant_within_a_period() -> None:
    rates = [decayed(1e-3, CONFIG, step, 100) for step in range(101)]
    assert rates[:10] == [1e-3] * 10
    assert rates[50] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[100] == pytest.approx(1e-5)
    assert decayed(1e-3, CONFIG, 500, 100) == pytest.approx(1e-5)  # never back up
    assert all(a >= b for a, b in pairwise(rates))


def test_it_is_torchs_cosine() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=1e-5)
    config = OptimizationConfig(final_lr=1e-5)
    for step in range(20):
        assert decayed(1e-3, config, step, 20) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        schedule.step()


def test_half_lives_are_in_thousands_of_images() -> None:
    config = OptimizationConfig(ema_decay=0.99, ema_half_lives=(1.0, 10.0))
    first, one, ten = config.ema_decays(batch_size=50, step=1000)
    assert first == 0.99
    assert one**20 == pytest.approx(0.5)  # 20 iterations of 50 images
    assert ten**200 == pytest.approx(0.5)
    assert config.ema_decays(50, 0) == (0.0, 0.0, 0.0)


def test_the_rampup_limits_the_half_life() -> None:
    config = OptimizationConfig(ema_decay=0.9999, ema_rampup=0.05)
    half_lives = [math.log(0.5) / math.log(config.ema_decays(1, step)[0]) for step in (20, 200, 10**9)]
    assert half_lives == pytest.approx([1, 10, math.log(0.5) / math.log(0.9999)])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad: float) -> None:
    torch.manual_seed(0)
    network, twin = nn.Linear(3, 2), nn.Linear(3, 2)
    twin.load_state_dict(network.state_dict())
    optimizer, other = adam(network, 0.1, (0.5, 0.9)), adam(twin, 0.1, (0.5, 0.9))

    def give(model: nn.Module, value: float) -> None:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, value)

    for value in (1.0, bad, 2.0):  # the twin never sees the bad one
        give(network, 0.5)
        next(network.parameters()).grad[0, 0] = value  # type: ignore[index]
        skipped = guarded_update(optimizer, 0.1)
        assert float(skipped) == (not math.isfinite(value))
        if math.isfinite(value):
            give(twin, 0.5)
            next(twin.parameters()).grad[0, 0] = value  # type: ignore[index]
            guarded_update(other, 0.1)
    for ours, theirs in zip(network.parameters(), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        assert float(optimizer.state[ours]["step"]) == 2
        assert torch.equal(optimizer.state[ours]["exp_avg"], other.state[theirs]["exp_avg"])
