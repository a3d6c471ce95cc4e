"""Balance of the classes of samples, where it is known."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import entropy

from ddgan.metrics.balance import balance_score


def test_balance_by_the_formula() -> None:
    classes = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)
    shares = torch.tensor([0.25, 0.25, 0.25, 0.25]).double()
    score = balance_score(classes, shares, 0.9)
    assert score.kl == pytest.approx(entropy([0.5, 0.3, 0.2, 0], [0.25] * 4))
    assert (score.classes_found, score.num_classes, score.num_samples) == (3, 4, 100)
    assert score.total_variation == pytest.approx((0.25 + 0.05 + 0.05 + 0.25) / 2)
    assert score.kl_floor == pytest.approx(3 / 200, rel=0.5)
    assert score.shares == (0.5, 0.3, 0.2, 0.0)
