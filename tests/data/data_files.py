"""Image files and folders that the tests of the data make."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("ape", "bee", "cow")
LABELS = np.repeat(np.arange(3), 4)


def png(image: np.ndarray, mode: str | None = None) -> bytes:
    """A PNG file's bytes."""
    buffer = io.BytesIO()
    picture = Image.fromarray(image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image)
    (picture.convert(mode) if mode else picture).save(buffer, "PNG")
    return buffer.getvalue()


def names(pixels: np.ndarray) -> list[str]:
    """A path per image: its class as the folder."""
    return [
        f"{CLASSES[label]}/{index:02d}.png" for index, label in zip(range(len(pixels)), LABELS, strict=True)
    ]


def make_folder(folder: Path, pixels: np.ndarray) -> Path:
    """Write the images as a folder with a sub-folder per class."""
    for name, image in zip(names(pixels), pixels, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(image))
    return folder
