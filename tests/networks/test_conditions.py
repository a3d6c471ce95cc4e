"""Conditions keep their parts together on every way."""

from __future__ import annotations

import pytest
import torch

from ddgan.networks.conditions import Condition, ConditionShapes, with_presence


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


@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 8), (4, 3, 6, 5), (4, 3, 2, 4, 5)], ids=str)
def test_presence_is_one_more_number_or_channel_of_ones(shape: tuple[int, ...]) -> None:
    values = torch.randn(shape)
    given = with_presence(values)
    assert torch.equal(given[:, :-1], values)
    assert torch.equal(given[:, -1:], torch.ones(shape[0], 1, *shape[2:]))


def test_what_is_dropped_is_the_null_class_and_zeros() -> None:
    given = Condition(torch.arange(4), with_presence(torch.randn(4, 3)), with_presence(torch.randn(4, 2, 5)))
    rows = torch.tensor([True, False, False, True])
    dropped = given.dropped(rows, 4)
    assert dropped.label.tolist() == [4, 1, 2, 4]
    for part, before in zip(dropped[1:], given[1:], strict=True):
        assert not part[rows].any()
        assert torch.equal(part[~rows], before[~rows])
    only_image = given.dropped(rows, 4, ["image"])
    assert only_image[:2] == given[:2]
    assert torch.equal(only_image.image, dropped.image)
    assert Condition(label=torch.tensor([1])).dropped(torch.tensor([True]), 2) == Condition(torch.tensor([2]))


def test_what_does_not_exist_and_is_dropped_is_no_number_either() -> None:
    rows = torch.tensor([True])
    assert Condition(vector=torch.full((1, 2), torch.nan)).dropped(rows, 0).vector.tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("sample_shape", [(3, 8, 6), (2, 8), (5,)], ids=str)
def test_nothing_given_is_everything_dropped(sample_shape: tuple[int, ...]) -> None:
    shapes = ConditionShapes(num_classes=7, vector_features=3, image_channels=2)
    assert (shapes.vector_inputs, shapes.image_inputs) == (4, 3)
    given = Condition(
        torch.arange(4),
        with_presence(torch.randn(4, 3)),
        with_presence(torch.randn(4, 2, *sample_shape[1:])),
    )
    for part, other in zip(
        shapes.null(4, sample_shape), given.dropped(torch.ones(4, dtype=torch.bool), 7), strict=True
    ):
        assert torch.equal(part, other)
    assert ConditionShapes().null(4, sample_shape) is None
    (label, *others) = ConditionShapes(2).null(1, sample_shape, "meta")
    assert label.device.type == "meta"
    assert others == [None, None]
    assert ConditionShapes(2).vector_inputs == ConditionShapes(2).image_inputs == 0
