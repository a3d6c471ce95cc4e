"""Features (B, C, *spatial) of one, two or three spatial dimensions: signals, images, volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ddgan.config.settings import SettingError

__all__ = [
    "CHANNELS_LAST",
    "CONVOLVE",
    "CONVOLVE_TRANSPOSED",
    "check_spatial",
    "in_words",
    "is_channels_last",
    "per_channel",
    "spatial_axes",
]

MOST_DIMENSIONS = 3
CONVOLVE: Mapping[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
"""Number of spatial dimensions -> the convolution."""
CONVOLVE_TRANSPOSED: Mapping[int, Callable[..., Tensor]] = {
    1: F.conv_transpose1d,
    2: F.conv_transpose2d,
    3: F.conv_transpose3d,
}
"""Number of spatial dimensions -> the transposed convolution."""
CHANNELS_LAST: Mapping[int, torch.memory_format] = {4: torch.channels_last, 5: torch.channels_last_3d}
"""Number of axes of a tensor -> the memory format with its channels (axis 1) innermost, if there is one."""


def spatial_axes(x: Tensor) -> tuple[int, ...]:
    """Return the spatial axes of features (B, C, *spatial)."""
    return tuple(range(2, x.ndim))


def per_channel(values: Tensor, like: Tensor) -> Tensor:
    """View values (..., C) as (..., C, 1, ..., 1), to combine them with features (B, C, *spatial)."""
    return values[(..., *(None,) * (like.ndim - 2))]


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of images or volumes (B, C, *spatial) are innermost."""
    return x.ndim in CHANNELS_LAST and x.is_contiguous(memory_format=CHANNELS_LAST[x.ndim])


def in_words(sizes: Sequence[int]) -> str:
    """Format spatial sizes for messages: 12 x 20."""
    return " x ".join(map(str, sizes))


def check_spatial(kind: str, sample_shape: Sequence[int]) -> None:
    """Check that samples have one to three spatial dimensions, as convolutions need.

    Raises:
        SettingError: of the setting `kind`, if they do not.
    """
    if not 1 <= len(sample_shape) - 1 <= MOST_DIMENSIONS:
        raise SettingError(
            "kind",
            f"is {kind}, which takes signals (C, L), images (C, H, W) or volumes (C, D, H, W), but the "
            f"samples have shape {list(sample_shape)}; use the kind mlp",
        )
