"""Choices as settings: networks that can be built for every shape."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ddgan import RunConfig
from ddgan.planning.choices import Choices
from ddgan.training.setup import build_networks

CHOICES = Choices((3, 32, 32), False, 32, True, 32, (4e-4, 2e-4), 0.02, 25.0, True, True, 400_000.0)


@pytest.mark.parametrize("in_subbands", [True, False])
@pytest.mark.parametrize(
    "shape",
    [
        (3, 8, 8),
        (1, 16, 16),
        (3, 32, 32),
        (3, 64, 64),
        (4, 128, 128),
        (3, 256, 256),
        (3, 48, 80),
        (1, 28, 28),
    ],
)
def test_networks_can_be_built_and_end_at_small_maps(shape: tuple[int, int, int], in_subbands: bool) -> None:
    choices = dataclasses.replace(CHOICES, shape=shape, in_subbands=in_subbands)
    config = RunConfig.from_dict(choices.settings())
    with torch.device("meta"):
        assert build_networks(config, shape).keys() == {"generator", "discriminator"}
    inner = config.generator.network if in_subbands else config.generator
    smallest = inner.resolutions(tuple(side // (2 if in_subbands else 1) for side in (0, *shape[1:])))[-1]
    assert 4 <= min(smallest) <= 8


def test_the_settings_are_those_that_were_chosen() -> None:
    config = RunConfig.from_dict(dataclasses.replace(CHOICES, classes=True, accumulation=2).settings())
    assert (config.diffusion.num_steps, config.training.batch_size, config.training.accumulation) == (
        4,
        32,
        2,
    )
    assert config.conditions.label is not None
    assert config.conditions.label.classes == "auto"
    assert (config.method.penalties[0].gamma, config.method.reconstruction.weight) == (0.02, 25.0)
    assert config.method.augmentation.target == 0.6
    assert config.method.augmentation.images == 100.0  # a quarter of the images seen, in thousands
    assert config.generator.kind == config.method.discriminators["pair"].kind == "subbands"
    assert [one.kind for one in config.augmentation] == ["horizontal_flip"]


def test_d_sees_no_flips_where_they_would_change_text() -> None:
    config = RunConfig.from_dict(dataclasses.replace(CHOICES, flipped=False).settings())
    assert config.augmentation == ()
    assert not config.method.augmentation.flips
    plain = RunConfig.from_dict(dataclasses.replace(CHOICES, augmented=False).settings())
    assert plain.method.augmentation is None
