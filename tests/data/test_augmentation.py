"""Augmentation: the flip, and random numbers that belong to samples, not to processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ddgan import RunConfig
from ddgan.config.components import find
from ddgan.data.augmentation import HorizontalFlipConfig
from ddgan.data.batch import EVERY, Batch
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.system.processes import Processes
from ddgan.system.randomness import generator_for
from ddgan.training.setup import training_inputs

SHARES = torch.tensor([0.0, 0.499, 0.5, 0.999])
"""Where uniform numbers stand to the default probability, 0.5."""


def shares(purpose: str) -> Tensor:
    assert purpose == "flip"
    return SHARES


def refuse(purpose: str) -> Tensor:
    raise AssertionError("no random number is needed")


def by_hand(x: Tensor, rows: list[int]) -> Tensor:
    """The samples, with these rows mirrored one by one."""
    flipped = x.numpy().copy()
    for row in rows:
        flipped[row] = np.fliplr(flipped[row].reshape(-1, x.shape[-1])).reshape(x.shape[1:])
    return torch.from_numpy(flipped)


@pytest.mark.parametrize("shape", [(3, 4, 6), (1, 5, 5), (2, 7), (2, 3, 4, 5)], ids=str)
def test_chosen_samples_are_mirrored_left_to_right(shape: tuple[int, ...]) -> None:
    batch = Batch(torch.randn(4, *shape))
    flipped = HorizontalFlipConfig().apply(batch, shares)
    assert torch.equal(flipped.x, by_hand(batch.x, [0, 1]))
    assert flipped.condition is None


@pytest.mark.parametrize(
    ("probability", "rows"), [(0.0, []), (0.001, [0]), (0.6, [0, 1, 2]), (1.0, [0, 1, 2, 3])]
)
def test_the_probability_decides_how_many(probability: float, rows: list[int]) -> None:
    batch = Batch(torch.randn(4, 3, 8, 8))
    assert torch.equal(HorizontalFlipConfig(probability).apply(batch, shares).x, by_hand(batch.x, rows))


def test_an_image_condition_moves_with_its_sample_and_nothing_else_does() -> None:
    x, aligned = torch.randn(4, 3, 5, 6), torch.randn(4, 1, 5, 6)
    condition = Condition(label=torch.arange(4), vector=torch.randn(4, 2), image=aligned)
    flipped = HorizontalFlipConfig().apply(Batch(x, condition), shares)
    assert flipped.condition is not None
    assert flipped.condition.label is condition.label
    assert flipped.condition.vector is condition.vector
    assert flipped.condition.image is not None
    assert torch.equal(flipped.x, by_hand(x, [0, 1]))
    assert torch.equal(flipped.condition.image, by_hand(aligned, [0, 1]))
    assert torch.equal(condition.image, aligned)  # the batch itself stays


def test_points_have_no_sides() -> None:
    batch = Batch(torch.randn(4, 2), Condition(label=torch.arange(4)))
    assert HorizontalFlipConfig(1.0).apply(batch, refuse) is batch


@pytest.mark.parametrize("probability", [-0.1, 1.1, float("nan"), True])
def test_a_probability_lies_in_0_to_1(probability: float) -> None:
    with pytest.raises(ValueError, match=r"^probability is .*; it must be") as caught:
        HorizontalFlipConfig(probability)
    assert "\n" not in str(caught.value)
    assert find("augmentation", "horizontal_flip") is HorizontalFlipConfig


class Columns:
    """Images whose columns count from 0 to 7."""

    sample_shape, conditions, checksum = (3, 8, 8), ConditionShapes(), ""

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        return Batch(torch.arange(8.0).expand(size, 3, 8, 8).clone()).rows(rows)

    def held_out(self, size: int) -> Batch | None:
        return None


@pytest.mark.parametrize("count", [1, 2, 4])
def test_what_is_flipped_depends_on_seed_step_and_place_in_the_batch_alone(
    tiny_config: RunConfig, count: int
) -> None:
    """However many processes share the batch."""
    config = tiny_config.changed({"augmentation": ["horizontal_flip"], "training.batch_size": 64, "seed": 5})
    cpu = torch.device("cpu")
    for step in (0, 3):
        uniform = torch.rand(64, generator=generator_for(5, "flip", step))
        parts = [
            training_inputs(config, Columns(), Processes(cpu, rank, count))(step)[0].x
            for rank in range(count)
        ]
        is_flipped = torch.cat(parts)[:, 0, 0, 0] == 7
        assert torch.equal(is_flipped, uniform < 0.5)
        assert 0 < is_flipped.sum() < 64
