"""One training iteration: what it changes, what it leaves alone, and what it depends on."""

from __future__ import annotations

import copy
import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from ddgan import RunConfig
from ddgan.data import Batch, StackedDigits
from ddgan.losses.adversarial import ObjectiveConfig, PenaltyConfig
from ddgan.system.processes import Processes
from ddgan.training.iteration import discriminator_step, generator_step, train_step
from ddgan.training.noise import StepNoise, draw_noise
from ddgan.training.optimizers import OptimizationConfig
from ddgan.training.setup import create_state
from ddgan.training.state import TrainState

IMAGES = StackedDigits(seed=0).batch(0, 6).images
BATCH = Batch(IMAGES)
OBJECTIVES = {
    "paper": ObjectiveConfig(),
    "relativistic": ObjectiveConfig("relativistic", (PenaltyConfig("r1", 0.05), PenaltyConfig("r2", 0.05))),
    "reconstruction": ObjectiveConfig("nonsaturating", (), "l1", 0.5, True),
}


@pytest.fixture(params=OBJECTIVES)
def state(request: pytest.FixtureRequest, tiny_config: RunConfig) -> TrainState:
    return made(dataclasses.replace(tiny_config, objective=OBJECTIVES[request.param]))


def made(config: RunConfig) -> TrainState:
    state = create_state(config, Processes(torch.device("cpu")))
    with torch.no_grad():  # away from the start, where a generator outputs almost nothing
        for network in (state.generator, state.discriminator):
            for parameter in network.parameters():
                parameter.add_(
                    0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
                )
    return state


def noise(state: TrainState, step: int = 0, seed: int = 0) -> StepNoise:
    return draw_noise(seed, step, IMAGES, state.diffusion.num_steps, 4)


def weights(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_discriminators_step_leaves_the_generator_alone(state: TrainState) -> None:
    before_g, before_d = weights(state.generator), weights(state.discriminator)
    discriminator_step(state, BATCH, noise(state).discriminator)
    assert same(weights(state.generator), before_g)
    assert all(parameter.grad is None for parameter in state.generator.parameters())
    assert not same(weights(state.discriminator), before_d)
    assert not state.optimizer_g.state


def test_the_generators_step_leaves_the_discriminator_alone(state: TrainState) -> None:
    before_g, before_d = weights(state.generator), weights(state.discriminator)
    generator_step(state, BATCH, noise(state).generator)
    assert same(weights(state.discriminator), before_d)
    assert all(parameter.grad is None for parameter in state.discriminator.parameters())
    assert all(parameter.requires_grad for parameter in state.discriminator.parameters())
    assert not same(weights(state.generator), before_g)
    assert not state.optimizer_d.state


def test_a_step_is_a_function_of_state_batch_and_noise(state: TrainState) -> None:
    twin = copy.deepcopy(state)
    torch.manual_seed(1)
    first = train_step(state, BATCH, noise(state))
    torch.manual_seed(2)
    second = train_step(twin, Batch(IMAGES.clone()), noise(twin))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert same(weights(state.generator), weights(twin.generator))
    assert same(weights(state.discriminator), weights(twin.discriminator))
    assert not any(value.requires_grad for value in first.values())


@pytest.mark.parametrize("changed", ["batch", "noise seed", "noise step"])
def test_another_batch_or_noise_gives_other_weights(state: TrainState, changed: str) -> None:
    twin = copy.deepcopy(state)
    train_step(state, BATCH, noise(state))
    other = Batch(StackedDigits(seed=1).batch(0, 6).images) if changed == "batch" else BATCH
    train_step(twin, other, noise(twin, step=changed == "noise step", seed=changed == "noise seed"))
    assert not same(weights(state.generator), weights(twin.generator))
    assert not same(weights(state.discriminator), weights(twin.discriminator))


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
    objective = ObjectiveConfig("nonsaturating", (PenaltyConfig("r1", 0.3),), "l2", 0.7, True)
    state = made(dataclasses.replace(tiny_config, objective=objective))
    half = noise(state).discriminator
    x_prev, x_t = state.diffusion.pair(IMAGES, half.t, half.noise_prev, half.noise_step)
    with torch.no_grad():
        fake = state.diffusion.sample_posterior(
            state.generator(x_t, half.t, half.z), x_t, half.t, half.noise_posterior
        )
    x_prev.requires_grad_()
    d_real, d_fake = state.discriminator(x_prev, x_t, half.t), state.discriminator(fake, x_t, half.t)
    gradient = torch.autograd.grad(d_real.sum(), x_prev)[0]
    got = discriminator_step(state, BATCH, half)
    torch.testing.assert_close(got["d_real"], d_real.detach())
    torch.testing.assert_close(got["d_fake"], d_fake.detach())
    torch.testing.assert_close(got["r1"], 0.3 / 2 * gradient.square().sum(dim=(1, 2, 3)))
    expected = -torch.log(torch.sigmoid(d_real)) - torch.log(1 - torch.sigmoid(d_fake))
    torch.testing.assert_close(got["loss_d"], expected.detach())

    half = noise(state).generator
    x_prev, x_t = state.diffusion.pair(IMAGES, half.t, half.noise_prev, half.noise_step)
    prediction = state.generator(x_t, half.t, half.z)
    fake = state.diffusion.sample_posterior(prediction, x_t, half.t, half.noise_posterior)
    adversarial = -torch.log(torch.sigmoid(state.discriminator(fake, x_t, half.t)))
    error = (prediction - IMAGES).square().mean(dim=(1, 2, 3))
    total = (adversarial + 0.7 * state.diffusion.alpha_bar[half.t] * error).mean()
    gradients = torch.autograd.grad(total, list(state.generator.parameters()))
    got = generator_step(state, BATCH, half)
    torch.testing.assert_close(got["reconstruction"], error.detach())
    torch.testing.assert_close(got["loss_g"], adversarial.detach())
    for parameter, gradient in zip(state.generator.parameters(), gradients, strict=True):
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-7)


