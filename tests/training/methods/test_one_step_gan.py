"""The one-step GAN: what its updates are, and that it learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.data.digits import StackedDigits
from ddgan.models.one_step import OneStepGAN
from ddgan.training.iteration import iterate
from ddgan.training.noise import StepNoise, draw_noise
from ddgan.training.state import TrainState
from steps import fresh, made, one_update


def gan_config(
    base: RunConfig, num_levels: int = 1, kind: str = "one_step_gan", **changes: object
) -> RunConfig:
    """The base with another method, which has its discriminator."""
    discriminator = base.to_dict()["method"]["discriminators"]["pair"]
    method: dict[str, object] = {"method.kind": kind, "method.discriminator": discriminator}
    return base.changed(method | {"diffusion.num_steps": num_levels} | changes)


def inputs(state: TrainState, step: int = 0, count: int = 6) -> tuple[Batch, StepNoise]:
    x = StackedDigits(seed=0).batch(step, count).x
    return Batch(x), draw_noise(0, step, x, state.diffusion.num_steps, 4)


class Seen(nn.Module):
    """A discriminator that remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self.seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x: Tensor, other: Tensor, t: Tensor, condition: object = None) -> Tensor:
        self.seen.append((x.detach(), other.detach(), t))
        return self.weight * x.flatten(1).sum(dim=1)


def with_discriminator(state: TrainState, discriminator: nn.Module) -> None:
    state.networks["discriminator"] = nn.ModuleDict({"sample": discriminator})
    state.optimizers["discriminator"] = torch.optim.Adam(discriminator.parameters(), fused=True)


@pytest.mark.parametrize("num_levels", [1, 4])
def test_d_sees_both_sides_at_the_noise_level_before_t_and_nothing_else(
    tiny_config: RunConfig, num_levels: int
) -> None:
    state, seen = fresh(gan_config(tiny_config, num_levels)), Seen()
    with_discriminator(state, seen)
    batch, noise = inputs(state)
    half = noise.discriminator
    one_update(state, "discriminator", batch.x, noise)
    (real, other_real, t_real), (fake, other_fake, t_fake) = seen.seen
    samples = state.generator(half.noise_step, torch.ones(6, dtype=torch.int64), half.z)
    torch.testing.assert_close(real, state.diffusion.diffuse(batch.x, half.t - 1, half.noise_prev))
    torch.testing.assert_close(fake, state.diffusion.diffuse(samples, half.t - 1, half.noise_posterior))
    assert torch.equal(t_real, half.t)
    assert torch.equal(t_fake, half.t)
    assert not other_real.any()
    assert not other_fake.any()
    if num_levels == 1:
        torch.testing.assert_close(real, batch.x)


def test_the_losses_are_the_non_saturating_ones(tiny_config: RunConfig) -> None:
    state = made(gan_config(tiny_config))
    batch, noise = inputs(state)
    of_d, _ = one_update(state, "discriminator", batch.x, noise)
    assert of_d["d_real"].std() > 1e-4
    expected = softplus(-of_d["d_real"]) + softplus(of_d["d_fake"])
    torch.testing.assert_close(of_d["loss_d"], expected)
    assert (of_d["r1"] >= 0).all()  # iteration 0 has the penalty
    before = [p.clone() for p in state.discriminators.parameters()]
    of_g, _ = one_update(state, "generator", batch.x, noise)
    assert of_g["loss_g"].shape == (6,)
    assert all(torch.equal(a, b) for a, b in zip(before, state.discriminators.parameters(), strict=True))


def test_the_relativistic_loss_compares_with_the_real_sample_at_its_noise_level(
    tiny_config: RunConfig,
) -> None:
    relativistic = {"method.adversarial": {"kind": "relativistic"}, "method.penalties": []}
    state = made(gan_config(tiny_config, 4, **relativistic))
    batch, noise = inputs(state)
    half, black, d = noise.generator, torch.zeros_like(batch.x), state.discriminators["sample"]
    with torch.no_grad():
        samples = state.generator(half.noise_step, torch.ones(6, dtype=torch.int64), half.z)
        fake = state.diffusion.diffuse(samples, half.t - 1, half.noise_posterior)
        real = state.diffusion.diffuse(batch.x, half.t - 1, half.noise_prev)
        d_fake, d_real = (d(x, black, half.t) for x in (fake, real))
    assert (d_real - d_fake).std() > 1e-4
    found, _ = one_update(state, "generator", batch.x, noise)
    torch.testing.assert_close(found["loss_g"], softplus(d_real - d_fake))


def test_an_iteration_changes_both_networks_and_the_ema(tiny_config: RunConfig) -> None:
    state = fresh(gan_config(tiny_config, 3))
    networks = state.saved_networks()
    start = {name: [p.clone() for p in net.parameters()] for name, net in networks.items()}
    for step in range(2):
        statistics = iterate(state, *inputs(state, step))
        assert float(statistics["iteration"]["skipped"]) == 0
    for name, network in networks.items():
        changed = [not torch.equal(a, b) for a, b in zip(start[name], network.parameters(), strict=True)]
        assert any(changed), name
    assert state.step == 2


@pytest.mark.parametrize("kind", ["one_step_gan", pytest.param("wgan_gp", marks=pytest.mark.slow)])
def test_it_learns_where_the_data_is(tiny_points_config: RunConfig, kind: str) -> None:
    optimizer = {"kind": "adam", "lr": 3e-3, "betas": [0.0 if kind == "wgan_gp" else 0.5, 0.9]}
    rates = {"optimization.generator": optimizer, "optimization.discriminator": optimizer}
    config = gan_config(tiny_points_config, 1, kind, **rates, **{"optimization.ema.decay": 0.9})
    state = fresh(config, (2,))
    state.num_iterations = 600 if kind == "wgan_gp" else 300
    rng = torch.Generator().manual_seed(0)
    for number in range(state.num_iterations):
        points = torch.tensor([0.8, -0.5]) + 0.1 * torch.randn(64, 2, generator=rng)
        iterate(state, Batch(points), draw_noise(0, number, points, 1, 2))
    samples = OneStepGAN(state.ema, config, (2,)).sample(500)
    assert float((samples.mean(dim=0) - torch.tensor([0.8, -0.5])).norm()) < 0.4
