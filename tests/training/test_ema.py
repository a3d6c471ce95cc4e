"""The average of the weights, against its closed form."""

from __future__ import annotations

import torch
from torch import nn

from ddgan.training.ema import update_ema


def test_constant_weights_are_approached_geometrically() -> None:
    average, model = nn.Linear(3, 2), nn.Linear(3, 2)
    start = [p.detach().clone() for p in average.parameters()]
    for _ in range(5):
        update_ema(average, model, 0.9)
    for old, now, target in zip(start, average.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(now, target + 0.9**5 * (old - target))


def test_decay_zero_copies_and_the_model_is_untouched() -> None:
    average, model = nn.Linear(3, 2), nn.Linear(3, 2)
    before = [p.detach().clone() for p in model.parameters()]
    update_ema(average, model, 0.0)
    for now, target, old in zip(average.parameters(), model.parameters(), before, strict=True):
        assert torch.equal(now, target)
        assert torch.equal(target, old)
        assert now.data_ptr() != target.data_ptr()
