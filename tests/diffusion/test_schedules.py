"""Noise schedules, against their formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ddgan.config.components import find
from ddgan.diffusion.process import Diffusion, DiffusionConfig
from ddgan.diffusion.schedules import (
    MOST_STEPS,
    SMALLEST_TIME,
    CosineConfig,
    GeometricConfig,
    VPConfig,
    step_betas,
)


def test_the_variance_preserving_schedule_integrates_a_linear_rate() -> None:
    """abar(u) = exp(-int_0^u beta(s) ds) with beta(s) = beta_min + s (beta_max - beta_min)."""
    times = torch.linspace(0, 0.7, 10_001, dtype=torch.float64)
    integral = torch.trapezoid(0.2 + times * (15 - 0.2), times)
    assert VPConfig(0.2, 15.0).signal_power(0.7) == pytest.approx(math.exp(-float(integral)), rel=1e-9)
    assert VPConfig().signal_power(0.0) == 1


def test_the_geometric_schedule_grows_the_variance_geometrically() -> None:
    schedule = GeometricConfig(1e-3, 0.5)
    kept = torch.cumprod(1 - step_betas(schedule, 5), dim=0) * schedule.signal_power(SMALLEST_TIME)
    noise = 1 - kept  # undoing the renormalisation leaves beta_min (beta_max / beta_min)^u
    ratio = 500 ** ((1 - SMALLEST_TIME) / 5)
    torch.testing.assert_close(noise[1:] / noise[:-1], torch.full((4,), ratio).double())
    assert math.isclose(noise[-1], 0.5, rel_tol=1e-12)


def test_the_cosine_schedule_is_a_quarter_of_a_turn_up_to_the_signal_that_is_left() -> None:
    """signal_scale and noise_scale are the two sides of a triangle whose angle grows evenly."""
    kept = torch.cumprod(1 - step_betas(CosineConfig(0.04), 4), dim=0) * CosineConfig(0.04).signal_power(
        SMALLEST_TIME
    )
    angles = torch.atan2((1 - kept).sqrt(), kept.sqrt())
    torch.testing.assert_close(angles.diff(), torch.full((3,), float(angles.diff()[0])).double())
    assert float(kept[-1]) == pytest.approx(0.04, rel=1e-12)
    assert CosineConfig().signal_power(0.0) == 1
    halves = [int((torch.cumprod(1 - step_betas(s, 8), 0) > 0.5).sum()) for s in (CosineConfig(), VPConfig())]
    assert halves == [4, 2]


@pytest.mark.parametrize("left", [0.0, 1e-7, 0.6, math.nan])
def test_some_signal_must_be_left_at_the_end_and_not_too_much(left: float) -> None:
    with pytest.raises(ValueError, match="signal_left"):
        CosineConfig(left)


@settings(max_examples=40, deadline=None)
@given(
    left=st.floats(1e-6, 0.5),
    num_steps=st.sampled_from([1, 2, 3, 17, 1000, MOST_STEPS]),
)
def test_the_cosine_schedule_is_finite_for_every_number_of_steps(left: float, num_steps: int) -> None:
    process = Diffusion(DiffusionConfig(num_steps, CosineConfig(left), "noise"))
    assert all(bool(table.isfinite().all()) for _, table in process.named_buffers())
    assert bool((process.noise_scale.diff() >= 0).all())


def test_steps_are_read_off_the_schedule_from_the_smallest_time_on() -> None:
    betas = step_betas(VPConfig(), 2)
    assert betas.dtype == torch.float64
    power = VPConfig().signal_power
    middle = (SMALLEST_TIME + 1) / 2
    expected = [1 - power(middle) / power(SMALLEST_TIME), 1 - power(1.0) / power(middle)]
    assert betas.tolist() == pytest.approx(expected, rel=1e-12)


class Constant:
    """A user's schedule, which checks nothing itself."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def signal_power(self, u: float) -> float:
        return math.exp(-self.rate * u)


@pytest.mark.parametrize("rate", [0.0, 1e-12, 100.0, 5000.0, math.inf, math.nan, -1.0])
def test_a_schedule_that_adds_no_noise_or_leaves_no_signal_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="has steps without noise, or leaves no signal; lower beta_max"):
        step_betas(Constant(rate), 4)
    assert step_betas(Constant(1.0), 4).tolist() == pytest.approx([1 - math.exp(-0.999 / 4)] * 4)


@pytest.mark.parametrize(
    ("cls", "low", "high", "words"),
    [
        (VPConfig, 0.1, 5000.0, "beta_max is 5000.0; it must be at most 55"),
        (
            VPConfig,
            30.0,
            54.0,
            r"beta_max is 54.0 and .* a signal power of 5.9e-19 at the end, .* lower beta_max",
        ),
        (
            VPConfig,
            1e-9,
            1e-8,
            "beta_min is 1e-09 and .* a noise variance of .* 10,000 steps, .* raise beta_min",
        ),
        (GeometricConfig, 0.1, 1 - 1e-13, "beta_max is 0.9999999999999 and .* lower beta_max"),
        (GeometricConfig, 1e-12, 0.5, "beta_min is 1e-12 and .* raise beta_min"),
        (GeometricConfig, 0.5, 0.5 + 1e-9, "beta_min is 0.5 and .* raise beta_min"),
    ],
)
def test_settings_whose_levels_cannot_be_represented_are_refused(
    cls: type, low: float, high: float, words: str
) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        cls(low, high)


@settings(max_examples=40, deadline=None)
@given(
    cls=st.sampled_from([VPConfig, GeometricConfig]),
    low=st.floats(-13, 2),
    high=st.floats(-13, 2),
    gap=st.booleans(),
    num_steps=st.sampled_from([1, 2, 3, 17, 1000, MOST_STEPS]),
)
def test_whatever_is_accepted_gives_a_finite_process_for_every_number_of_steps(
    cls: type, low: float, high: float, gap: bool, num_steps: int
) -> None:
    """In float32, for schedules at the edges of what is allowed and any T."""
    upper = 1 - 10**high if cls is GeometricConfig and gap else 10**high
    try:
        schedule = cls(10**low, upper)
    except ValueError:
        return
    process = Diffusion(DiffusionConfig(num_steps, schedule, "noise"))
    tables = dict(process.named_buffers())
    assert all(bool(table.isfinite().all()) for table in tables.values())
    smallest = math.sqrt(torch.finfo(torch.float32).tiny)
    for name in ("signal_scale", "noise_scale", "step_signal", "step_noise"):
        assert float(tables[name][1:].min()) > smallest, name
    assert bool((tables["noise_scale"].diff() >= 0).all())
    t = torch.tensor([1, (num_steps + 1) // 2, num_steps])
    x, noise = torch.ones(3, 4), torch.full((3, 4), 5.0)
    x_prev, x_t = process.pair(x, t, noise, noise)
    assert bool(x_prev.isfinite().all() & x_t.isfinite().all())
    assert bool(process.denoise(-noise, x_t, t, noise).isfinite().all())


@pytest.mark.parametrize(
    ("kind", "cls"), [("vp", VPConfig), ("geometric", GeometricConfig), ("cosine", CosineConfig)]
)
def test_each_can_be_chosen_by_kind(kind: str, cls: type) -> None:
    assert find("schedule", kind) is cls
