"""One training iteration: what it changes, what it leaves alone, and what it depends on."""

from __future__ import annotations

import copy
import dataclasses
import math
import re

import pytest
import torch
from torch import Tensor, nn

from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.data.digits import StackedDigits
from ddgan.training.iteration import iterate, update_ema
from ddgan.training.noise import StepNoise, draw_noise
from ddgan.training.state import TrainState
from steps import flat, made, one_update

IMAGES = StackedDigits(seed=0).batch(0, 6).x
BATCH = Batch(IMAGES)
BOTH = [{"kind": "r1", "gamma": 0.05}, {"kind": "r2", "gamma": 0.05}]
OBJECTIVES: dict[str, dict[str, object]] = {
    "paper": {"method.penalties": [{"kind": "r1", "gamma": 0.02, "every": 15}]},
    "relativistic": {"method.adversarial.kind": "relativistic", "method.penalties": BOTH},
    "reconstruction": {
        "method.penalties": [],
        "method.reconstruction": {"kind": "l1", "weight": 0.5, "by_signal": True},
    },
    "marginal D beside": {
        "method.discriminators.marginal": {"kind": "mlp", "hidden_features": 16, "time_features": 8}
    },
}


@pytest.fixture(params=OBJECTIVES)
def state(request: pytest.FixtureRequest, tiny_config: RunConfig) -> TrainState:
    return made(tiny_config.changed(OBJECTIVES[request.param]))


def noise(state: TrainState, step: int = 0, seed: int = 0) -> StepNoise:
    return draw_noise(seed, step, IMAGES, state.diffusion.num_steps, 4)


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_discriminators_update_leaves_the_generator_alone(state: TrainState) -> None:
    before_g, before_d = weights(state.generator), weights(state.discriminators)
    one_update(state, "discriminator", IMAGES, noise(state))
    assert same(weights(state.generator), before_g)
    assert all(parameter.grad is None for parameter in state.generator.parameters())
    assert not same(weights(state.discriminators), before_d)
    assert not state.optimizers["generator"].state


def test_the_generators_update_leaves_the_discriminator_alone(state: TrainState) -> None:
    before_g, before_d = weights(state.generator), weights(state.discriminators)
    one_update(state, "generator", IMAGES, noise(state))
    assert same(weights(state.discriminators), before_d)
    assert all(parameter.grad is None for parameter in state.discriminators.parameters())
    assert all(parameter.requires_grad for parameter in state.discriminators.parameters())
    assert not same(weights(state.generator), before_g)
    assert not state.optimizers["discriminator"].state


def test_an_iteration_is_a_function_of_state_batch_and_noise(state: TrainState) -> None:
    twin = copy.deepcopy(state)
    torch.manual_seed(1)
    first = flat(iterate(state, BATCH, noise(state)))
    torch.manual_seed(2)
    second = flat(iterate(twin, Batch(IMAGES.clone()), noise(twin)))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert same(weights(state.generator), weights(twin.generator))
    assert same(weights(state.discriminators), weights(twin.discriminators))
    assert not any(value.requires_grad for value in first.values())


@pytest.mark.parametrize("changed", ["batch", "noise seed", "noise step"])
def test_another_batch_or_noise_gives_other_weights(state: TrainState, changed: str) -> None:
    twin = copy.deepcopy(state)
    iterate(state, BATCH, noise(state))
    other = Batch(StackedDigits(seed=1).batch(0, 6).x) if changed == "batch" else BATCH
    iterate(twin, other, noise(twin, step=changed == "noise step", seed=changed == "noise seed"))
    assert not same(weights(state.generator), weights(twin.generator))
    assert not same(weights(state.discriminators), weights(twin.discriminators))


def test_noise_depends_on_seed_and_step_alone_and_both_updates_differ() -> None:
    first, again = draw_noise(3, 7, IMAGES, 4, 5), draw_noise(3, 7, IMAGES * 0, 4, 5)
    for half in ("discriminator", "generator"):
        for field in dataclasses.fields(getattr(first, half)):
            values = getattr(getattr(first, half), field.name)
            assert torch.equal(values, getattr(getattr(again, half), field.name))
    assert not torch.equal(first.discriminator.z, first.generator.z)
    assert not torch.equal(first.generator.noise_prev, first.generator.noise_step)
    for seed, step in [(4, 7), (3, 8)]:
        assert not torch.equal(first.generator.z, draw_noise(seed, step, IMAGES, 4, 5).generator.z)


