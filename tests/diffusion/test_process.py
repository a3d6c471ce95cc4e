"""The schedule and the posterior, against the paper's numbers, Bayes' rule and torch.distributions."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal

from ddgan.diffusion.process import Diffusion, DiffusionConfig
from ddgan.diffusion.schedules import GeometricConfig, VPConfig

SCHEDULES = {"vp": VPConfig(0.1, 20.0), "geometric": GeometricConfig(1e-4, 0.99)}


def diffusion(num_steps: int = 4, schedule: str = "vp", prediction: str = "x_0") -> Diffusion:
    config = DiffusionConfig(num_steps, SCHEDULES[schedule], prediction)
    return Diffusion(config, dtype=torch.float64)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


schedules = st.sampled_from(sorted(SCHEDULES))
step_counts = st.integers(1, 40)


@pytest.mark.parametrize(
    ("num_steps", "betas", "alpha_bars"),
    [
        (4, [0.478255, 0.849206, 0.956418, 0.987404], [0.521745, 0.078676, 0.003429, 4.319e-5]),
        (2, [0.921324, 0.999451], [0.078676, 4.319e-5]),
        (1, [0.999957], [4.319e-5]),
    ],
)
def test_the_published_schedule(num_steps: int, betas: list[float], alpha_bars: list[float]) -> None:
    schedule = diffusion(num_steps)
    torch.testing.assert_close(schedule.beta[1:], torch.tensor(betas).double(), rtol=0, atol=6e-7)
    expected = torch.tensor(alpha_bars).double()
    torch.testing.assert_close(schedule.alpha_bar[1:], expected, rtol=1e-4, atol=6e-7)


@given(num_steps=step_counts, schedule=schedules)
def test_any_number_of_steps_spans_the_same_noise(num_steps: int, schedule: str) -> None:
    tables = diffusion(num_steps, schedule)
    assert tables.alpha_bar.shape == (num_steps + 1,)
    assert tables.alpha_bar[0] == 1
    assert tables.beta[0] == 0
    assert ((tables.beta[1:] > 0) & (tables.beta[1:] < 1)).all()
    assert all(a > b for a, b in pairwise(tables.alpha_bar.tolist()))
    power = tables.config.schedule.signal_power
    end = power(1.0) / power(1e-3)
    assert math.isclose(tables.alpha_bar[-1], end, rel_tol=1e-12)


def test_tables_are_float32_buffers_outside_the_state_dict() -> None:
    tables = Diffusion(DiffusionConfig())
    assert {buffer.dtype for buffer in tables.buffers()} == {torch.float32}
    assert not tables.state_dict()
    torch.testing.assert_close(tables.alpha_bar.double(), diffusion().alpha_bar, rtol=1e-7, atol=0)


@given(num_steps=step_counts, schedule=schedules)
def test_a_pair_has_the_moments_of_the_forward_process(num_steps: int, schedule: str) -> None:
    """Mean and variance of a linear map are read off by feeding one unit input at a time."""
    process = diffusion(num_steps, schedule)
    t = torch.arange(1, num_steps + 1)
    one, zero = torch.ones(num_steps, 1).double(), torch.zeros(num_steps, 1).double()
    signal_prev, signal = process.pair(one, t, zero, zero)
    early_prev, early = process.pair(zero, t, one, zero)
    late_prev, late = process.pair(zero, t, zero, one)
    abar = process.alpha_bar[:, None]
    torch.testing.assert_close(signal, abar[1:].sqrt())
    torch.testing.assert_close(early**2 + late**2, 1 - abar[1:])
    torch.testing.assert_close(signal_prev, abar[:-1].sqrt())
    torch.testing.assert_close(early_prev**2, 1 - abar[:-1])
    assert (late_prev == 0).all()
    torch.testing.assert_close(process.diffuse(one, t, zero), signal)


def test_the_first_step_starts_at_the_image() -> None:
    x_0 = normal(3, 2, 4, 4)
    x_prev, _ = diffusion().pair(
        x_0, torch.ones(3, dtype=torch.int64), normal(3, 2, 4, 4), normal(3, 2, 4, 4)
    )
    assert torch.equal(x_prev, x_0)


@given(num_steps=st.integers(2, 40), schedule=schedules)
def test_the_posterior_is_the_product_of_gaussians(num_steps: int, schedule: str) -> None:
    """q(x_{t-1} | x_t, x_0) ~ N(x_{t-1}; a x_0, s^2) N(x_t; b x_{t-1}, r^2): precisions add."""
    process = diffusion(num_steps, schedule)
    t = torch.arange(2, num_steps + 1)
    x_0, x_t = normal(num_steps - 1, 3), normal(num_steps - 1, 3, 1)[..., 0]
    prior_mean = process.signal_scale[t - 1, None] * x_0
    prior_precision = 1 / (1 - process.alpha_bar[t - 1, None])
    step, beta = (1 - process.beta[t, None]).sqrt(), process.beta[t, None]
    precision = prior_precision + step**2 / beta
    mean, variance = process.posterior(x_0, x_t, t)
    torch.testing.assert_close(variance, 1 / precision)
    torch.testing.assert_close(mean, (prior_precision * prior_mean + step * x_t / beta) / precision)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_the_posterior_agrees_with_bayes_rule_on_a_grid(schedule: str) -> None:
    process = diffusion(4, schedule)
    x_0, x_t, t = 0.7, -0.4, 3
    grid = torch.linspace(-8, 8, 40_001).double()
    prior = Normal(process.signal_scale[t - 1] * x_0, process.noise_scale[t - 1])
    likelihood = Normal(process.step_signal[t] * grid, process.step_noise[t])
    weight = (prior.log_prob(grid) + likelihood.log_prob(torch.tensor(x_t).double())).exp()
    weight /= weight.sum()
    mean = (weight * grid).sum()
    variance = (weight * (grid - mean) ** 2).sum()
    ours = process.posterior(
        torch.tensor([[x_0]]).double(), torch.tensor([[x_t]]).double(), torch.tensor([t])
    )
    torch.testing.assert_close(ours[0].squeeze(), mean, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(ours[1].squeeze(), variance, rtol=1e-6, atol=1e-8)


def test_the_last_reverse_step_returns_the_prediction() -> None:
    x_0, x_t, noise = normal(2, 1, 3, 3), normal(2, 1, 3, 4)[..., :3], normal(2, 1, 3, 5)[..., :3]
    t = torch.ones(2, dtype=torch.int64)
    for num_steps in (1, 4):
        torch.testing.assert_close(diffusion(num_steps).sample_posterior(x_0, x_t, t, noise), x_0)


def test_samples_of_the_posterior_scale_the_noise() -> None:
    process, t = diffusion(), torch.tensor([2, 3, 4])
    x_0, x_t, noise = normal(3, 2), normal(3, 4)[:, :2], normal(3, 6)[:, :2]
    mean, variance = process.posterior(x_0, x_t, t)
    sample = process.sample_posterior(x_0, x_t, t, noise)
    torch.testing.assert_close((sample - mean) / noise, variance.sqrt().expand(3, 2))


def test_marginals_are_consistent() -> None:
    """Drawing x_t from q(x_t | x_0), then x_{t-1} from the posterior, gives q(x_{t-1} | x_0)."""
    process = diffusion(8)
    t = torch.arange(1, 9)
    abar, previous = process.alpha_bar[t], process.alpha_bar[t - 1]
    mean = process.mean_x_0[t] + process.mean_x_t[t] * abar.sqrt()
    variance = process.mean_x_t[t] ** 2 * (1 - abar) + process.posterior_variance[t]
    torch.testing.assert_close(mean, previous.sqrt())
    torch.testing.assert_close(variance, 1 - previous)


@given(num_steps=step_counts, schedule=schedules)
def test_the_predictions_of_x_0_and_of_noise_are_one(num_steps: int, schedule: str) -> None:
    t = torch.arange(1, num_steps + 1)
    x_0, noise, fresh = (normal(num_steps, n)[:, :2] for n in (2, 3, 4))
    process = diffusion(num_steps, schedule)
    x_t = process.diffuse(x_0, t, noise)
    of_noise = diffusion(num_steps, schedule, "noise")
    torch.testing.assert_close(of_noise.predicted_x_0(noise, x_t, t), x_0)
    expected = process.sample_posterior(x_0, x_t, t, fresh)
    torch.testing.assert_close(process.denoise(x_0, x_t, t, fresh), expected)
    torch.testing.assert_close(of_noise.denoise(noise, x_t, t, fresh), expected)


def test_a_prediction_of_x_prev_is_the_sample() -> None:
    process, t = diffusion(prediction="x_prev"), torch.tensor([1, 4])
    prediction, x_t, noise = normal(2, 3), normal(2, 4)[:, :3], normal(2, 5)[:, :3]
    assert torch.equal(process.denoise(prediction, x_t, t, noise), prediction)
    with pytest.raises(ValueError, match="x_prev does not predict x_0"):
        process.predicted_x_0(prediction, x_t, t)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"num_steps": 0}, "num_steps is 0; it must be at least 1"),
        ({"num_steps": 10_001}, "num_steps is 10001; it must be at most 10,000"),
        ({"num_steps": True}, "num_steps is True; it must be a whole number"),
        (
            {"schedule": {"kind": "vp", "beta_min": 0.0}},
            "schedule.beta_min is 0.0; it must be above 0",
        ),
        (
            {"schedule": {"kind": "vp", "beta_min": 30.0}},
            "schedule.beta_min is 30 and beta_max is 20; beta_min must be below beta_max",
        ),
        (
            {"schedule": {"kind": "geometric", "beta_max": 20.0}},
            "schedule.beta_max is 20.0; it must be below 1",
        ),
        ({"schedule": {"kind": "linear"}}, "schedule.kind is 'linear'.* must be one of .*geometric, .*vp"),
        ({"prediction": "x_1"}, "prediction is 'x_1'; it must be one of x_0, noise or x_prev"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=f"^{rule}") as caught:
        DiffusionConfig(**values)
    assert "\n" not in str(caught.value)
