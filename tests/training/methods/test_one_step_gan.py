"""The one-step GAN and WGAN-GP: what their updates are, and that they learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ddgan import RunConfig
from ddgan.data import Batch, StackedDigits
from ddgan.losses.adversarial import ObjectiveConfig
from ddgan.system.processes import Processes
from ddgan.training.methods import BaselineConfig, CriticConfig, OneStepGAN
from ddgan.training.methods.one_step_gan import (
    critic_step,
    discriminator_step,
    gan_step,
    generator_step,
    wgan_step,
)
from ddgan.training.noise import StepNoise, draw_noise
from ddgan.training.setup import create_state
from ddgan.training.state import TrainState


def gan_config(base: RunConfig, num_levels: int = 1, **changes: Any) -> BaselineConfig:
    diffusion = dataclasses.replace(base.diffusion, num_steps=num_levels)
    return BaselineConfig.like(dataclasses.replace(base, diffusion=diffusion), **changes)


def state_of(config: BaselineConfig) -> TrainState:
    return create_state(config, Processes(torch.device("cpu")))


def lively(state: TrainState) -> TrainState:
    """Away from the start, where both networks output almost nothing."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for network in (state.generator, state.discriminator):
            for parameter in network.parameters():
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=rng))
    return state


def inputs(state: TrainState, step: int = 0, count: int = 6) -> tuple[Batch, StepNoise]:
    images = StackedDigits(seed=0).batch(step, count).images
    return Batch(images), draw_noise(0, step, images, state.diffusion.num_steps, 4)


