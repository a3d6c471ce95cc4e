"""Noise schedules, against their formulas."""

from __future__ import annotations

import math

import pytest
import torch

from ddgan.config.components import find
from ddgan.diffusion.schedules import SMALLEST_TIME, GeometricConfig, VPConfig, step_betas


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


def test_steps_are_read_off_the_schedule_from_the_smallest_time_on() -> None:
    betas = step_betas(VPConfig(), 2)
    assert betas.dtype == torch.float64
    power = VPConfig().signal_power
    middle = (SMALLEST_TIME + 1) / 2
    expected = [1 - power(middle) / power(SMALLEST_TIME), 1 - power(1.0) / power(middle)]
    assert betas.tolist() == pytest.approx(expected, rel=1e-12)


def test_a_schedule_that_leaves_no_signal_is_refused() -> None:
    with pytest.raises(ValueError, match="has steps without noise, or leaves no signal; lower beta_max"):
        step_betas(VPConfig(0.1, 999.0), 1)


@pytest.mark.parametrize(("kind", "cls"), [("vp", VPConfig), ("geometric", GeometricConfig)])
def test_both_can_be_chosen_by_kind(kind: str, cls: type) -> None:
    assert find("schedule", kind) is cls
