"""Image files and folders that the tests of the data make."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
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


def shared(name: str) -> Path:
    """Real data beside the project; the test is skipped where it is missing."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"the folder shared/data/{name} is not there")
    return SHARED / name
