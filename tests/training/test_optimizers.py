"""Optimizers, the decay of their rates, and updates that are left out."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import pytest
import torch
from torch import nn

from ddgan.config.components import find
from ddgan.config.optimization import EMAConfig
from ddgan.training.optimizers import AdamConfig, AdamWConfig, SGDConfig, decayed, guarded_update


def test_the_rate_ends_where_it_should_and_is_constant_within_a_period() -> None:
    rates = [decayed(1e-3, 1e-5, 10, step, 100) for step in range(101)]
    assert rates[:10] == [1e-3] * 10
    assert rates[50] == pytest.approx((1e-3 + 1e-5) / 2)
    assert rates[100] == pytest.approx(1e-5)
    assert decayed(1e-3, 1e-5, 10, 500, 100) == pytest.approx(1e-5)  # never back up
    assert all(a >= b for a, b in pairwise(rates))


def test_it_is_torchs_cosine() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.Adam([parameter], lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20, eta_min=1e-5)
    for step in range(20):
        expected = optimizer.param_groups[0]["lr"]
        assert decayed(1e-3, 1e-5, 1, step, 20) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        schedule.step()


def test_half_lives_are_in_thousands_of_images() -> None:
    config = EMAConfig(decay=0.99, half_lives=(1.0, 10.0))
    first, one, ten = config.decays(batch_size=50, step=1000)
    assert first == 0.99
    assert one**20 == pytest.approx(0.5)  # 20 iterations of 50 images
    assert ten**200 == pytest.approx(0.5)
    assert config.decays(50, 0) == (0.0, 0.0, 0.0)


def test_the_rampup_limits_the_half_life() -> None:
    config = EMAConfig(decay=0.9999, rampup=0.05)
    half_lives = [math.log(0.5) / math.log(config.decays(1, step)[0]) for step in (20, 200, 10**9)]
    assert half_lives == pytest.approx([1, 10, math.log(0.5) / math.log(0.9999)])


def trained_by(optimizer: torch.optim.Optimizer, parameter: nn.Parameter, steps: int = 5) -> torch.Tensor:
    for step in range(steps):
        parameter.grad = torch.tensor([1.0, -2.0, 0.5]) * (step + 1)
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        (AdamConfig(lr=0.1), lambda p: torch.optim.Adam(p, 0.1, (0.5, 0.9))),
        (
            AdamWConfig(lr=0.1, weight_decay=0.2),
            lambda p: torch.optim.AdamW(p, 0.1, (0.5, 0.9), weight_decay=0.2),
        ),
        (SGDConfig(lr=0.1, momentum=0.8), lambda p: torch.optim.SGD(p, 0.1, 0.8, nesterov=True)),
        (SGDConfig(lr=0.1, momentum=0.0), lambda p: torch.optim.SGD(p, 0.1)),
    ],
    ids=["adam", "adamw", "sgd", "sgd without momentum"],
)
def test_each_kind_is_torchs_own(config: AdamConfig, plain: type[torch.optim.Optimizer]) -> None:
    ours, theirs = (nn.Parameter(torch.ones(3)) for _ in range(2))
    assert find("optimizer", config.kind) is type(config)
    expected = trained_by(plain([theirs]), theirs)  # type: ignore[arg-type]
    torch.testing.assert_close(trained_by(config.build([ours]), ours), expected)


class OwnOptimizer(torch.optim.Optimizer):
    """One that knows nothing of a verdict on the device."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= group["lr"] * parameter.grad


def test_an_optimizer_that_does_not_decide_on_the_device_is_guarded_too() -> None:
    parameter = nn.Parameter(torch.ones(2))
    optimizer = OwnOptimizer([parameter])
    parameter.grad = torch.tensor([1.0, math.nan])
    assert float(guarded_update(optimizer, 0.5)) == 1
    assert torch.equal(parameter.detach(), torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    assert float(guarded_update(optimizer, 0.5)) == 0
    torch.testing.assert_close(parameter.detach(), torch.tensor([0.5, 0.0]))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(bad: float) -> None:
    torch.manual_seed(0)
    network, twin = nn.Linear(3, 2), nn.Linear(3, 2)
    twin.load_state_dict(network.state_dict())
    optimizer, other = (AdamConfig(lr=0.1).build(model.parameters()) for model in (network, twin))

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
