"""Rounded weights stand for what they are stored as, and stay close to the weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ddgan.export.rounding import round_weights


@pytest.fixture
def layer() -> nn.Linear:
    layer = nn.Linear(64, 48)
    with torch.no_grad():
        layer.weight.mul_(torch.logspace(-3, 2, 48)[:, None])  # rows of very different sizes
        layer.weight[5] = 0
    return layer


def test_float32_leaves_everything(layer: nn.Linear) -> None:
    before = layer.weight.clone()
    assert round_weights(layer, "float32") == {}
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(("precision", "bytes_each"), [("fp16", 2), ("int8", 1)])
def test_the_network_computes_with_what_is_stored(layer: nn.Linear, precision: str, bytes_each: int) -> None:
    bias = layer.bias.clone()
    stored = round_weights(layer, precision)  # type: ignore[arg-type]
    assert list(stored) == ["weight"]
    assert stored["weight"].numbers.element_size() == bytes_each
    assert torch.equal(stored["weight"].value, layer.weight)
    assert torch.equal(layer.bias, bias)


def test_an_int8_weight_is_within_half_a_step_of_its_row(layer: nn.Linear) -> None:
    before = layer.weight.clone()
    numbers, scale = round_weights(layer, "int8")["weight"]
    assert scale is not None
    assert scale.shape == (48, 1)
    steps = before.abs().amax(dim=1, keepdim=True) / 127
    assert ((layer.weight - before).abs() <= steps / 2 * (1 + 1e-4)).all()
    reached = numbers.abs().amax(dim=1)
    assert (reached[torch.arange(48) != 5] == 127).all()
    assert (layer.weight[5] == 0).all()


def test_an_fp16_weight_is_within_half_a_unit_in_the_last_place(layer: nn.Linear) -> None:
    before = layer.weight.clone()
    round_weights(layer, "fp16")
    assert ((layer.weight - before).abs() <= before.abs() * 2**-11 + 2**-25).all()


def test_small_weights_stay() -> None:
    layer = nn.Linear(8, 8)
    before = layer.weight.clone()
    assert round_weights(layer, "int8") == {}
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize(("precision", "value"), [("fp16", 7e4), ("int8", float("nan"))])
def test_a_weight_that_cannot_be_stored_is_named(precision: str, value: float) -> None:
    layer = nn.Linear(64, 48)
    with torch.no_grad():
        layer.weight[0, 0] = value
    with pytest.raises(ValueError, match=f"precision is '{precision}', but the weight 'weight'.*use float32"):
        round_weights(layer, precision)  # type: ignore[arg-type]
