"""Image output: uint8, PNG files and grids, all lossless."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ddgan.system.files import write_atomically
from ddgan.system.outputs import MARK

__all__ = [
    "finite",
    "grid",
    "grid_shape",
    "has_png_form",
    "save_png",
    "to_levels",
    "to_pil",
    "to_png",
    "to_uint8",
    "zoom_for",
]


def finite(samples: Tensor) -> Tensor:
    """Return the samples (N, ...) unchanged if they are finite.

    Raises:
        ValueError: if a value is NaN or infinite.
    """
    is_bad = ~samples.flatten(1).isfinite().all(dim=1)
    if is_bad.any():
        count = f"{int(is_bad.sum())} of {len(samples)}"
        raise ValueError(f"{count} samples have NaN or infinite values; the model has diverged")
    return samples


def to_levels(images: Tensor) -> Tensor:
    """Images in [-1, 1] -> uint8 of the same shape, on the same device; values outside are clipped."""
    return ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def to_uint8(images: Tensor) -> np.ndarray:
    """Convert (N, C, H, W) in [-1, 1] to uint8 (N, H, W, C); values outside are clipped."""
    return to_levels(images).permute(0, 2, 3, 1).cpu().numpy()


def has_png_form(sample_shape: Sequence[int]) -> bool:
    """Whether samples of this shape are images of one to four channels."""
    return len(sample_shape) == 3 and sample_shape[0] <= 4


def grid(images: np.ndarray, columns: int | None = None, zoom: int = 1, gap: int = 1) -> np.ndarray:
    """Tile uint8 (N, H, W, C) into one (rows, columns, C) picture.

    Args:
        images: the tiles, in reading order.
        columns: tiles per row; by default as square as possible.
        zoom: each pixel becomes zoom x zoom.
        gap: white pixels between tiles, after zooming.
    """
    columns, *size = grid_shape(len(images), images.shape[1:], columns, zoom, gap)
    images = images.repeat(zoom, axis=1).repeat(zoom, axis=2)
    _, height, width, channels = images.shape
    picture = np.full((*size, channels), 255, dtype=np.uint8)
    for index, image in enumerate(images):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        picture[top : top + height, left : left + width] = image
    return picture


def grid_shape(
    count: int, shape: Sequence[int], columns: int | None = None, zoom: int = 1, gap: int = 1
) -> tuple[int, int, int]:
    """Return the columns, the height and the width of the `grid` of `count` images (H, W, ...)."""
    columns = columns or math.ceil(math.sqrt(count))
    height, width = (zoom * size + gap for size in shape[:2])
    return columns, math.ceil(count / columns) * height - gap, columns * width - gap


def to_pil(image: np.ndarray) -> Image.Image:
    """Convert uint8 (H, W, C) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels to a PIL image.

    Raises:
        ValueError: if there are more than 4 channels.
    """
    channels = image.shape[-1]
    if channels > 4:
        raise ValueError(f"an image with {channels} channels cannot be saved as PNG; save it as .npz")
    return Image.fromarray(image[..., 0] if channels == 1 else image)


def to_png(image: np.ndarray) -> bytes:
    """Convert uint8 (H, W, C) to the content of a PNG file, with the mark of an output."""
    buffer, software = io.BytesIO(), PngInfo()
    software.add_text("Software", MARK)
    to_pil(image).save(buffer, format="PNG", pnginfo=software)
    return buffer.getvalue()


def save_png(image: np.ndarray, path: Path) -> None:
    """Write uint8 (H, W, C) as PNG, atomically."""
    write_atomically(path, to_png(image))


def zoom_for(size: int, target: int = 64) -> int:
    """Return the integer factor that enlarges `size` pixels to about `target` pixels, at least 1."""
    return max(target // size, 1)
