"""Group normalisation, scale and shift, and SiLU as one operation.

Written one after the other they keep four features for the backward pass: what went in, the normalised, the
shifted, and what comes out. As one they keep what went in; the rest is computed again, as a normalisation's
own backward pass does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def group_norm_silu(
    norm: nn.GroupNorm, h: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
) -> Tensor:
    """silu(scale * norm(h) + shift): h (B, C, H, W), scale and shift (B, C), or else the norm's own (C,)."""
    scale = (norm.weight if scale is None else scale)[..., None, None]
    shift = (norm.bias if shift is None else shift)[..., None, None]
    # Elsewhere than on a CPU the kernels want other layouts than these; a compiler fuses by itself.
    is_other = h.device.type != "cpu" or torch.compiler.is_compiling()
    if is_other or torch.is_autocast_enabled(h.device.type):
        return _one_by_one(h, scale, shift, norm.num_groups, norm.eps)
    y: Tensor = _GroupNormSiLU.apply(h, scale, shift, norm.num_groups, norm.eps)
    return y


def _one_by_one(h: Tensor, scale: Tensor, shift: Tensor, groups: int, eps: float) -> Tensor:
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
        if torch.is_grad_enabled():  # this derivative is to be differentiated
            y = _one_by_one(h, scale, shift, ctx.groups, ctx.eps)
            inputs = [x for x in (h, scale, shift) if x.requires_grad]
            found = iter(torch.autograd.grad(y, inputs, grad, create_graph=True))
            return *(next(found) if x.requires_grad else None for x in (h, scale, shift)), None, None
        normed, _, _ = _normed(h, ctx.groups, ctx.eps)
        grad = grad.contiguous(memory_format=_layout(h))  # the kernel below takes both for alike
        grad = torch.ops.aten.silu_backward(grad, torch.addcmul(shift, scale, normed))
        of_shift = grad.sum_to_size(shift.shape)
        of_scale = normed.mul_(grad).sum_to_size(scale.shape)
        batch, channels, height, width = h.shape
        of_h, _, _ = torch.ops.aten.native_group_norm_backward(
            grad.mul_(scale),
            h,
            mean,
            rstd,
            None,
            batch,
            channels,
            height * width,
            ctx.groups,
            [True, False, False],
        )
        return of_h, of_scale, of_shift, None, None


def _layout(h: Tensor) -> torch.memory_format:
    is_last = h.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def _normed(h: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalised h, and mean and 1 / standard deviation of each group."""
    batch, channels, height, width = h.shape
    return torch.native_group_norm(h, None, None, batch, channels, height * width, groups, eps)
