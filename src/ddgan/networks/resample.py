"""FIR resampling by two with the kernel [1, 3, 3, 1] (paper section 4) and zero padding.

The filter is separable, so it is the same along each axis of signals, images and volumes. Along one axis each
of the three operations is a band matrix::

    downsample   y_i = sum_k kernel_k x_{2i-1+k}    (N/2, N)
    upsample     twice the transpose of that        (2N, N), which keeps the mean
    blur         y_i = sum_k kernel_k x_{i-pad+k}   (N + 2 pad - 3, N)

As matrix products they are few operations, differentiable to any order, and faster than sliding windows at
the sizes of a U-Net. Where an axis is longer than LARGEST_MATRIX and the products become too slow, the same
filter runs as a depthwise convolution.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from ddgan.networks.axes import CONVOLVE, CONVOLVE_TRANSPOSED, is_channels_last

__all__ = ["blur", "downsample", "upsample"]

KERNEL = (0.125, 0.375, 0.375, 0.125)
"""[1, 3, 3, 1] / 8: the taps of one axis."""
LARGEST_MATRIX = 64
FEWEST_INNER = 8
"""With fewer innermost channels, rearranging first is faster than many small products."""
SMALLEST_SEPARABLE = 9
"""Below this size, both axes of an image are one product with the Kronecker square of the matrix."""


def downsample(x: Tensor) -> Tensor:
    """Halve each axis: (B, C, *spatial) -> (B, C, *(size / 2))."""
    if max(x.shape[2:]) > LARGEST_MATRIX:
        return CONVOLVE[x.ndim - 2](x, _window(x), stride=2, padding=1, groups=x.shape[1])
    return _filtered(x, "down")


def upsample(x: Tensor) -> Tensor:
    """Double each axis: (B, C, *spatial) -> (B, C, *(2 size)); keeps the mean."""
    if max(x.shape[2:]) > LARGEST_MATRIX:
        dimensions = x.ndim - 2
        window = 2**dimensions * _window(x)
        return CONVOLVE_TRANSPOSED[dimensions](x, window, stride=2, padding=1, groups=x.shape[1])
    return _filtered(x, "up")


def blur(x: Tensor, padding: int) -> Tensor:
    """Filter without resampling; each axis grows by 2 * padding - 3."""
    if max(x.shape[2:]) > LARGEST_MATRIX:
        return CONVOLVE[x.ndim - 2](x, _window(x), padding=padding, groups=x.shape[1])
    return _filtered(x, "blur", padding)


def _filtered(x: Tensor, operation: str, padding: int = 1) -> Tensor:
    if x.shape[1] >= FEWEST_INNER and is_channels_last(x):
        return _filtered_rows(x.movedim(1, -1), operation, padding).movedim(-1, 1)
    sizes = x.shape[2:]
    if _is_one_product(sizes):
        square = _matrix(operation, sizes[0], padding, 2, x.dtype, x.device)
        side = round(square.shape[1] ** 0.5)
        whole: Tensor = (x.flatten(2) @ square).unflatten(2, (side, side))
        return whole
    x = x @ _matrix(operation, sizes[-1], padding, 1, x.dtype, x.device).T
    for axis in range(x.ndim - 2, 1, -1):
        x = _along(axis, x, _matrix(operation, x.shape[axis], padding, 1, x.dtype, x.device))
    return x


def _filtered_rows(x: Tensor, operation: str, padding: int) -> Tensor:
    """Filter with the channels innermost, (B, *spatial, C), so that nothing moves in memory."""
    sizes = x.shape[1:-1]
    if _is_one_product(sizes):
        square = _matrix(operation, sizes[0], padding, 2, x.dtype, x.device)
        side = round(square.shape[1] ** 0.5)
        whole: Tensor = (square.T @ x.flatten(1, 2)).unflatten(1, (side, side))
        return whole
    for axis in range(1, x.ndim - 1):
        x = _along(axis, x, _matrix(operation, x.shape[axis], padding, 1, x.dtype, x.device))
    return x


def _is_one_product(sizes: Sequence[int]) -> bool:
    return len(sizes) == 2 and sizes[0] == sizes[1] < SMALLEST_SEPARABLE


def _along(axis: int, x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply an axis of x, which is not its last, by a matrix."""
    inner = x.shape[axis + 1 :]
    if len(inner) == 1:
        return matrix @ x
    product: Tensor = (matrix @ x.flatten(axis + 1)).unflatten(axis + 1, inner)
    return product


def _window(x: Tensor) -> Tensor:
    """Return the kernel of all axes, once per channel of x: (C, 1, 4, ..., 4)."""
    window = _matrix("window", len(KERNEL), 0, x.ndim - 2, x.dtype, x.device)
    return window.expand(x.shape[1], 1, *window.shape)


_MATRICES: dict[tuple[str, int, int, int, torch.dtype, torch.device], Tensor] = {}
"""Cache of `_matrix`. A dictionary, because torch.compile reads its entries as constants, but traces through
`lru_cache` and would compile the building of each matrix. So call a network once before compiling it."""


def _matrix(
    operation: str, size: int, padding: int, axes: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    """Return the band matrix of one axis, (out, size); of both of an image (size^2, out^2), to multiply rows.

    "window" is the kernel of 1 to 3 axes, (4, ..., 4).
    """
    key = (operation, size, padding, axes, dtype, device)
    matrix = _MATRICES.get(key)
    if matrix is None:
        with torch.inference_mode(False):  # the cached tensor must be usable in training too
            matrix = _build_matrix(operation, size, padding, axes).to(device, dtype)
        if not torch.compiler.is_compiling():
            _MATRICES[key] = matrix
    return matrix


def _build_matrix(operation: str, size: int, padding: int, axes: int) -> Tensor:
    if operation == "window":
        taps = torch.tensor(KERNEL, dtype=torch.float64)
        return functools.reduce(lambda window, own: window.unsqueeze(-1) * own, [taps] * axes)
    if operation == "up":
        matrix = 2 * _band(2 * size, 2, padding).T
    elif operation == "down":
        matrix = _band(size, 2, padding)
    else:
        matrix = _band(size, 1, padding)
    return torch.kron(matrix, matrix).T.contiguous() if axes == 2 else matrix


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
