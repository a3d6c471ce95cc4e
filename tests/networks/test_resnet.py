"""The convolutional discriminator, and the minibatch standard deviation for every batch size."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.resnet import Discriminator, ResNetDiscriminatorConfig, minibatch_stddev

SMALL: dict[str, Any] = {
    "base_channels": 6,
    "channel_multipliers": (1, 2),
    "downsample": (False, True),
    "time_features": 8,
}


def lively(channels: int = 3, num_classes: int = 0, **changes: Any) -> Discriminator:
    torch.manual_seed(0)
    config = ResNetDiscriminatorConfig(**(SMALL | changes))
    network = config.build((channels, 8, 8), ConditionShapes(num_classes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def by_loops(h: Tensor, group: int) -> Tensor:
    """The published definition, spelled out; the last groups are smaller where it does not divide."""
    batch, _, height, width = h.shape
    groups = math.ceil(batch / group)
    result = torch.empty(batch, 1, height, width, dtype=h.dtype)
    for first in range(groups):
        members = list(range(first, batch, groups))
        values = torch.stack([h[i] for i in members])
        stddev = ((values - values.mean(0)).square().mean(0) + 1e-8).sqrt().mean()
        for i in members:
            result[i] = stddev
    return torch.cat([h, result], dim=1)


@settings(max_examples=80, deadline=None)
@given(batch=st.integers(1, 33), group=st.integers(1, 9), channels=st.integers(1, 3), size=st.integers(1, 3))
def test_minibatch_stddev_for_every_batch_size(batch: int, group: int, channels: int, size: int) -> None:
    rng = torch.Generator().manual_seed(batch * 100 + group)
    h = torch.randn(batch, channels, size, size, generator=rng, dtype=torch.float64)
    torch.testing.assert_close(minibatch_stddev(h, group), by_loops(h, group))


def test_minibatch_stddev_of_float16_is_that_of_float32() -> None:
    """In float16 the squares of these deviations, and the constant below the root, would be 0."""
    torch.manual_seed(0)
    whole = (1e-4 * torch.randn(4, 3, 2, 2)).half().float().requires_grad_(True)
    short = whole.detach().half().requires_grad_(True)
    found, expected = minibatch_stddev(short, 4), minibatch_stddev(whole, 4)
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-7)
    slopes = [
        torch.autograd.grad(y[:, -1].float().sum(), x)[0] for y, x in ((found, short), (expected, whole))
    ]
    torch.testing.assert_close(slopes[0].float(), slopes[1], rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("batch", [3, 4, 5])
def test_minibatch_stddev_can_be_differentiated_twice(batch: int) -> None:
    h = torch.randn(batch, 1, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda h: minibatch_stddev(h.sin(), 2), (h,))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stddev_group": 0},
        {"channels": 1, "channel_multipliers": (2,), "downsample": (True,)},
        {"channel_multipliers": (1, 1, 2), "downsample": (True, True, True)},
        {"num_classes": 2},
    ],
    ids=str,
)
def test_every_parameter_gets_a_finite_gradient(changes: dict[str, Any]) -> None:
    network = lively(**changes)
    x_prev, x_t = torch.randn(2, 5, changes.get("channels", 3), 8, 8)
    told = Condition(label=torch.tensor([0, 1, 2, 0, 1])) if "num_classes" in changes else None
    logits = network(x_prev, x_t, torch.arange(5) + 1, told)
    assert logits.shape == (5,)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("which", ["x_prev", "x_t", "t"])
def test_each_input_matters_and_without_stddev_to_its_own_image_only(which: str) -> None:
    network = lively(stddev_group=0)
    arguments = dict(zip(("x_prev", "x_t"), torch.randn(2, 4, 3, 8, 8), strict=True))
    arguments["t"] = torch.tensor([1, 2, 3, 4])
    before = network(**arguments)
    arguments[which] = arguments[which].clone()
    arguments[which][2] += 1
    after = network(**arguments)
    changed = (after - before).abs() > 1e-5
    assert changed.tolist() == [False, False, True, False]


def test_with_stddev_the_images_of_a_group_see_each_other() -> None:
    network = lively(stddev_group=2)
    x_prev, x_t = torch.randn(2, 4, 3, 8, 8)
    t = torch.ones(4, dtype=torch.int64)
    before = network(x_prev, x_t, t)
    x_prev[2] += 1  # with two groups, images 0 and 2 are together
    changed = (network(x_prev, x_t, t) - before).abs() > 1e-6
    assert changed.tolist() == [True, False, True, False]


def test_the_class_decides_and_none_is_the_null_class() -> None:
    network = lively(num_classes=2, stddev_group=0)
    x_prev, x_t = torch.randn(2, 3, 3, 8, 8)
    t = torch.tensor([1, 2, 3])
    null = network(x_prev, x_t, t, Condition(label=torch.full((3,), 2)))
    torch.testing.assert_close(network(x_prev, x_t, t), null)
    told = network(x_prev, x_t, t, Condition(label=torch.tensor([2, 0, 2])))
    assert ((told - null).abs() > 1e-4).tolist() == [False, True, False]


def test_rectangles_have_logits_too() -> None:
    network = ResNetDiscriminatorConfig(**SMALL).build((3, 4, 10))
    assert network(*torch.randn(2, 5, 3, 4, 10), torch.arange(5) + 1).shape == (5,)


@pytest.mark.parametrize("pooling", ["sum", "flat"])
@pytest.mark.parametrize("shape", [(2, 24), (1, 4, 6, 10)], ids=str)
def test_signals_and_volumes_have_logits_too(shape: tuple[int, ...], pooling: Any) -> None:
    network = ResNetDiscriminatorConfig(**SMALL, pooling=pooling).build(shape)
    logits = network(*torch.randn(2, 5, *shape), torch.arange(5) + 1)
    assert logits.shape == (5,)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 9), group=st.integers(1, 4), sizes=st.lists(st.integers(1, 3), max_size=3))
def test_minibatch_stddev_of_any_shape_is_that_of_its_values(
    batch: int, group: int, sizes: list[int]
) -> None:
    h = torch.randn(batch, 2, *sizes, dtype=torch.float64)
    flat = minibatch_stddev(h.reshape(batch, 2, 1, -1), group)
    torch.testing.assert_close(minibatch_stddev(h, group), flat.view(batch, 3, *sizes))


@pytest.mark.parametrize("shape", [(1, 4), (1, 2, 2, 2)], ids=str)
def test_r1_of_signals_and_volumes_can_be_differentiated(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    changes = {"base_channels": 2, "channel_multipliers": (1,), "downsample": (True,), "time_features": 2}
    network = ResNetDiscriminatorConfig(**changes).build(shape).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    x_prev, x_t = torch.randn(2, 2, *shape, dtype=torch.float64)
    t = torch.tensor([1, 2])
    assert torch.autograd.gradgradcheck(lambda x: network(x, x_t, t), (x_prev.requires_grad_(),))


@pytest.mark.parametrize("shape", [(3, 7, 7), (3, 8, 7)])
def test_sizes_that_cannot_be_halved_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        ValueError,
        match=rf"^downsample halves the size 1 times, but the samples have size {shape[1]} x {shape[2]}; "
        r"use sizes that are multiples of 2, or fewer halvings$",
    ):
        ResNetDiscriminatorConfig(**SMALL).build(shape)


def test_points_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^kind is resnet, which takes signals .* \[2\]; use the kind mlp$"):
        ResNetDiscriminatorConfig(**SMALL).build((2,))


def test_each_block_says_whether_it_halves() -> None:
    with pytest.raises(
        ValueError, match=r"^downsample has 1 entries and channel_multipliers 2; each needs one"
    ):
        ResNetDiscriminatorConfig(channel_multipliers=(1, 2), downsample=(True,))


def test_flat_pooling_tells_places_apart() -> None:
    """A feature map of the same values in other places has the same sum, but another logit."""
    torch.manual_seed(0)
    logits = {}
    for pooling in ("sum", "flat"):
        config = ResNetDiscriminatorConfig(
            base_channels=8, channel_multipliers=(1,), downsample=(False,), time_features=8, pooling=pooling
        )
        network = config.build((1, 8, 8))
        with torch.no_grad():
            network.output_conv.weight.normal_()
        x = torch.zeros(2, 1, 8, 8)
        x[0, 0, 2, 2], x[1, 0, 5, 4] = 1.0, 1.0  # away from the edges, so that sums are equal
        logits[pooling] = network(x, torch.zeros_like(x), torch.ones(2, dtype=torch.int64)).detach()
    torch.testing.assert_close(logits["sum"][0], logits["sum"][1])
    assert float((logits["flat"][0] - logits["flat"][1]).abs()) > 1e-3
