"""3 x 3 convolutions with a quarter of the multiplications: Winograd's F(4 x 4, 3 x 3).

Tiles of 6 x 6 pixels, four apart, and the kernels are transformed to polynomial values at the points
0, 1, -1, 2, -2 and infinity, multiplied there, and transformed back to 4 x 4 outputs (Lavin and Gray, 2016)::

    y = A^T [ sum over channels of (G w G^T) * (B^T x B) ] A

36 multiplications replace 144. The products over channels are matrix products, and the transforms move
little memory when the channels are innermost. In float32 the relative error is about 2e-6, as for the direct
convolution; on a GPU or in bfloat16 PyTorch's kernels are faster. The gradients are convolutions of the same
kind, to any order.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Conv2d", "kernels_kept"]

TILE, STEP, TAPS = 6, 4, 3
FEWEST_CHANNELS = 64
FEWEST_TILES = 64
"""With fewer channels or tiles the transforms, mainly those of the kernels, cost more than they save."""
CHUNK = 2**21
"""Transformed numbers processed at a time: few enough to fit the processor's cache."""

TO_TILE = (  # B^T
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
TO_KERNEL = (  # G
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
FROM_TILE = (  # A^T
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


class Conv2d(nn.Conv2d):
    """`torch.nn.Conv2d` that uses Winograd's algorithm where it is faster."""

    keeps = False
    _kernels: Tensor | None = None

    def forward(self, input: Tensor) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, self.groups, self.padding_mode)
        if geometry != ((1, 1), (1, 1), (1, 1), 1, "zeros") or not pays(input, self.weight):
            return super().forward(input)
        if not self.keeps or torch.is_grad_enabled():
            return convolution(input, self.weight, self.bias)
        if self._kernels is None:
            self._kernels = _transformed_kernels(self.weight).clone()
        return _convolved(input, self._kernels, self.bias)


@contextmanager
def kernels_kept(network: nn.Module) -> Iterator[None]:
    """Cache the transformed kernels inside the block, for calls without gradients.

    The cache takes four times the memory of the kernels. The weights must not change inside the block.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, Conv2d) and not layer.keeps]
    for layer in layers:
        layer.keeps = True
    try:
        yield
    finally:
        for layer in layers:
            layer.keeps, layer._kernels = False, None


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether Winograd is faster than a direct convolution of x (B, I, H, W), stride 1 and zero padding."""
    batch, inputs, height, width = x.shape
    return (
        weight.shape[2:] == (TAPS, TAPS)
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and height % STEP == 0 == width % STEP
        and min(inputs, len(weight)) >= FEWEST_CHANNELS
        and batch * height * width >= FEWEST_TILES * STEP**2
        and x.is_contiguous(memory_format=torch.channels_last)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve x (B, I, H, W), channels_last and zero-padded, with weight (O, I, 3, 3) -> (B, O, H, W).

    H and W must be multiples of 4. Differentiable to any order.
    """
    apply: Callable[..., Tensor] = _Convolution.apply
    return apply(x, weight, bias)


class _Convolution(torch.autograd.Function):
    """(x, weight, bias) -> y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolved(x, _transformed_kernels(weight), bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        weight_gradient: Callable[..., Tensor] = _WeightGradient.apply
        return (
            convolution(_innermost(grad), turned(weight)) if of_x else None,
            weight_gradient(x, grad) if of_weight else None,
            grad.sum(dim=(0, 2, 3)) if of_bias else None,
        )


class _WeightGradient(torch.autograd.Function):
    """(x, gradient of y) -> gradient of the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grad: Tensor) -> Tensor:
        ctx.save_for_backward(x, grad)
        return _weight_gradient(x, _innermost(grad))

    @staticmethod
    def backward(ctx: Any, grad_weight: Tensor) -> tuple[Tensor | None, ...]:
        x, grad = ctx.saved_tensors
        of_x, of_grad = ctx.needs_input_grad
        return (
            convolution(_innermost(grad), turned(grad_weight)) if of_x else None,
            convolution(x, grad_weight) if of_grad else None,
        )


def turned(weight: Tensor) -> Tensor:
    """Return the kernels of the transposed convolution: (O, I, 3, 3) -> (I, O, 3, 3)."""
    return weight.flip(2, 3).transpose(0, 1)


def _innermost(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _convolved(x: Tensor, kernels: Tensor, bias: Tensor | None) -> Tensor:
    batch, inputs, height, width = x.shape
    outputs, rows = kernels.shape[2], height // STEP
    shape = (batch, outputs, height, width)
    y = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    for images, bands in _chunks(batch, rows, width * max(inputs, outputs)):
        tiles = _transformed(_tiles(x[images], bands), "tile")  # (6, 6, b, rows, columns, I)
        products = _scratch("products", TILE, TILE, *tiles.shape[2:5], outputs)
        torch.bmm(tiles.view(TILE**2, -1, inputs), kernels, out=products.view(TILE**2, -1, outputs))
        _split(y)[images, bands] = _transformed(products, "output").permute(2, 3, 0, 4, 1, 5)
    return y if bias is None else y.add_(bias[:, None, None])


def _weight_gradient(x: Tensor, grad: Tensor) -> Tensor:
    batch, inputs, height, width = x.shape
    outputs, rows = grad.shape[1], height // STEP
    total = _scratch("total", TILE**2, inputs, outputs).zero_()
    for images, bands in _chunks(batch, rows, width * max(inputs, outputs)):
        tiles = _transformed(_tiles(x[images], bands), "tile").view(TILE**2, -1, inputs)
        grads = _transformed(_split(grad)[images, bands].permute(2, 4, 0, 1, 3, 5), "gradient")
        total.baddbmm_(tiles.transpose(1, 2), grads.view(TILE**2, -1, outputs))
    weight_grad = _transformed(total.view(TILE, TILE, inputs, outputs), "kernel gradient")
    return weight_grad.permute(3, 2, 0, 1).clone(memory_format=torch.channels_last)


def _transformed_kernels(weight: Tensor) -> Tensor:
    """(O, I, 3, 3) -> (36, I, O), reading the weight in memory order."""
    if weight.stride(0) < weight.stride(1):
        return _transformed(weight.permute(2, 3, 1, 0), "kernel").flatten(0, 1)
    return _transformed(weight.permute(2, 3, 0, 1), "kernel").flatten(0, 1).transpose(1, 2)


def _chunks(batch: int, rows: int, floats: int) -> Iterator[tuple[slice, slice]]:
    """Yield the images and their rows of tiles that are processed together; a row takes `floats` numbers."""
    together = max(CHUNK * STEP // (TILE**2 * floats), 1)
    if together >= rows:
        for first in range(0, batch, together // rows):
            yield slice(first, first + together // rows), slice(0, rows)
        return
    for image in range(batch):
        for first in range(0, rows, together):
            yield slice(image, image + 1), slice(first, first + together)


def _tiles(x: Tensor, bands: slice) -> Tensor:
    """Return the overlapping tiles of the zero-padded x: a view (6, 6, b, rows, columns, I)."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
    tiles = padded.unfold(1, TILE, STEP).unfold(2, TILE, STEP)  # (b, rows, columns, I, 6, 6)
    return tiles[:, bands].permute(4, 5, 0, 1, 2, 3)


def _split(y: Tensor) -> Tensor:
    """View outputs by tile: (B, O, H, W) -> (B, rows, 4, columns, 4, O)."""
    tiles: Tensor = y.permute(0, 2, 3, 1).unflatten(2, (-1, STEP)).unflatten(1, (-1, STEP))
    return tiles


def _transformed(x: Tensor, name: str) -> Tensor:
    """Apply the matrix (n, m) of that name along both axes: x (m, m, ...) -> (n, n, ...).

    The result lies in a scratch buffer that the next call with that name overwrites.
    """
    matrix = _matrix(name)
    n, m = matrix.shape
    lined = x if x.is_contiguous() else _scratch("lined", *x.shape).copy_(x)
    rest = lined.numel() // m**2
    rows = lined.view(m, m, rest).transpose(0, 1)  # several small products use all threads, one does not
    first = torch.bmm(matrix.expand(m, n, m), rows, out=_scratch("first", m, n, rest)).transpose(0, 1)
    second = torch.bmm(matrix.expand(n, n, m), first, out=_scratch(name, n, n, rest))
    return second.view(n, n, *x.shape[2:])


_buffers = threading.local()


def _scratch(name: str, *shape: int) -> Tensor:
    """Return this thread's scratch buffer of that name, grown if it is too small.

    Allocating for every product would take longer than the product and fragment the memory.
    """
    size = math.prod(shape)
    buffer = getattr(_buffers, name, None)
    if buffer is None or buffer.numel() < size:
        with torch.inference_mode(False):
            buffer = torch.empty(size, dtype=torch.float32)
        setattr(_buffers, name, buffer)
    return buffer[:size].view(shape)


@lru_cache
def _matrix(name: str) -> Tensor:
    tile, kernel, output = (torch.tensor(rows) for rows in (TO_TILE, TO_KERNEL, FROM_TILE))
    matrices = {
        "tile": tile,
        "kernel": kernel,
        "output": output,
        "gradient": output.T,
        "kernel gradient": kernel.T,
    }
    with torch.inference_mode(False):  # the cached tensor must be usable in training too
        return matrices[name].float().contiguous().clone()
