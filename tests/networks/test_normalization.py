"""Group norm, scale, shift and SiLU in one: against its parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks.normalization import group_norm_silu


def one_by_one(norm: nn.GroupNorm, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    normed = F.group_norm(h, norm.num_groups, eps=norm.eps)
    return F.silu(normed * scale[..., None, None] + shift[..., None, None])


LAYOUTS = {"last": torch.channels_last, "first": torch.contiguous_format}


@pytest.mark.parametrize("of_slope", LAYOUTS)
@pytest.mark.parametrize("of_h", [*LAYOUTS, "neither"])
@pytest.mark.parametrize("rows", [(), (3,)])
def test_value_and_gradients_are_those_of_its_parts(of_h: str, of_slope: str, rows: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 8, eps=1e-6).double()
    h = torch.randn(3, 8, 4, 6, dtype=torch.float64)
    h = h.transpose(2, 3) if of_h == "neither" else h.contiguous(memory_format=LAYOUTS[of_h])
    h.requires_grad_()
    scale, shift = (torch.randn(*rows, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    slope = torch.randn(h.shape, dtype=torch.float64).contiguous(memory_format=LAYOUTS[of_slope])
    found, expected = group_norm_silu(norm, h, scale, shift), one_by_one(norm, h, scale, shift)
    torch.testing.assert_close(found, expected)
    inputs = (h, scale, shift)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, slope), torch.autograd.grad(expected, inputs, slope)
    )


def test_without_scale_and_shift_it_has_the_norms_own() -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 8)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    h = torch.randn(2, 8, 4, 4)
    torch.testing.assert_close(group_norm_silu(norm, h), F.silu(norm(h)))
    group_norm_silu(norm, h).sum().backward()
    assert norm.weight.grad is not None
    assert norm.weight.grad.any()


def test_it_keeps_one_feature_for_the_backward_pass() -> None:
    norm, h = nn.GroupNorm(2, 8), torch.randn(2, 8, 16, 16, requires_grad=True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()), lambda x: x):
        group_norm_silu(norm, h)
    assert sum(size >= h.numel() for size in kept) == 1


@pytest.mark.parametrize("asked", [(True, True, True), (True, False, False), (False, True, False)])
def test_second_derivatives(asked: tuple[bool, bool, bool]) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 4).double()
    shapes = [(2, 4, 2, 2), (2, 4), (2, 4)]
    inputs = [
        torch.randn(shape, dtype=torch.float64, requires_grad=wanted)
        for shape, wanted in zip(shapes, asked, strict=True)
    ]
    assert torch.autograd.gradgradcheck(lambda *values: group_norm_silu(norm, *values), inputs)


def test_autocast_computes_its_parts() -> None:
    norm, h = nn.GroupNorm(2, 8), torch.randn(2, 8, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(group_norm_silu(norm, h), F.silu(norm(h)))
