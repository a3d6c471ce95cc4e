"""The Gaussian denoiser and its chains, against closed forms of Gaussian data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ddgan import RunConfig
from ddgan.data import Batch
from ddgan.diffusion.process import Diffusion, DiffusionConfig
from ddgan.networks import build_generator
from ddgan.system.processes import Processes
from ddgan.training.methods import BaselineConfig, ChainConfig, GaussianDiffusion
from ddgan.training.methods.gaussian_diffusion import (
    DenoiserState,
    DenoisingNoise,
    chain,
    chosen_steps,
    denoising_step,
    draw_denoising,
    signal_powers,
)
from ddgan.training.methods.methods import create_denoiser

COUNT = 8_000
POWERS = signal_powers(DiffusionConfig(1000))


def gaussian_denoiser(mean: float, deviation: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The best estimate of x_0 ~ N(mean, deviation^2) from x_t."""

    def denoiser(x_t: Tensor, t: Tensor) -> Tensor:
        power = POWERS[int(t[0])]
        gain = math.sqrt(power) * deviation**2 / (power * deviation**2 + 1 - power)
        return mean + gain * (x_t - math.sqrt(power) * mean)

    return denoiser


def normal(seed: int) -> Callable[..., Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(COUNT, *shape, generator=rng, dtype=torch.float64)


def samples(denoiser: Callable[[Tensor, Tensor], Tensor], settings: ChainConfig) -> Tensor:
    noise = normal(0)
    steps = chosen_steps(1000, settings.num_steps)
    *_, x_0 = chain(denoiser, POWERS, steps, noise(1), noise, settings)
    return x_0


@pytest.mark.parametrize("deviation", [0.3, 1.0, 2.0])
@pytest.mark.parametrize(
    "settings",
    [ChainConfig(), ChainConfig(500), ChainConfig(variance="forward"), ChainConfig(500, eta=0.0)],
    ids=["ddpm", "ddpm strided", "ddpm forward variance", "ddim"],
)
def test_with_the_best_denoiser_of_a_gaussian_the_chain_samples_that_gaussian(
    deviation: float, settings: ChainConfig
) -> None:
    x_0 = samples(gaussian_denoiser(0.4, deviation), settings)
    assert abs(float(x_0.mean()) - 0.4) < 5 * deviation / math.sqrt(COUNT) + 0.01
    assert float(x_0.std()) == pytest.approx(deviation, rel=0.03)


def test_the_forward_variance_is_exact_for_unit_gaussians_at_any_number_of_steps() -> None:
    """There the reverse step from t to s has the variance 1 - abar_t / abar_s exactly."""
    exact = samples(gaussian_denoiser(0.0, 1.0), ChainConfig(4, variance="forward"))
    # but for the last step, which adds no noise: what remains is the estimate at t = 250
    power = POWERS[250]
    assert float(exact.std()) == pytest.approx(math.sqrt(power), rel=0.03)
    few = samples(gaussian_denoiser(0.0, 1.0), ChainConfig(4))
    assert float(few.std()) < float(exact.std())  # too narrow with the posterior's variance


def test_eta_1_is_the_ancestral_sampling_of_the_posterior() -> None:
    diffusion = Diffusion(DiffusionConfig(5), dtype=torch.float64)
    powers = signal_powers(DiffusionConfig(5))
    denoiser = lambda x, t: torch.tanh(x) * 0.7  # noqa: E731
    x_t, noise = normal(1)(3), normal(2)
    seen = list(chain(denoiser, powers, chosen_steps(5, 0), x_t, noise, ChainConfig()))
    replay = normal(2)
    for t, x_s in zip(range(5, 0, -1), seen, strict=True):
        steps = torch.full((COUNT,), t)
        mean, variance = diffusion.posterior(denoiser(x_t, steps), x_t, steps)
        x_t = mean + (variance.sqrt() * replay(3) if t > 1 else 0)
        torch.testing.assert_close(x_s, x_t)


def test_a_strided_chain_is_that_of_fewer_trained_steps() -> None:
    """Every 10th of 1,000 steps are the 100 steps of the same continuous schedule."""
    strided = [POWERS[step] for step in chosen_steps(1000, 100)]
    assert strided == pytest.approx(signal_powers(DiffusionConfig(100)), rel=1e-9)


def test_ddim_asks_for_no_noise_and_ends_at_the_estimate() -> None:
    def refuse(*shape: int) -> Tensor:
        raise AssertionError("DDIM is deterministic")

    x_0 = torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3)
    x_t = torch.randn(4, 3, dtype=torch.float64)
    for num_steps in (1, 7, 1000):
        steps = chosen_steps(1000, num_steps)
        *_, end = chain(lambda x, t: x_0, POWERS, steps, x_t, refuse, ChainConfig(eta=0.0))
        torch.testing.assert_close(end, x_0)


def test_estimates_of_images_are_clipped() -> None:
    x_t = torch.randn(4, 3, dtype=torch.float64)
    arguments = (POWERS, chosen_steps(1000, 10), x_t, normal(0), ChainConfig(eta=0.0))
    *_, free = chain(lambda x, t: torch.full_like(x, 3.0), *arguments)
    *_, clipped = chain(lambda x, t: torch.full_like(x, 3.0), *arguments, clip=True)
    torch.testing.assert_close(free, torch.full_like(x_t, 3.0))
    torch.testing.assert_close(clipped, torch.ones_like(x_t))


