"""Sub-bands: orthonormal transforms, and networks between them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from ddgan import RunConfig
from ddgan.networks import subbands
from ddgan.networks.conditions import ConditionShapes
from ddgan.networks.ncsnpp import NCSNppConfig
from ddgan.networks.resnet import ResNetDiscriminatorConfig
from ddgan.networks.subbands import (
    SubbandDiscriminatorConfig,
    SubbandGenerator,
    SubbandGeneratorConfig,
    merged,
    split,
)

BOTH = pytest.mark.parametrize("transform", ["haar", "unshuffle"])
INNER = NCSNppConfig(base_channels=8, channel_multipliers=(1, 1), num_blocks=1, attention_resolutions=())


@BOTH
def test_the_inverse_and_the_norm(transform: Any) -> None:
    x = torch.randn(3, 2, 6, 10, dtype=torch.float64)
    bands = split(x, transform)
    assert bands.shape == (3, 8, 3, 5)
    torch.testing.assert_close(merged(bands, transform), x)
    torch.testing.assert_close(bands.square().sum(), x.square().sum())


@BOTH
@pytest.mark.parametrize("sizes", [(10,), (96,), (12, 20), (8, 12, 10)], ids=str)
def test_signals_and_volumes_have_an_inverse_and_a_norm_too(transform: Any, sizes: tuple[int, ...]) -> None:
    x = torch.randn(3, 2, *sizes, dtype=torch.float64)
    bands = split(x, transform)
    assert bands.shape == (3, 2 * 2 ** len(sizes), *(size // 2 for size in sizes))
    torch.testing.assert_close(merged(bands, transform), x)
    torch.testing.assert_close(bands.square().sum(), x.square().sum())


@BOTH
def test_volumes_are_split_one_axis_after_the_other(transform: Any) -> None:
    """The transform of a volume is that of a signal along each axis, the last axis being the last bit."""
    x = torch.randn(2, 3, 4, 6, 8, dtype=torch.float64)
    expected = x.unsqueeze(2)  # (B, C, bands, *sizes)
    for axis in (3, 4, 5):
        signals = expected.movedim(axis, -1)
        halves = split(signals.reshape(-1, 1, signals.shape[-1]), transform)
        halves = halves.view(*signals.shape[:-1], 2, -1).movedim(-1, axis).movedim(-1, 3)
        expected = halves.flatten(2, 3)
    torch.testing.assert_close(split(x, transform), expected.flatten(1, 2))


def test_blocks_of_images_are_those_of_pixel_unshuffle() -> None:
    x = torch.randn(2, 3, 6, 10)
    blocks = subbands._unshuffled(x)
    assert torch.equal(blocks, torch.nn.functional.pixel_unshuffle(x, 2))
    assert torch.equal(subbands._shuffled(blocks), x)


def test_the_bands_of_known_blocks() -> None:
    block = torch.tensor([[1.0, 2.0], [3.0, 5.0]]).view(1, 1, 2, 2)
    assert split(block, "unshuffle").flatten().tolist() == [1, 2, 3, 5]
    # (sum, left minus right, top minus bottom, diagonal minus the other) / 2
    assert split(block, "haar").flatten().tolist() == [5.5, -1.5, -2.5, 0.5]


@BOTH
def test_an_identity_inside_is_an_identity_up_to_its_scale(transform: Any) -> None:
    class Same(nn.Module):
        def forward(self, x: torch.Tensor, *others: Any) -> torch.Tensor:
            return x

    x = torch.randn(2, 3, 4, 4)
    output = SubbandGenerator(transform, Same())(x, torch.ones(2), torch.zeros(2, 0))
    torch.testing.assert_close(output, (2 if transform == "haar" else 1) * x)


@BOTH
@pytest.mark.parametrize("dimensions", [1, 2, 3])
def test_every_sample_is_within_reach_of_tanh(transform: Any, dimensions: int) -> None:
    corners = torch.tensor([-1.0, 1.0]).expand(2**dimensions, 2)
    blocks = torch.cartesian_prod(*corners).view(-1, 1, *[2] * dimensions)
    largest = 2 ** (dimensions / 2) if transform == "haar" else 1
    assert float(split(blocks, transform).abs().max()) == pytest.approx(largest)
    assert subbands.largest(transform, dimensions) == pytest.approx(largest)


@BOTH
def test_networks_train_and_the_generator_costs_less(transform: Any) -> None:
    config = SubbandGeneratorConfig(transform=transform, network=INNER)
    generator = config.build((3, 16, 16), ConditionShapes(num_classes=2))
    assert config.latent_size == INNER.latent_size
    assert config.activation_floats((3, 16, 16)) == INNER.activation_floats((3, 16, 16)) // 4
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([1, 2])
    from ddgan.networks.conditions import Condition

    label = Condition(label=torch.tensor([0, 1]))
    assert generator(x, t, torch.randn(2, 100), label).shape == x.shape
    discriminator = SubbandDiscriminatorConfig(
        transform=transform,
        network=ResNetDiscriminatorConfig(
            base_channels=8, channel_multipliers=(1, 1), downsample=(False, True)
        ),
    ).build((3, 16, 16))
    logits = discriminator(x, x, t)
    logits.sum().backward()
    assert logits.shape == (2,)
    assert all(parameter.grad is not None for parameter in discriminator.parameters())
    assert list(discriminator.independent_rows(16, 0.25)) == [0, 4, 8, 12]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((2,), r"kind is subbands, which takes signals .* use the kind mlp"),
        (
            (3, 7, 8),
            "needs even sizes, but the samples have size 7 x 8; use the inner network",
        ),
        ((3, 6, 6), "network.channel_mul"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SubbandGeneratorConfig(network=INNER).build(shape)


@BOTH
@pytest.mark.parametrize("shape", [(2, 24), (1, 4, 8, 12)], ids=str)
def test_signals_and_volumes_have_networks_too(transform: Any, shape: tuple[int, ...]) -> None:
    generator = SubbandGeneratorConfig(transform=transform, network=INNER).build(shape)
    inner = ResNetDiscriminatorConfig(base_channels=4, channel_multipliers=(1,), downsample=(True,))
    discriminator = SubbandDiscriminatorConfig(transform=transform, network=inner).build(shape)
    x, t = torch.randn(2, *shape), torch.tensor([1, 2])
    assert generator(x, t, torch.randn(2, 100)).shape == x.shape
    assert discriminator(x, x, t).shape == (2,)


def test_they_are_chosen_by_kind(tiny_config: RunConfig) -> None:
    config = tiny_config.changed(
        {"generator": {"kind": "subbands", "transform": "unshuffle", "network": {"kind": "mlp"}}}
    )
    assert RunConfig.from_dict(config.to_dict()) == config