def test_t_is_uniform_in_1_to_T() -> None:  # noqa: N802
    t = draw_noise(0, 0, torch.zeros(40_000, 1), 4, 0).generator.t
    counts = torch.bincount(t, minlength=5)
    assert counts[0] == 0
    assert ((counts[1:] - 10_000).abs() < 5 * math.sqrt(40_000 * 3 / 16)).all()


def test_the_penalty_and_the_losses_are_those_of_the_formulas(tiny_config: RunConfig) -> None:
    """Recomputed by hand from the paper's formulas and the same noise."""
    state = made(
        tiny_config.changed(
            {
                "method.penalties": [{"kind": "r1", "gamma": 0.3}],
                "method.reconstruction": {"kind": "l2", "weight": 0.7, "by_signal": True},
            }
        )
    )
    half, discriminator = noise(state).discriminator, state.discriminators["pair"]
    x_prev, x_t = state.diffusion.pair(IMAGES, half.t, half.noise_prev, half.noise_step)
    with torch.no_grad():
        fake = state.diffusion.sample_posterior(
            state.generator(x_t, half.t, half.z), x_t, half.t, half.noise_posterior
        )
    x_prev.requires_grad_()
    d_real, d_fake = discriminator(x_prev, x_t, half.t), discriminator(fake, x_t, half.t)
    gradient = torch.autograd.grad(d_real.sum(), x_prev)[0]
    got, _ = one_update(state, "discriminator", IMAGES, noise(state))
    torch.testing.assert_close(got["d_real"], d_real.detach())
    torch.testing.assert_close(got["d_fake"], d_fake.detach())
    torch.testing.assert_close(got["r1"], 0.3 / 2 * gradient.square().sum(dim=(1, 2, 3)))
    expected = -torch.log(torch.sigmoid(d_real)) - torch.log(1 - torch.sigmoid(d_fake))
    torch.testing.assert_close(got["loss_d"], expected.detach())

    half = noise(state).generator
    x_prev, x_t = state.diffusion.pair(IMAGES, half.t, half.noise_prev, half.noise_step)
    prediction = state.generator(x_t, half.t, half.z)
    fake = state.diffusion.sample_posterior(prediction, x_t, half.t, half.noise_posterior)
    adversarial = -torch.log(torch.sigmoid(discriminator(fake, x_t, half.t)))
    error = (prediction - IMAGES).square().mean(dim=(1, 2, 3))
    total = (adversarial + 0.7 * state.diffusion.alpha_bar[half.t] * error).mean()
    names = [name for name, _ in state.generator.named_parameters()]
    gradients = torch.autograd.grad(total, list(state.generator.parameters()))
    got, taken = one_update(state, "generator", IMAGES, noise(state))
    torch.testing.assert_close(got["reconstruction"], error.detach())
    torch.testing.assert_close(got["loss_g"], adversarial.detach())
    assert taken.keys() == set(names)
    for name, gradient in zip(names, gradients, strict=True):
        torch.testing.assert_close(taken[name], gradient, rtol=1e-4, atol=1e-7)


def test_a_marginal_discriminator_does_not_see_x_t_and_its_loss_is_added(tiny_config: RunConfig) -> None:
    marginal = {"kind": "mlp", "hidden_features": 16, "time_features": 8}
    state = made(tiny_config.changed({"method.discriminators.marginal": marginal, "method.penalties": []}))
    half = noise(state).generator
    _, x_t = state.diffusion.pair(IMAGES, half.t, half.noise_prev, half.noise_step)
    prediction = state.generator(x_t, half.t, half.z)
    fake = state.diffusion.sample_posterior(prediction, x_t, half.t, half.noise_posterior)
    of_pair = state.discriminators["pair"](fake, x_t, half.t)
    of_marginal = state.discriminators["marginal"](fake, torch.zeros_like(x_t), half.t)
    total = (nn.functional.softplus(-of_pair) + nn.functional.softplus(-of_marginal)).mean()
    gradients = torch.autograd.grad(total, list(state.generator.parameters()))
    got, taken = one_update(state, "generator", IMAGES, noise(state))
    torch.testing.assert_close(got["loss_g_marginal"], nn.functional.softplus(-of_marginal).detach())
    for parameter, gradient in zip(taken.values(), gradients, strict=True):
        torch.testing.assert_close(parameter, gradient, rtol=1e-4, atol=1e-7)


