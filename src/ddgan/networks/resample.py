"""FIR resampling by two with the kernel [1, 3, 3, 1] (paper section 4) and zero padding.

The filter is separable, and along one axis each of the three operations is a band matrix::

    downsample   y_i = sum_k kernel_k x_{2i-1+k}    (H/2, H)
    upsample     twice the transpose of that        (2H, H), which keeps the mean
    blur         y_i = sum_k kernel_k x_{i-pad+k}   (H + 2 pad - 3, H)

As matrix products they are few operations, differentiable to any order, and faster than sliding windows at
the sizes of a U-Net. Above LARGEST_MATRIX pixels, where the products become too slow, the same filter runs as
a depthwise convolution.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["blur", "downsample", "upsample"]

KERNEL = (0.125, 0.375, 0.375, 0.125)
"""[1, 3, 3, 1] / 8: the taps of one axis."""
LARGEST_MATRIX = 64
FEWEST_INNER = 8
"""With fewer innermost channels, rearranging first is faster than many small products."""
SMALLEST_SEPARABLE = 9
"""Below this size, both axes are one product with the Kronecker square of the matrix."""


def downsample(x: Tensor) -> Tensor:
    """Halve height and width: (B, C, H, W) -> (B, C, H/2, W/2)."""
    if max(x.shape[2:]) > LARGEST_MATRIX:
        return F.conv2d(x, _window(x), stride=2, padding=1, groups=x.shape[1])
    return _filtered(x, "down")


def upsample(x: Tensor) -> Tensor:
    """Double height and width: (B, C, H, W) -> (B, C, 2H, 2W); keeps the mean."""
    if max(x.shape[2:]) > LARGEST_MATRIX:
        return F.conv_transpose2d(x, 4 * _window(x), stride=2, padding=1, groups=x.shape[1])
    return _filtered(x, "up")


def blur(x: Tensor, padding: int) -> Tensor:
    """Filter without resampling; each axis grows by 2 * padding - 3."""
    if max(x.shape[2:]) > LARGEST_MATRIX:
        return F.conv2d(x, _window(x), padding=padding, groups=x.shape[1])
    return _filtered(x, "blur", padding)


def _filtered(x: Tensor, operation: str, padding: int = 1) -> Tensor:
    if x.shape[1] >= FEWEST_INNER and x.is_contiguous(memory_format=torch.channels_last):
        return _filtered_rows(x.permute(0, 2, 3, 1), operation, padding).permute(0, 3, 1, 2)
    height, width = x.shape[2:]
    if height == width < SMALLEST_SEPARABLE:
        square = _matrix(operation, height, padding, True, x.dtype, x.device)
        side = round(square.shape[1] ** 0.5)
        whole: Tensor = (x.flatten(2) @ square).unflatten(2, (side, side))
        return whole
    vertical = _matrix(operation, height, padding, False, x.dtype, x.device)
    horizontal = _matrix(operation, width, padding, False, x.dtype, x.device)
    return vertical @ (x @ horizontal.T)


def _filtered_rows(x: Tensor, operation: str, padding: int) -> Tensor:
    """Filter with the channels innermost, (B, H, W, C), so that nothing moves in memory."""
    height, width = x.shape[1:3]
    if height == width < SMALLEST_SEPARABLE:
        square = _matrix(operation, height, padding, True, x.dtype, x.device)
        side = round(square.shape[1] ** 0.5)
        whole: Tensor = (square.T @ x.flatten(1, 2)).unflatten(1, (side, side))
        return whole
    vertical = _matrix(operation, height, padding, False, x.dtype, x.device)
    horizontal = _matrix(operation, width, padding, False, x.dtype, x.device)
    columns: Tensor = (vertical @ x.flatten(2)).unflatten(2, x.shape[2:])
    return horizontal @ columns


def _window(x: Tensor) -> Tensor:
    """Return the 2D kernel, once per channel of x: (C, 1, 4, 4)."""
    window = _matrix("window", len(KERNEL), 0, True, x.dtype, x.device)
    return window.expand(x.shape[1], 1, *window.shape)


_MATRICES: dict[tuple[str, int, int, bool, torch.dtype, torch.device], Tensor] = {}
"""Cache of `_matrix`. A dictionary, because torch.compile reads its entries as constants, but traces through
`lru_cache` and would compile the building of each matrix. So call a network once before compiling it."""


def _matrix(
    operation: str, size: int, padding: int, both_axes: bool, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the band matrix of one axis, (out, size); for both axes (size^2, out^2), to multiply rows.

    "window" is the 2D kernel, (4, 4).
    """
    key = (operation, size, padding, both_axes, dtype, device)
    matrix = _MATRICES.get(key)
    if matrix is None:
        with torch.inference_mode(False):  # the cached tensor must be usable in training too
            matrix = _build_matrix(operation, size, padding, both_axes).to(device, dtype)
        if not torch.compiler.is_compiling():
            _MATRICES[key] = matrix
    return matrix


def _build_matrix(operation: str, size: int, padding: int, both_axes: bool) -> Tensor:
    if operation == "window":
        taps = torch.tensor(KERNEL, dtype=torch.float64)
        return torch.outer(taps, taps)
    if operation == "up":
        matrix = 2 * _band(2 * size, 2, padding).T
    elif operation == "down":
        matrix = _band(size, 2, padding)
    else:
        matrix = _band(size, 1, padding)
    return torch.kron(matrix, matrix).T.contiguous() if both_axes else matrix


def _band(size: int, stride: int, padding: int) -> Tensor:
    """Build the matrix that filters `size` values with this stride and padding: y = band @ x."""
    rows = (size + 2 * padding - len(KERNEL)) // stride + 1
    band = torch.zeros(rows, size, dtype=torch.float64)
    for row in range(rows):
        for tap, weight in enumerate(KERNEL):
            column = row * stride - padding + tap
            if 0 <= column < size:
                band[row, column] = weight
    return band