class Seen(nn.Module):
    """A discriminator that remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, other: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        self.seen.append((x.detach(), other.detach(), t))
        return self.weight * x.flatten(1).sum(dim=1)


@pytest.mark.parametrize("num_levels", [1, 4])
def test_d_sees_both_sides_at_the_noise_level_before_t_and_nothing_else(
    tiny_config: RunConfig, num_levels: int
) -> None:
    state = state_of(gan_config(tiny_config, num_levels))
    judge = Seen()
    state.discriminator, state.optimizer_d = judge, torch.optim.Adam(judge.parameters(), fused=True)
    batch, noise = inputs(state)
    half = noise.discriminator
    discriminator_step(state, batch.images, half)
    (real, other_real, t_real), (fake, other_fake, t_fake) = judge.seen
    made = state.generator(half.noise_step, torch.ones(6, dtype=torch.int64), half.z)
    torch.testing.assert_close(real, state.diffusion.diffuse(batch.images, half.t - 1, half.noise_prev))
    torch.testing.assert_close(fake, state.diffusion.diffuse(made, half.t - 1, half.noise_posterior))
    assert torch.equal(t_real, half.t)
    assert torch.equal(t_fake, half.t)
    assert not other_real.any()
    assert not other_fake.any()
    if num_levels == 1:
        torch.testing.assert_close(real, batch.images)


@pytest.mark.parametrize("num_levels", [1, 4])
def test_a_critic_sees_the_same_and_points_between(tiny_config: RunConfig, num_levels: int) -> None:
    state = state_of(gan_config(tiny_config, num_levels, method="wgan_gp"))
    judges = [Seen(), Seen()]
    batch, noise = inputs(state)
    for judge, step in zip(judges, (critic_step, discriminator_step), strict=True):
        state.discriminator, state.optimizer_d = judge, torch.optim.Adam(judge.parameters(), fused=True)
        step(
            state, batch.images, *((noise, CriticConfig()) if step is critic_step else (noise.discriminator,))
        )
    ours, theirs = (judge.seen for judge in judges)
    for one, other in zip(ours, theirs, strict=False):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    (real, _, t), (fake, _, _), (between, other, t_between) = ours
    share = ((between - fake) / (real - fake)).flatten(1)
    torch.testing.assert_close(
        share, share.median(dim=1, keepdim=True).values.expand_as(share), atol=1e-2, rtol=0
    )
    assert ((share[:, 0] > 0) & (share[:, 0] < 1)).all()
    assert share[:, 0].unique().numel() == len(share)
    assert torch.equal(t, t_between)
    assert not other.any()


def test_the_losses_are_the_non_saturating_ones(tiny_config: RunConfig) -> None:
    state = lively(state_of(gan_config(tiny_config)))
    batch, noise = inputs(state)
    of_d = discriminator_step(state, batch.images, noise.discriminator)
    assert of_d["d_real"].std() > 0.01
    expected = softplus(-of_d["d_real"]) + softplus(of_d["d_fake"])
    torch.testing.assert_close(of_d["loss_d"], expected)
    assert (of_d["r1"] >= 0).all()  # iteration 0 has the penalty
    before = [p.clone() for p in state.discriminator.parameters()]
    of_g = generator_step(state, batch.images, noise.generator)
    assert of_g["loss_g"].shape == (6,)
    assert all(torch.equal(a, b) for a, b in zip(before, state.discriminator.parameters(), strict=True))


def test_the_relativistic_loss_compares_with_the_real_image_at_its_noise_level(
    tiny_config: RunConfig,
) -> None:
    config = gan_config(dataclasses.replace(tiny_config, objective=ObjectiveConfig("relativistic", ())), 4)
    state = lively(state_of(config))
    batch, noise = inputs(state)
    half, black = noise.generator, torch.zeros_like(batch.images)
    with torch.no_grad():
        made = state.generator(half.noise_step, torch.ones(6, dtype=torch.int64), half.z)
        fake = state.diffusion.diffuse(made, half.t - 1, half.noise_posterior)
        real = state.diffusion.diffuse(batch.images, half.t - 1, half.noise_prev)
        d_fake, d_real = (state.discriminator(x, black, half.t) for x in (fake, real))
    assert (d_real - d_fake).std() > 0.01
    found = generator_step(state, batch.images, half)["loss_g"]
    torch.testing.assert_close(found, softplus(d_real - d_fake))


def test_an_iteration_changes_both_networks_and_the_average(tiny_config: RunConfig) -> None:
    state = state_of(gan_config(tiny_config, 3))
    start = {name: [p.clone() for p in net.parameters()] for name, net in state.networks().items()}
    for step in range(2):
        statistics = gan_step(state, *inputs(state, step))
        assert float(statistics["skipped"]) == 0
    for name, network in state.networks().items():
        changed = [not torch.equal(a, b) for a, b in zip(start[name], network.parameters(), strict=True)]
        assert any(changed), name
    assert state.step == 2


def test_the_penalty_is_zero_for_a_critic_of_slope_one(tiny_points_config: RunConfig) -> None:
    class Plane(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.tensor([0.6, 0.8]))

        def forward(self, x: Tensor, other: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
            return x @ self.slope

    state = state_of(gan_config(tiny_points_config, method="wgan_gp"))
    plane = Plane()
    state.discriminator, state.optimizer_d = plane, torch.optim.Adam(plane.parameters(), fused=True)
    points = torch.randn(50, 2)
    noise = draw_noise(0, 0, points, 1, 2)
    statistics = critic_step(state, points, noise, CriticConfig())
    torch.testing.assert_close(statistics["penalty"], torch.zeros(50), atol=1e-6, rtol=0)
    difference = statistics["d_fake"] - statistics["d_real"]
    torch.testing.assert_close(statistics["loss_d"], difference, atol=1e-5, rtol=0)


def test_the_critic_has_several_updates_for_one_of_g(tiny_points_config: RunConfig) -> None:
    state = state_of(gan_config(tiny_points_config, method="wgan_gp"))
    step, moved = wgan_step(CriticConfig(updates=3)), []
    for number in range(6):
        points = torch.randn(16, 2)
        before = [p.clone() for p in state.generator.parameters()]
        statistics = step(state, Batch(points), draw_noise(0, number, points, 1, 2))
        pairs = zip(before, state.generator.parameters(), strict=True)
        moved.append(any(not torch.equal(a, b) for a, b in pairs))
        assert ("loss_g" in statistics) == moved[-1]
    assert moved == [False, False, True] * 2


@pytest.mark.parametrize("method", ["gan", pytest.param("wgan_gp", marks=pytest.mark.slow)])
def test_it_learns_where_the_data_is(tiny_points_config: RunConfig, method: str) -> None:
    optimization = dataclasses.replace(
        tiny_points_config.optimization,
        generator_lr=3e-3,
        discriminator_lr=3e-3,
        ema_decay=0.9,
        betas=(0.0 if method == "wgan_gp" else 0.5, 0.9),
    )
    num_iterations = 600 if method == "wgan_gp" else 300
    config = gan_config(dataclasses.replace(tiny_points_config, optimization=optimization), method=method)
    state = state_of(config)
    state.num_iterations = num_iterations
    step = gan_step if method == "gan" else wgan_step(CriticConfig())
    rng = torch.Generator().manual_seed(0)
    for number in range(num_iterations):
        points = torch.tensor([0.8, -0.5]) + 0.1 * torch.randn(64, 2, generator=rng)
        step(state, Batch(points), draw_noise(0, number, points, 1, 2))
    made = OneStepGAN(state.ema, config).sample(500)
    assert float((made.mean(dim=0) - torch.tensor([0.8, -0.5])).norm()) < 0.4


def test_a_model_makes_images_in_one_call(tiny_config: RunConfig) -> None:
    config = gan_config(tiny_config)
    model = OneStepGAN(state_of(config).generator, config)
    images = model.sample(5, seed=2)
    assert images.shape == (5, 3, 8, 8)
    torch.testing.assert_close(model.sample(5, seed=2, batch_size=2), images)
    assert model.calls_per_image == 1
    for wrong, words in (({"n": 0}, "n is 0"), ({"n": 1, "seed": -1}, "seed is -1")):
        with pytest.raises(ValueError, match=words):
            model.sample(**wrong)