def test_penalties_come_at_their_interval(tiny_config: RunConfig) -> None:
    penalties = [{"kind": "r1", "gamma": 0.05, "every": 2}, {"kind": "r2", "gamma": 0.05, "every": 3}]
    state = made(tiny_config.changed({"method.penalties": penalties}))
    steps = [flat(iterate(state, BATCH, noise(state, step))) for step in range(7)]
    present = [("r1" in statistics, "r2" in statistics) for statistics in steps]
    assert [r1 for r1, _ in present] == [True, False, True, False, True, False, True]
    assert [r2 for _, r2 in present] == [True, False, False, True, False, False, True]


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_learning_rates_follow_a_cosine_in_periods(tiny_config: RunConfig, kind: str) -> None:
    optimizers = {
        f"optimization.{name}": {"kind": kind, "lr": lr}
        for name, lr in (("generator", 0.02), ("discriminator", 0.01))
    }
    decay = {"optimization.final_lr": 0.001, "optimization.decay_every": 2}
    state = made(tiny_config.changed(optimizers | decay))  # 5 iterations: 2 periods
    rates = []
    for step in range(5):
        iterate(state, BATCH, noise(state, step))
        rates.append(
            [state.optimizers[name].param_groups[0]["lr"] for name in ("generator", "discriminator")]
        )
    halfway = [0.001 + (lr - 0.001) * (1 + math.cos(math.pi / 2)) / 2 for lr in (0.02, 0.01)]
    expected = [[0.02, 0.01]] * 2 + [halfway] * 2 + [[0.001, 0.001]]
    torch.testing.assert_close(torch.tensor(rates), torch.tensor(expected))


def test_the_ema_follows_the_generator(state: TrainState) -> None:
    iterate(state, BATCH, noise(state))
    assert same(weights(state.ema), weights(state.generator))  # the first step copies
    first = weights(state.ema)
    iterate(state, BATCH, noise(state, 1))
    for ema, old, new in zip(weights(state.ema), first, weights(state.generator), strict=True):
        torch.testing.assert_close(ema, 0.5 * old + 0.5 * new)
    assert state.step == 2


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("optimization.generator.lr", 0.0, "optimization.generator.lr is 0.0; it must be above 0"),
        (
            "optimization.discriminator.lr",
            math.inf,
            "discriminator.lr is inf; it must be finite",
        ),
        (
            "optimization.generator.betas",
            [0.5, 1.0],
            "generator.betas.1 is 1.0; it must be below 1",
        ),
        ("optimization.ema.decay", -0.1, "optimization.ema.decay is -0.1; it must be at least 0"),
        ("optimization.final_lr", -1.0, "optimization.final_lr is -1.0; it must be at least 0"),
        ("optimization.decay_every", 0, "optimization.decay_every is 0; it must be at least 1"),
        ("optimization.ema.half_lives", [0.0], "optimization.ema.half_lives.0 is 0.0; it must be above 0"),
        ("optimization.ema.half_lives", [5.0, 5.0], "each must be given once"),
        ("optimization.ema.rampup", -1.0, "optimization.ema.rampup is -1.0; it must be at least 0"),
    ],
)
def test_mistakes_in_the_settings(tiny_config: RunConfig, name: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        tiny_config.changed({name: value})


def test_constant_weights_are_approached_geometrically() -> None:
    ema, model = nn.Linear(3, 2), nn.Linear(3, 2)
    start = [p.detach().clone() for p in ema.parameters()]
    for _ in range(5):
        update_ema(ema, model, 0.9)
    for old, now, target in zip(start, ema.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(now, target + 0.9**5 * (old - target))


def test_decay_zero_copies_and_the_model_is_untouched() -> None:
    ema, model = nn.Linear(3, 2), nn.Linear(3, 2)
    before = [p.detach().clone() for p in model.parameters()]
    update_ema(ema, model, 0.0)
    for now, target, old in zip(ema.parameters(), model.parameters(), before, strict=True):
        assert torch.equal(now, target)
        assert torch.equal(target, old)
        assert now.data_ptr() != target.data_ptr()
