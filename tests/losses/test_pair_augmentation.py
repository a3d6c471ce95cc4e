"""Augmentation of D, against closed forms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from ddgan.losses.pair_augmentation import NUM_UNIFORMS, PairAugmentation, PairAugmentationConfig, adapted

NONE: dict[str, Any] = {"flips": False, "shift": 0.0, "scale": 0.0, "color": 0.0}


def augmented(x: Tensor, probability: float, seed: int = 0, **changes: Any) -> Tensor:
    uniform = torch.rand(len(x), NUM_UNIFORMS, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)
    return PairAugmentation(PairAugmentationConfig(**(NONE | changes)), probability, uniform)(x)


@pytest.fixture
def x() -> Tensor:
    return torch.rand(64, 3, 8, 8, dtype=torch.float64) * 2 - 1


def test_nothing_happens_with_probability_0_or_without_transforms(x: Tensor) -> None:
    torch.testing.assert_close(augmented(x, 0.0, flips=True, shift=0.5, scale=1.0, rotate=True, color=1.0), x)
    torch.testing.assert_close(augmented(x, 1.0), x)


def test_flips_and_turns_are_exact(x: Tensor) -> None:
    flipped = augmented(x, 1.0, flips=True)
    torch.testing.assert_close(flipped, x.flip(-1))
    turned = augmented(x, 1.0, turns=True)
    found = set()
    for before, after in zip(x, turned, strict=True):
        same = [k for k in range(4) if torch.allclose(torch.rot90(before, k, (1, 2)), after)]
        assert len(same) == 1
        found |= set(same)
    assert found == {0, 1, 2, 3}


def test_half_of_the_images_with_probability_one_half(x: Tensor) -> None:
    many = x.repeat(16, 1, 1, 1)
    changed = (augmented(many, 0.5, flips=True) - many).abs().flatten(1).sum(1) > 1e-9
    assert 0.44 < float(changed.double().mean()) < 0.56


def test_color_is_a_contrast_and_a_brightness_for_each_image(x: Tensor) -> None:
    made = augmented(x, 1.0, color=0.5)
    for before, after in zip(x.flatten(1), made.flatten(1), strict=True):
        slope = (after[1] - after[0]) / (before[1] - before[0])
        offset = after[0] - slope * before[0]
        torch.testing.assert_close(after, slope * before + offset)
        assert 0.1 < float(slope) < 10
        assert abs(float(offset)) <= 0.5 + 1e-9


def test_what_moves_along_moves_alike_and_keeps_its_values(x: Tensor) -> None:
    uniform = torch.rand(len(x), NUM_UNIFORMS, dtype=x.dtype)
    settings = (PairAugmentationConfig(rotate=True, color=color) for color in (0.5, 0.0))
    both, still = (PairAugmentation(config, 0.8, uniform) for config in settings)
    torch.testing.assert_close(both.moved(x), still(x))
    torch.testing.assert_close(both.moved(torch.ones_like(x)), torch.ones_like(x))


def test_a_constant_image_stays_constant_under_every_geometric_transform() -> None:
    x = torch.full((32, 1, 6, 6), 0.3, dtype=torch.float64)
    torch.testing.assert_close(
        augmented(x, 1.0, flips=True, turns=True, shift=0.3, scale=0.5, rotate=True), x
    )


def test_shifts_move_the_image_by_at_most_their_share() -> None:
    rows = torch.arange(16.0, dtype=torch.float64).view(1, 1, 16, 1).expand(200, 1, 16, 16)
    made = augmented(rows, 1.0, shift=0.125)
    moved = (made - rows)[:, 0, 8, 8]  # in pixels, away from the edges
    assert float(moved.abs().max()) <= 2 + 1e-9
    assert float(moved.abs().max()) > 1.5
    assert abs(float(moved.mean())) < 0.4


def test_both_images_of_a_pair_get_the_same_transform(x: Tensor) -> None:
    uniform = torch.rand(64, NUM_UNIFORMS, dtype=x.dtype)
    augment = PairAugmentation(PairAugmentationConfig(rotate=True, color=0.0), 0.8, uniform)
    y = torch.rand_like(x)
    torch.testing.assert_close(augment(x + 2 * y), augment(x) + 2 * augment(y))  # linear, so the same map


def test_gradients_reach_the_generator(x: Tensor) -> None:
    leaf = x[:4].clone().requires_grad_(True)
    uniform = torch.rand(4, NUM_UNIFORMS, dtype=x.dtype)
    augment = PairAugmentation(PairAugmentationConfig(), 0.8, uniform)
    assert torch.autograd.gradcheck(augment, leaf)


def test_the_probability_moves_towards_the_target_at_a_constant_rate() -> None:
    assert adapted(0.2, 0.9, 0.6, images=500, seen=50) == pytest.approx(0.3)
    assert adapted(0.2, 0.1, 0.6, images=500, seen=50) == pytest.approx(0.1)
    assert adapted(0.05, 0.1, 0.6, images=500, seen=50) == 0.0
    assert adapted(0.75, 0.9, 0.6, images=500, seen=50) == 0.8


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"probability": 0.9}, "at most 0.8"),
        ({"target": 1.0}, "below 1"),
        ({"shift": 0.6}, "at most 0.5"),
        ({"flips": 1}, "true or false"),
    ],
)
def test_wrong_settings_are_refused(values: dict[str, Any], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        PairAugmentationConfig(**values)
