"""Random numbers depend on what they are for, and on nothing else."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ddgan.system.randomness import ImageNoise, generator_for


def draw(seed: int, *key: int | str) -> torch.Tensor:
    return torch.randn(4, generator=generator_for(seed, *key))


def test_a_draw_depends_on_seed_and_key_alone() -> None:
    first = draw(3, "flip", 7)
    torch.manual_seed(0)
    torch.randn(5)
    assert torch.equal(draw(3, "flip", 7), first)


@pytest.mark.parametrize(
    "other", [(4, "flip", 7), (3, "weights", 7), (3, "flip", 8), (3, "flip"), (3, 7, "flip")]
)
def test_another_seed_or_key_gives_other_numbers(other: tuple[int | str, ...]) -> None:
    assert not torch.equal(draw(*other), draw(3, "flip", 7))


def test_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.randn(3)
    torch.manual_seed(0)
    ImageNoise(0, range(4))(2, 2)
    draw(0, "weights")
    assert torch.equal(torch.randn(3), expected)


@given(start=st.integers(0, 20), size=st.integers(1, 9))
def test_an_images_noise_does_not_depend_on_the_batch(start: int, size: int) -> None:
    whole, part = ImageNoise(5, range(30)), ImageNoise(5, range(start, start + size))
    for shape in ((3,), (1, 2, 2), (0,), (4,)):  # the same draws in the same order
        assert torch.equal(part(*shape), whole(*shape)[start : start + size])


def test_images_draws_and_seeds_differ() -> None:
    noise = ImageNoise(0, range(3))
    first, second = noise(4), noise(4)
    assert len({tuple(row.tolist()) for row in torch.cat([first, second, ImageNoise(1, range(3))(4)])}) == 9


def test_noise_is_standard_normal() -> None:
    noise = ImageNoise(0, range(16))(4096).double()
    assert noise.shape == (16, 4096)
    assert abs(noise.mean()) < 4 / noise.numel() ** 0.5
    assert abs(noise.var() - 1) < 4 * (2 / noise.numel()) ** 0.5
    across = torch.corrcoef(noise) - torch.eye(16)
    assert across.abs().max() < 5 / 4096**0.5


def test_a_stream_of_another_purpose_is_another_stream() -> None:
    ours, again, other = (
        ImageNoise(0, range(2)),
        ImageNoise(0, range(2)),
        ImageNoise(0, range(2), purpose="mask"),
    )
    assert not torch.equal(ours(4), other(4))
    again(4)
    assert torch.equal(ours(4), again(4))
