"""Batches: samples of any shape, with conditions that stay beside them."""

from __future__ import annotations

import pytest
import torch

from ddgan.data.batch import EVERY, Batch
from ddgan.networks.conditions import Condition


@pytest.mark.parametrize("shape", [(2,), (1, 6), (3, 4, 5), (1, 2, 3, 4)], ids=str)
def test_rows_keep_a_sample_and_its_condition_together(shape: tuple[int, ...]) -> None:
    x = torch.randn(5, *shape)
    batch = Batch(x, Condition(label=torch.arange(5), image=x + 1))
    for rows in (slice(1, 4), torch.tensor([4, 0, 0]), EVERY):
        taken = batch.rows(rows)
        assert torch.equal(taken.x, x[rows])
        assert taken.label is not None
        assert torch.equal(taken.label, torch.arange(5)[rows])
        assert taken.condition is not None
        assert taken.condition.image is not None
        assert torch.equal(taken.condition.image, x[rows] + 1)
        assert taken.condition.vector is None


def test_without_conditions_there_is_no_label() -> None:
    batch = Batch(torch.randn(3, 2)).rows(slice(0, 2))
    assert batch.condition is None
    assert batch.label is None
    assert Batch(torch.randn(3, 2), Condition(vector=torch.randn(3, 1))).label is None
