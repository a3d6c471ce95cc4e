"""Conditions keep their parts together on every way."""

from __future__ import annotations

import torch

from ddgan.networks.conditions import Condition, ConditionShapes


def whole() -> Condition:
    return Condition(torch.arange(4), torch.randn(4, 3), torch.randn(4, 1, 2, 2))


def test_rows_are_taken_of_every_part() -> None:
    condition = whole()
    for rows in (slice(1, 3), torch.tensor([3, 0])):
        for part, taken in zip(condition, condition.rows(rows), strict=True):
            assert torch.equal(taken, part[rows])


def test_parts_that_there_are_not_stay_so() -> None:
    label = Condition(label=torch.tensor([5, 6]))
    assert label.rows(slice(1, 2)) == Condition(label=torch.tensor([6]))
    assert label.to("cpu").vector is None
    assert label.repeat_interleave(2).image is None


def test_each_sample_is_repeated_in_a_row() -> None:
    condition = whole()
    repeated = condition.repeat_interleave(2)
    assert repeated.label.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for part, twice in zip(condition, repeated, strict=True):
        assert torch.equal(twice[::2], part)
        assert torch.equal(twice[1::2], part)


def test_a_label_alone_gives_its_classes() -> None:
    assert ConditionShapes().only_label("x") == 0
    assert ConditionShapes(num_classes=7).only_label("x") == 7
