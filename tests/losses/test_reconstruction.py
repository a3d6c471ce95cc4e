"""Reconstruction terms, against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ddgan.losses.reconstruction import L1Config, L2Config, power_at


@pytest.mark.parametrize(("kind", "expected"), [(L1Config, [0.5, 1.0]), (L2Config, [0.25, 1.0])])
def test_the_reconstruction_is_a_mean_over_each_sample(kind: Any, expected: list[float]) -> None:
    predicted = torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), -1.0)])
    assert kind().error(predicted, torch.zeros(2, 3, 2, 2)).tolist() == expected
    assert kind().error(predicted.flatten(1), torch.zeros(2, 12)).tolist() == expected


@pytest.mark.parametrize("kind", [L1Config, L2Config])
@pytest.mark.parametrize(
    ("value", "rule"),
    [(0.0, "weight is 0.0; it must be above 0"), (2e6, "weight is 2000000.0; it must be at most 1,000,000")],
)
def test_weights_out_of_range_are_refused(kind: Any, value: float, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        kind(weight=value)


def test_the_factor_of_the_weight_by_signal_and_noise() -> None:
    power = torch.tensor([0.9, 0.5, 0.1])
    factors = {
        (signal, noise): power_at(L2Config(by_signal=signal, by_noise=noise), power)
        for signal in (False, True)
        for noise in (False, True)
    }
    assert factors[False, False] == 1.0
    torch.testing.assert_close(factors[True, False], power)
    torch.testing.assert_close(factors[False, True], torch.tensor([0.1, 0.5, 0.9]))
    torch.testing.assert_close(factors[True, True], torch.tensor([0.09, 0.25, 0.09]))
