"""Winograd convolutions against direct ones in double precision, to the second derivative."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from ddgan.networks.kernels import winograd
from ddgan.networks.kernels.winograd import Conv2d, convolution, kernels_kept, pays


def operands(
    batch: int = 2, inputs: int = 5, outputs: int = 7, height: int = 8, width: int = 12
) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    x = torch.randn(batch, inputs, height, width).contiguous(memory_format=torch.channels_last)
    return x.requires_grad_(), torch.randn(outputs, inputs, 3, 3, requires_grad=True), torch.randn(outputs)


def exact(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.conv2d(x.double(), weight.double(), None if bias is None else bias.double(), padding=1)


def error(found: Tensor, expected: Tensor) -> float:
    return float(((found - expected).norm() / expected.norm()).detach())


@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_it_is_the_convolution(batch: int, inputs: int, outputs: int, rows: int, columns: int) -> None:
    x, weight, bias = operands(batch, inputs, outputs, 4 * rows, 4 * columns)
    found = convolution(x, weight, bias)
    assert found.shape == (batch, outputs, 4 * rows, 4 * columns)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert error(found, exact(x, weight, bias)) < 5e-6


@pytest.mark.parametrize("chunk", [1, 40, 2_000, 2**22])
def test_the_size_of_a_chunk_changes_nothing(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, bias = operands(batch=3)
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    y = convolution(x, weight, bias)
    (of_weight,) = torch.autograd.grad(y.square().sum(), weight)
    (expected,) = torch.autograd.grad(exact(x, weight, bias).square().sum(), weight)
    assert error(y, exact(x, weight, bias)) < 5e-6
    assert error(of_weight, expected) < 5e-6


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_gradients_of_the_first_and_second_order(layout: torch.memory_format) -> None:
    x, weight, bias = operands()
    weight = weight.detach().contiguous(memory_format=layout).requires_grad_()
    bias.requires_grad_()
    inputs, slope = (x, weight, bias), torch.randn(2, 7, 8, 12, requires_grad=True)

    def derivatives(y: Tensor) -> tuple[Tensor, ...]:
        first = torch.autograd.grad(y, inputs, slope.to(y), create_graph=True)
        both = first[0].pow(3).sum() + first[1].pow(3).sum()  # uneven, so that every order shows
        return (*first, *torch.autograd.grad(both, (x, weight, slope)))

    for found, expected in zip(derivatives(convolution(*inputs)), derivatives(exact(*inputs)), strict=True):
        assert error(found, expected) < 1e-5


def test_what_is_returned_is_not_a_scratch_buffer() -> None:
    x, weight, _ = operands()
    y = convolution(x, weight)
    (of_weight,) = torch.autograd.grad(y.sum(), weight, retain_graph=True)
    before = y.clone(), of_weight.clone()
    torch.autograd.grad(convolution(2 * x, 3 * weight).sum(), weight)
    assert torch.equal(y, before[0])
    assert torch.equal(of_weight, before[1])


def test_inference_mode_leaves_scratch_buffers_that_training_can_use() -> None:
    for name in list(vars(winograd._buffers)):
        delattr(winograd._buffers, name)
    x, weight, _ = operands()
    with torch.inference_mode():
        convolution(x, weight)
    convolution(x, weight).sum().backward()
    assert weight.grad is not None


def large(**changes: int) -> tuple[Tensor, Tensor]:
    x, weight, _ = operands(
        **({"batch": 4, "inputs": 64, "outputs": 64, "height": 16, "width": 16} | changes)
    )
    return x.detach(), weight.detach()


def test_where_it_is_used() -> None:
    x, weight = large()
    assert pays(x, weight)
    assert not pays(x.contiguous(), weight), "channels are not innermost"
    assert not pays(x.double(), weight.double())
    assert not pays(x.bfloat16(), weight.bfloat16())
    assert not pays(x, weight[:, :, :1, :1])
    assert not pays(*large(batch=1)), "few tiles"
    assert not pays(*large(inputs=32)), "few channels"
    assert not pays(*large(height=18)), "18 is not a multiple of 4"
    with torch.autocast("cpu", torch.bfloat16):
        assert not pays(x, weight)


def test_a_layer_computes_the_same_either_way() -> None:
    x, _ = large()
    layer = Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    expected = exact(x, layer.weight, layer.bias)
    assert error(layer(x), expected) < 5e-6
    assert error(layer(x.contiguous()), expected) < 5e-6
    strided = Conv2d(64, 64, 3, padding=1, stride=2)
    strided.load_state_dict(layer.state_dict())
    assert error(strided(x), expected[:, :, ::2, ::2]) < 5e-6
    assert Conv2d(64, 64, 3)(x).shape == (4, 64, 14, 14), "without padding it is left to torch"


def test_kept_kernels_live_as_long_as_the_context() -> None:
    x, _ = large()
    layer = Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    with torch.no_grad(), kernels_kept(layer):
        first = layer(x)
        kept = layer._kernels
        assert kept is not None
        with kernels_kept(layer):
            assert torch.equal(layer(x), first)
        assert layer._kernels is kept, "the inner one is not the owner"
    assert layer._kernels is None
    assert not layer.keeps
    with torch.no_grad():
        layer.weight.mul_(2)
        assert not torch.equal(layer(x), first)
    assert not copy.deepcopy(layer).keeps


def test_training_ignores_kept_kernels() -> None:
    x, _ = large()
    layer = Conv2d(64, 64, 3, padding=1).to(memory_format=torch.channels_last)
    with kernels_kept(layer):
        layer(x).sum().backward()
        assert layer._kernels is None
    assert layer.weight.grad is not None
