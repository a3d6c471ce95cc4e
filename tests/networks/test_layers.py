"""The parts of both networks, against closed forms and torch's own layers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ddgan.networks import layers


@pytest.mark.parametrize("shape", [(300, 200), (64, 32, 3, 3)])
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_variance_scaling(shape: tuple[int, ...], scale: float) -> None:
    torch.manual_seed(0)
    weight = torch.empty(shape)
    layers.variance_scaling_(weight, scale)
    fan_average = (shape[0] + shape[1]) / 2 * math.prod(shape[2:])
    assert weight.var().item() == pytest.approx(scale / fan_average, rel=0.03)
    assert weight.abs().max().item() <= math.sqrt(3 * scale / fan_average)


def test_sinusoidal_embedding_is_sines_then_cosines() -> None:
    embedding = layers.sinusoidal_embedding(torch.tensor([0, 3]), 6, torch.float64)
    frequencies = [1.0, 10000**-0.5, 1 / 10000]
    row = [math.sin(3 * f) for f in frequencies] + [math.cos(3 * f) for f in frequencies]
    expected = torch.tensor([[0, 0, 0, 1, 1, 1], row], dtype=torch.float64)
    torch.testing.assert_close(embedding, expected)


def test_time_embedding_counts_from_zero_inside() -> None:
    embed = layers.TimeEmbedding(4, 5, nn.SiLU())
    by_hand = embed.output(
        F.silu(embed.input(layers.sinusoidal_embedding(torch.tensor([0]), 4, torch.float32)))
    )
    torch.testing.assert_close(embed(torch.tensor([1])), by_hand)


@given(channels=st.integers(1, 600))
def test_groups_divide_the_channels(channels: int) -> None:
    groups = layers.num_groups(channels)
    assert channels % groups == 0
    assert 1 <= groups <= 32


def test_groups_of_common_widths() -> None:
    assert [layers.num_groups(c) for c in (4, 32, 64, 128, 192, 256)] == [1, 8, 16, 32, 32, 32]


def test_adaptive_group_norm_starts_as_group_norm() -> None:
    norm = layers.AdaptiveGroupNorm(8, style_features=3)
    assert norm.style is not None
    h, w = torch.randn(2, 8, 4, 4), torch.randn(2, 3)
    nn.init.zeros_(norm.style.weight)
    torch.testing.assert_close(norm(h, w), F.silu(F.group_norm(h, 2, eps=1e-6)))
    nn.init.constant_(norm.style.bias[:8], 3.0)
    nn.init.constant_(norm.style.bias[8:], 0.5)
    torch.testing.assert_close(norm(h, w), F.silu(3 * F.group_norm(h, 2, eps=1e-6) + 0.5))


def test_attention_equals_torch_multi_head_attention() -> None:
    torch.manual_seed(0)
    ours = layers.Attention(8).double()
    theirs = nn.MultiheadAttention(8, 1, batch_first=True).double()
    projections = (ours.query, ours.key, ours.value)
    with torch.no_grad():
        for layer in (*projections, ours.output):
            layer.weight.copy_(torch.randn_like(layer.weight))
            layer.bias.copy_(torch.randn_like(layer.bias))
        theirs.in_proj_weight.copy_(torch.cat([layer.weight[:, :, 0, 0] for layer in projections]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in projections]))
        theirs.out_proj.weight.copy_(ours.output.weight[:, :, 0, 0])
        theirs.out_proj.bias.copy_(ours.output.bias)
    h = torch.randn(2, 8, 3, 5, dtype=torch.float64)
    positions = ours.norm(h).flatten(2).transpose(1, 2)
    attended, _ = theirs(positions, positions, positions)
    expected = (h + attended.transpose(1, 2).reshape(h.shape)) / math.sqrt(2)
    torch.testing.assert_close(ours(h), expected)
