"""Transport cost, against closed forms."""

from __future__ import annotations

import pytest
import torch

from ddgan.losses.transport import TransportConfig, squared_distance


def test_the_distance_is_summed_over_the_values_of_a_sample() -> None:
    x_t = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    moved = x_t + torch.tensor([0.0, 1.0, 2.0, -3.0], dtype=torch.float64).view(4, 1, 1, 1)
    torch.testing.assert_close(
        squared_distance(moved, x_t), 75 * torch.tensor([0.0, 1.0, 4.0, 9.0], dtype=torch.float64)
    )


@pytest.mark.parametrize(
    ("values", "rule"),
    [({"weight": 0.0}, "it must be above 0"), ({"form": "half"}, "it must be one of logit, added|or")],
)
def test_wrong_settings_are_refused(values: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        TransportConfig(**values)  # type: ignore[arg-type]