def test_penalties_come_at_their_interval(tiny_config: RunConfig) -> None:
    penalties = (PenaltyConfig("r1", 0.05, every=2), PenaltyConfig("r2", 0.05, every=3))
    state = made(dataclasses.replace(tiny_config, objective=ObjectiveConfig(penalties=penalties)))
    steps = [train_step(state, BATCH, noise(state, step)) for step in range(7)]
    present = [("r1" in statistics, "r2" in statistics) for statistics in steps]
    assert [r1 for r1, _ in present] == [True, False, True, False, True, False, True]
    assert [r2 for _, r2 in present] == [True, False, False, True, False, False, True]


def test_learning_rates_follow_a_cosine_in_periods(tiny_config: RunConfig) -> None:
    optimization = OptimizationConfig(0.02, 0.01, final_lr=0.001, decay_every=2, ema_decay=0.5)
    state = made(dataclasses.replace(tiny_config, optimization=optimization))  # 5 iterations: 2 periods
    rates = []
    for step in range(5):
        train_step(state, BATCH, noise(state, step))
        used = [optimizer.param_groups[0]["lr"] for optimizer in (state.optimizer_g, state.optimizer_d)]
        rates.append(used)
    halfway = [0.001 + (lr - 0.001) * (1 + math.cos(math.pi / 2)) / 2 for lr in (0.02, 0.01)]
    expected = [[0.02, 0.01]] * 2 + [halfway] * 2 + [[0.001, 0.001]]
    torch.testing.assert_close(torch.tensor(rates), torch.tensor(expected))


def test_the_average_follows_the_generator(state: TrainState) -> None:
    train_step(state, BATCH, noise(state))
    assert same(weights(state.ema), weights(state.generator))  # the first step copies
    first = weights(state.ema)
    train_step(state, BATCH, noise(state, 1))
    for average, old, new in zip(weights(state.ema), first, weights(state.generator), strict=True):
        torch.testing.assert_close(average, 0.5 * old + 0.5 * new)
    assert state.step == 2


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"generator_lr": 0.0}, "generator_lr is 0.0"),
        ({"discriminator_lr": math.inf}, "discriminator_lr is inf"),
        ({"betas": (0.5, 1.0)}, "betas is"),
        ({"ema_decay": -0.1}, "ema_decay is -0.1"),
        ({"final_lr": -1.0}, "final_lr is -1.0"),
        ({"decay_every": 0}, "decay_every is 0"),
        ({"ema_half_lives": (0.0,)}, "ema_half_lives is"),
        ({"ema_half_lives": (5.0, 5.0)}, "names one twice"),
        ({"ema_rampup": -1.0}, "ema_rampup is -1.0"),
    ],
)
def test_mistakes_in_the_settings(mistake: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        OptimizationConfig(**mistake)  # type: ignore[arg-type]