@pytest.mark.parametrize("wanted", [1, 3, 8, 50, 999, 1000])
def test_chosen_steps_are_as_many_as_asked_for_and_spread_evenly(wanted: int) -> None:
    steps = chosen_steps(1000, wanted)
    gaps = [b - a for a, b in pairwise(steps)]
    assert (steps[0], steps[-1], len(gaps)) == (0, 1000, wanted)
    assert max(gaps) - min(gaps) <= 1
    assert min(gaps) >= 1
    assert chosen_steps(1000, 0) == list(range(1001))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: chosen_steps(10, 11), "num_steps is 11, but the model was trained with 10"),
        (lambda: ChainConfig(-1), "num_steps is -1"),
        (lambda: ChainConfig(eta=1.5), "eta is 1.5"),
        (lambda: ChainConfig(eta=0.5, variance="forward"), "variance is forward, which is for eta 1"),
    ],
)
def test_chains_that_cannot_be_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


# --- training ---------------------------------------------------------------------------------------------


def denoiser_config(base: RunConfig, prediction: str = "noise", **training: object) -> BaselineConfig:
    generator = dataclasses.replace(base.generator, latent_size=0, tanh=prediction == "x_0")
    config = dataclasses.replace(
        base,
        generator=generator,
        diffusion=DiffusionConfig(40, prediction=prediction),  # type: ignore[arg-type]
        training=dataclasses.replace(base.training, **training),  # type: ignore[arg-type]
    )
    return BaselineConfig.like(config, method="ddpm")


def state_of(config: BaselineConfig) -> DenoiserState:
    return create_denoiser(config, Processes(torch.device("cpu")))


@pytest.mark.parametrize("prediction", ["noise", "x_0"])
def test_the_loss_is_that_of_the_paper(tiny_config: RunConfig, prediction: str) -> None:
    state = state_of(denoiser_config(tiny_config, prediction))
    torch.manual_seed(0)
    with torch.no_grad():  # away from the start, where the output is almost nothing
        for parameter in state.generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    images = torch.rand(6, 3, 8, 8) * 2 - 1
    noise = DenoisingNoise(torch.tensor([1, 4, 9, 20, 30, 40]), torch.randn(6, 3, 8, 8))
    power = torch.tensor([signal_powers(state.diffusion.config)[t] for t in noise.t.tolist()])
    x_t = power.sqrt().view(-1, 1, 1, 1) * images + (1 - power).sqrt().view(-1, 1, 1, 1) * noise.noise
    with torch.no_grad():
        output = state.generator(x_t, noise.t, torch.zeros(6, 0))
    assert output.std() > 0.1
    if prediction == "noise":
        expected = (output - noise.noise).square().mean(dim=(1, 2, 3))
    else:
        expected = (power / (1 - power)).clamp(max=5) * (output - images).square().mean(dim=(1, 2, 3))
    statistics = denoising_step(state, Batch(images), noise)
    torch.testing.assert_close(statistics["loss_g"], expected, rtol=1e-4, atol=1e-5)
    assert statistics["t_g"].tolist() == [1, 1, 3, 5, 8, 10]  # the tenth of 1..40
    assert state.step == 1


def test_it_learns_to_denoise_points(tiny_points_config: RunConfig) -> None:
    optimization = dataclasses.replace(tiny_points_config.optimization, generator_lr=3e-3)
    config = denoiser_config(dataclasses.replace(tiny_points_config, optimization=optimization))
    state = state_of(config)
    state.num_iterations = 200
    points = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)) * 0.1
    losses = []
    for step in range(200):
        statistics = denoising_step(state, Batch(points), draw_denoising(config, step, points))
        losses.append(float(statistics["loss_g"].mean()))
    assert sum(losses[-20:]) < 0.6 * sum(losses[:20])
    made = GaussianDiffusion(state.ema, config).sample(500)
    assert float(made.abs().median()) < 0.4  # of noise it is 0.67, of the data 0.07


# --- sampling -----------------------------------------------------------------------------------------------


@pytest.fixture
def model(tiny_config: RunConfig) -> GaussianDiffusion:
    config = denoiser_config(tiny_config)
    torch.manual_seed(0)
    generator = build_generator(config.generator)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return GaussianDiffusion(generator, config)


def test_sample_i_is_the_same_in_a_batch_of_any_size(model: GaussianDiffusion) -> None:
    for settings in (ChainConfig(4), ChainConfig(4, eta=0.0)):
        sampler = model.sampled_by(settings)
        whole = sampler.sample(5, seed=3)
        torch.testing.assert_close(sampler.sample(5, seed=3, batch_size=2), whole, rtol=0, atol=1e-3)
        assert whole.shape == (5, 3, 8, 8)
        assert float(whole.abs().max()) <= 1
        assert not torch.equal(sampler.sample(5, seed=4), whole)
        assert sampler.calls_per_image == 4
    assert model.calls_per_image == 40


def test_an_edit_starts_from_the_noise_level_asked_for(model: GaussianDiffusion) -> None:
    images = torch.rand(3, 3, 8, 8) * 2 - 1
    assert torch.equal(model.edited(images, 1.0), images)  # abar_0 = 1: nothing is done
    powers = signal_powers(model.config.diffusion)
    first, again = (model.edited(images, powers[3], seed=1) for _ in range(2))
    assert torch.equal(first, again)
    torch.testing.assert_close(model.edited(images[:1], powers[3], seed=1), first[:1], rtol=0, atol=1e-3)
    near, far = (float((model.edited(images, power) - images).abs().mean()) for power in powers[2:40:20])
    assert near < far
    with pytest.raises(ValueError, match="signal is 2"):
        model.edited(images, 2.0)
