"""Group normalisation, scale and shift, and SiLU as one operation.

As separate operations they save four tensors for the backward pass: the input, the normalised and the shifted
features, and the output. Fused, they save only the input and recompute the others, as the backward pass of a
normalisation does anyway. On a CPU the normalisation is PyTorch's own kernel. On a GPU that kernel needs
float32 and channels first, so normalisation, scale and shift become one multiplication and one addition per
channel, in the dtype and memory format of the convolutions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks.axes import CHANNELS_LAST, is_channels_last, per_channel, spatial_axes

__all__ = ["group_norm_silu"]


def group_norm_silu(
    norm: nn.GroupNorm, h: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
) -> Tensor:
    """Compute silu(scale * norm(h) + shift): h (B, C, *spatial), scale and shift (B, C) or (C,).

    Without them, the norm's own are used.
    """
    scale = per_channel(norm.weight if scale is None else scale, h)
    shift = per_channel(norm.bias if shift is None else shift, h)
    if torch.compiler.is_compiling():  # the compiler fuses them itself
        return _unfused(h, scale, shift, norm.num_groups, norm.eps)
    is_plain = h.device.type in ("cpu", "meta") and not torch.is_autocast_enabled("cpu")
    apply: Callable[..., Tensor] = (_GroupNormSiLU if is_plain else _FoldedGroupNormSiLU).apply
    return apply(h, scale, shift, norm.num_groups, norm.eps)


def _unfused(h: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float) -> Tensor:
    return F.silu(torch.addcmul(shift, scale, F.group_norm(h, groups, eps=eps)))


class _GroupNormSiLU(torch.autograd.Function):
    """(h, scale, shift, groups, eps) -> y."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float) -> Tensor:
        h = h.contiguous(memory_format=_layout(h))
        normed, mean, rstd = _normed(h, groups, eps)
        ctx.save_for_backward(h, scale, shift, mean, rstd)
        ctx.groups, ctx.eps = groups, eps
        return F.silu(torch.addcmul(shift, scale, normed, out=normed), inplace=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, scale, shift, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable(ctx, grad, h, scale, shift)
        normed, _, _ = _normed(h, ctx.groups, ctx.eps)
        grad = grad.contiguous(memory_format=_layout(h))  # the kernel below assumes equal layouts
        grad = torch.ops.aten.silu_backward(grad, torch.addcmul(shift, scale, normed))
        of_shift = grad.sum_to_size(shift.shape)
        of_scale = normed.mul_(grad).sum_to_size(scale.shape)
        of_h, _, _ = torch.ops.aten.native_group_norm_backward(
            grad.mul_(scale),
            h,
            mean,
            rstd,
            None,
            *_sizes(h),
            ctx.groups,
            [True, False, False],
        )
        return of_h, of_scale, of_shift, None, None


class _FoldedGroupNormSiLU(torch.autograd.Function):
    """(h, scale, shift, groups, eps) -> y, as silu(a h + b) with a and b per image and channel.

    Sums are taken in float32; a, b and every tensor of h's size have h's dtype.
    """

    @staticmethod
    def forward(ctx: Any, h: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float) -> Tensor:
        ctx.groups, ctx.eps = groups, eps
        with torch.autocast(h.device.type, enabled=False):
            mean, variance = _moments(h, groups)
            rstd = variance.add_(eps).rsqrt_()
            ctx.save_for_backward(h, scale, shift, mean, rstd)
            return F.silu(_normed_linearly(h, scale, shift, mean, rstd)[0], inplace=True)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, scale, shift, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable(ctx, grad, h, scale, shift)
        with torch.autocast(h.device.type, enabled=False):
            groups, kind, share = ctx.groups, mean.dtype, ctx.groups / h[0].numel()
            axes = spatial_axes(h)
            linear, a = _normed_linearly(h, scale, shift, mean, rstd)
            grad = torch.ops.aten.silu_backward(grad.to(h.dtype), linear)
            of_shift = _split(grad.sum(dim=axes, keepdim=True, dtype=kind), groups, axes)
            product = torch.mul(grad, h, out=linear).sum(dim=axes, keepdim=True, dtype=kind)
            of_scale = torch.addcmul(_split(product, groups, axes), mean, of_shift, value=-1).mul_(rstd)
            wide = _split(scale, groups, axes).to(kind)
            of_mean = (wide * of_shift).sum(dim=2, keepdim=True).mul_(rstd * -share)
            of_normed = (wide * of_scale).sum(dim=2, keepdim=True).mul_(rstd.square() * -share)
            rest = torch.addcmul(of_mean, mean, of_normed, value=-1)
            parts = _split(linear, groups, axes)
            torch.addcmul(rest.to(h.dtype), of_normed.to(h.dtype), _split(h, groups, axes), out=parts)
            return (
                linear.addcmul_(a, grad),
                of_scale.flatten(1, 2).sum_to_size(scale.shape).to(scale.dtype),
                of_shift.flatten(1, 2).sum_to_size(shift.shape).to(shift.dtype),
                None,
                None,
            )


def _differentiable(
    ctx: Any, grad: Tensor, h: Tensor, scale: Tensor, shift: Tensor
) -> tuple[Tensor | None, ...]:
    """Compute gradients that can be differentiated again."""
    y = _unfused(h, scale, shift, ctx.groups, ctx.eps)
    inputs = [x for x in (h, scale, shift) if x.requires_grad]
    grads = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
    return *(next(grads) if x.requires_grad else None for x in (h, scale, shift)), None, None


def _moments(h: Tensor, groups: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each group, (B, groups, 1, ..., 1), in at least float32."""
    axes = spatial_axes(h)
    if h.dtype.itemsize >= 4:
        variances, means = torch.var_mean(h, dim=axes, correction=0, keepdim=True)
        means = _split(means, groups, axes)
        mean = means.mean(dim=2, keepdim=True)
        between = (means - mean).square_().mean(dim=2, keepdim=True)
        return mean, _split(variances, groups, axes).mean(dim=2, keepdim=True) + between
    # Moments in h's dtype would be as coarse as h; E[h^2] - E[h]^2 in float32 is accurate enough.
    means = h.mean(dim=axes, keepdim=True, dtype=torch.float32)
    mean = _split(means, groups, axes).mean(dim=2, keepdim=True)
    lengths = torch.linalg.vector_norm(h, dim=axes, keepdim=True, dtype=torch.float32)
    length = torch.linalg.vector_norm(_split(lengths, groups, axes), dim=2, keepdim=True)
    square = length.square_().mul_(groups / h[0].numel())
    return mean, torch.addcmul(square, mean, mean, value=-1).clamp_min_(0)


def _normed_linearly(
    h: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, rstd: Tensor
) -> tuple[Tensor, Tensor]:
    """Return scale * normed + shift, computed as a h + b, and a (B, C, 1, ..., 1)."""
    groups, axes = mean.shape[1], spatial_axes(h)
    a = h.new_empty(len(h), groups, h.shape[1] // groups, *[1] * (h.ndim - 2))
    torch.mul(rstd, _split(scale, groups, axes), out=a)
    b = torch.addcmul(_split(shift, groups, axes), mean, a, value=-1, out=torch.empty_like(a)).flatten(1, 2)
    a = a.flatten(1, 2)
    return torch.addcmul(b, a, h, out=torch.empty_like(h)), a


def _split(x: Tensor, groups: int, axes: tuple[int, ...]) -> Tensor:
    """View (..., C, *spatial) as (..., groups, C / groups, *spatial); `axes` are the spatial ones."""
    grouped: Tensor = x.unflatten(-1 - len(axes), (groups, -1))
    return grouped


def _layout(h: Tensor) -> torch.memory_format:
    return CHANNELS_LAST[h.ndim] if is_channels_last(h) else torch.contiguous_format


def _normed(h: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the normalised h, and mean and 1 / standard deviation of each group."""
    return torch.native_group_norm(h, None, None, *_sizes(h), groups, eps)


def _sizes(h: Tensor) -> tuple[int, int, int]:
    """Return the batch size, the number of channels, and the number of places of features."""
    return h.shape[0], h.shape[1], math.prod(h.shape[2:])
