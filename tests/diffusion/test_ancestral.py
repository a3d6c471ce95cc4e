"""The chains of a Gaussian denoiser, DDPM and DDIM, against closed forms of Gaussian data."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ddgan.diffusion.ancestral import ChainConfig, ancestral_chain, chosen_steps, signal_powers
from ddgan.diffusion.process import Diffusion, DiffusionConfig

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
    *_, x_0 = ancestral_chain(denoiser, POWERS, steps, noise(1), noise, settings)
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
    seen = list(ancestral_chain(denoiser, powers, chosen_steps(5, 0), x_t, noise, ChainConfig()))
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
        *_, end = ancestral_chain(lambda x, t: x_0, POWERS, steps, x_t, refuse, ChainConfig(eta=0.0))
        torch.testing.assert_close(end, x_0)


def test_estimates_of_images_are_clipped() -> None:
    x_t = torch.randn(4, 3, dtype=torch.float64)
    arguments = (POWERS, chosen_steps(1000, 10), x_t, normal(0), ChainConfig(eta=0.0))
    *_, free = ancestral_chain(lambda x, t: torch.full_like(x, 3.0), *arguments)
    *_, clipped = ancestral_chain(lambda x, t: torch.full_like(x, 3.0), *arguments, clip=True)
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
        (lambda: chosen_steps(10, 11), "num_steps is 11; it must be at most 10, the number of trained steps"),
        (lambda: ChainConfig(-1), "num_steps is -1"),
        (lambda: ChainConfig(eta=1.5), "eta is 1.5"),
        (lambda: ChainConfig(eta=0.5, variance="forward"), "variance is forward, which requires eta 1"),
    ],
)
def test_chains_that_cannot_be_are_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
