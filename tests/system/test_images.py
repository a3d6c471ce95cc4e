"""Images keep every level on their way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan.system import images


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_to_uint8_inverts_the_scaling_of_every_level() -> None:
    levels = torch.arange(256)
    scaled = (levels / 127.5 - 1).view(1, 1, 16, 16)
    assert np.array_equal(images.to_uint8(scaled).ravel(), levels.numpy())


def test_to_uint8_clips_and_puts_channels_last() -> None:
    batch = torch.zeros(2, 3, 4, 5)
    batch[0, 0, 1, 2], batch[1, 2, 3, 4] = -7.0, 1.5
    out = images.to_uint8(batch)
    assert out.shape == (2, 4, 5, 3)
    assert out.dtype == np.uint8
    assert (out[0, 1, 2, 0], out[1, 3, 4, 2], out[0, 0, 0, 0]) == (0, 255, 128)


@pytest.mark.parametrize("columns", [None, 1, 2, 7])
@pytest.mark.parametrize("gap", [0, 1, 3])
def test_grid_places_tiles_in_reading_order(columns: int | None, gap: int) -> None:
    tiles = random_images(7, 4, 5, 3)
    picture = images.grid(tiles, columns, gap=gap)
    across = columns or 3
    down = -(-7 // across)
    assert picture.shape == (down * (4 + gap) - gap, across * (5 + gap) - gap, 3)
    uncovered = np.ones(picture.shape[:2], dtype=bool)
    for index, tile in enumerate(tiles):
        top, left = index // across * (4 + gap), index % across * (5 + gap)
        assert np.array_equal(picture[top : top + 4, left : left + 5], tile)
        uncovered[top : top + 4, left : left + 5] = False
    assert (picture[uncovered] == 255).all()


def test_zoom_repeats_pixels() -> None:
    tile = random_images(1, 2, 3, 1)
    assert np.array_equal(images.grid(tile, zoom=4), np.kron(tile[0], np.ones((4, 4, 1), dtype=np.uint8)))


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_png_is_lossless(tmp_path: Path, channels: int, mode: str) -> None:
    image = random_images(6, 7, channels)
    images.save_png(image, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as read:
        assert (read.format, read.mode) == ("PNG", mode)
        assert np.array_equal(np.asarray(read).reshape(image.shape), image)


def test_more_than_four_channels_have_no_png() -> None:
    with pytest.raises(ValueError, match="5 channels"):
        images.to_pil(random_images(4, 4, 5))


@pytest.mark.parametrize(("size", "zoom"), [(8, 8), (32, 2), (33, 1), (64, 1), (256, 1)])
def test_zoom_for_shows_small_images_large(size: int, zoom: int) -> None:
    assert images.zoom_for(size) == zoom
