"""Group norm, scale, shift and SiLU in one: against its parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks.kernels.group_norm import group_norm_silu


def one_by_one(norm: nn.GroupNorm, h: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    normed = F.group_norm(h, norm.num_groups, eps=norm.eps)
    return F.silu(normed * scale[..., None, None] + shift[..., None, None])


LAYOUTS = {"last": torch.channels_last, "first": torch.contiguous_format}


# Under autocast, whatever is the type of h, a CPU does what a GPU does always.
PATHS = {"as on a CPU": False, "as on a GPU": True}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("of_slope", LAYOUTS)
@pytest.mark.parametrize("of_h", [*LAYOUTS, "neither"])
@pytest.mark.parametrize("rows", [(), (3,)])
def test_value_and_gradients_are_those_of_its_parts(
    path: str, of_h: str, of_slope: str, rows: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 8, eps=1e-6).double()
    h = torch.randn(3, 8, 4, 6, dtype=torch.float64)
    h = h.transpose(2, 3) if of_h == "neither" else h.contiguous(memory_format=LAYOUTS[of_h])
    h.requires_grad_()
    scale, shift = (torch.randn(*rows, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    slope = torch.randn(h.shape, dtype=torch.float64).contiguous(memory_format=LAYOUTS[of_slope])
    expected = one_by_one(norm, h, scale, shift)
    with torch.autocast("cpu", torch.bfloat16, enabled=PATHS[path]):
        found = group_norm_silu(norm, h, scale, shift)
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


@pytest.mark.parametrize("path", PATHS)
def test_it_keeps_one_feature_for_the_backward_pass(path: str) -> None:
    norm, h = nn.GroupNorm(2, 8), torch.randn(2, 8, 16, 16, requires_grad=True)
    kept: list[int] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x.numel()), lambda x: x)
    with hooks, torch.autocast("cpu", torch.bfloat16, enabled=PATHS[path]):
        group_norm_silu(norm, h)
    assert sum(size >= h.numel() for size in kept) == 1


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("asked", [(True, True, True), (True, False, False), (False, True, False)])
def test_second_derivatives(asked: tuple[bool, bool, bool], path: str) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 4).double()
    shapes = [(2, 4, 2, 2), (2, 4), (2, 4)]
    inputs = [
        torch.randn(shape, dtype=torch.float64, requires_grad=wanted)
        for shape, wanted in zip(shapes, asked, strict=True)
    ]

    def run(*values: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=PATHS[path]):
            return group_norm_silu(norm, *values)

    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize(("mean", "std"), [(100.0, 1.0), (1000.0, 1.0), (1.0, 0.001)])
def test_a_mean_far_above_the_spread_does_no_harm(mean: float, std: float) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(2, 8, eps=1e-6)
    h = mean + std * torch.randn(2, 8, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):  # as on a GPU, in float32
        found = group_norm_silu(norm, h)
    ones = torch.ones(8).double()
    torch.testing.assert_close(
        found.double(), one_by_one(norm, h.double(), ones, 0 * ones), rtol=0, atol=5e-4
    )


def test_in_bf16_value_and_gradients_are_as_near_as_their_type_allows() -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(16, 64, eps=1e-6)
    whole = [torch.randn(4, 64, 16, 16) + 0.3, *(torch.randn(4, 64) for _ in range(2))]
    whole = [x.bfloat16().float().requires_grad_() for x in whole]
    short = [x.detach().bfloat16().requires_grad_() for x in whole]
    slope = torch.randn(4, 64, 16, 16).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = group_norm_silu(norm, *short)
    expected = one_by_one(norm, *whole)
    assert found.dtype == torch.bfloat16
    pairs = zip(
        (found, *torch.autograd.grad(found, short, slope)),
        (expected, *torch.autograd.grad(expected, whole, slope.float())),
        strict=True,
    )
    for ours, theirs in pairs:
        assert float((ours.detach().float() - theirs.detach()).norm() / theirs.detach().norm()) < 0.01


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sizes", [(24,), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("innermost", [False, True])
def test_signals_and_volumes_are_normalised_as_images_of_the_same_values(
    path: str, sizes: tuple[int, ...], innermost: bool
) -> None:
    torch.manual_seed(0)
    norm = nn.GroupNorm(4, 8, eps=1e-6).double()
    flat = torch.randn(3, 8, 4, 6, dtype=torch.float64)
    h, slope = flat.view(3, 8, *sizes), torch.randn_like(flat)
    if innermost:
        h = h.movedim(1, -1).contiguous().movedim(-1, 1)
    scale, shift = (torch.randn(3, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    found, gradients = [], []
    for x, y in ((flat.requires_grad_(), slope), (h.detach().requires_grad_(), slope.view(h.shape))):
        with torch.autocast("cpu", torch.bfloat16, enabled=PATHS[path]):
            out = group_norm_silu(norm, x, scale, shift)
        of_x, *others = torch.autograd.grad(out, (x, scale, shift), y)
        found.append(out.flatten(2))
        gradients.append((of_x.flatten(2), *others))
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sizes", [(3,), (1, 2, 2)], ids=str)
def test_second_derivatives_of_signals_and_volumes(path: str, sizes: tuple[int, ...]) -> None:
    norm = nn.GroupNorm(2, 4).double()
    shapes = [(1, 4, *sizes), (1, 4), (1, 4)]
    values = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]

    def run(*values: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=PATHS[path]):
            return group_norm_silu(norm, *values)

    assert torch.autograd.gradgradcheck(run, values)
