"""Pictures and masks of every size and mode arrive on the model's scale, or are refused by name."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan import DDGAN, RunConfig
from ddgan.editing.inputs import read_images, read_mask


def png(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(8, 8), (5, 7), (64, 33)])
def test_every_mode_and_size_is_read(model: DDGAN, tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    """Half black, half white, in whichever way the mode writes it."""
    width, height = size
    grey = np.zeros((height, width), dtype=np.uint8)
    grey[: height // 2] = 255
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    picture = wide if mode == "I;16" else Image.fromarray(grey).convert(mode)
    path = png(picture, tmp_path / "x.png")
    from_file = read_images(model, path)
    assert from_file.shape == (1, 3, 8, 8)
    assert from_file[:, :, 0].min() > 0.9
    assert from_file[:, :, -1].max() < -0.9
    for other in (str(path), path.read_bytes(), Image.open(path), [path]):
        assert torch.equal(read_images(model, other), from_file)


def test_arrays_are_read(model: DDGAN) -> None:
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8)
    images = read_images(model, [ramp, np.stack([ramp] * 3, axis=2), ramp.astype(np.uint16) * 257])
    assert torch.equal(images, (torch.from_numpy(ramp) / 127.5 - 1).expand(3, 3, 8, 8))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (np.zeros((8, 8)), "float64 of shape"),
        (np.zeros((1, 1, 8, 8), dtype=np.uint8), "uint8 of shape"),
        (np.zeros((0, 8), dtype=np.uint8), "uint8 of shape"),
        (np.zeros((8, 8, 5), dtype=np.uint8), "5 channels"),
        (b"", "it is empty"),
        (b"not an image", "it is not an image"),
        ("nowhere.png", "'nowhere.png' does not exist"),
        ([], "no image was given"),
        (torch.zeros(2, 3, 9, 9), "must hold samples of this model"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "floating point"),
        (torch.zeros(0, 3, 8, 8), "must hold samples"),
        (torch.full((1, 3, 8, 8), torch.nan), "not finite"),
    ],
    ids=str,
)
def test_what_is_no_image_is_refused(model: DDGAN, given: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_images(model, given)  # type: ignore[arg-type]


def test_a_damaged_file_is_refused_by_name(model: DDGAN, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(buffer, format="PNG")
    path = tmp_path / "cut.png"
    path.write_bytes(buffer.getvalue()[:60])
    with pytest.raises(ValueError, match=r"cut\.png' cannot be used"):
        read_images(model, path)
    with pytest.raises(ValueError, match=r"its colour mode is LAB"):
        read_images(model, Image.new("LAB", (8, 8)))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV"])
def test_the_colours_of_print_and_video_are_read(model: DDGAN, tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGB", (20, 20), (250, 10, 10)).convert(mode)
    expected = torch.tensor([250.0, 10, 10]) / 127.5 - 1
    given: list[Image.Image | Path] = [picture]
    if mode != "HSV":
        given.append(png(picture, tmp_path / "x.tif"))
    for one in given:
        colour = read_images(model, one).mean(dim=(0, 2, 3))
        torch.testing.assert_close(colour, expected, atol=0.05, rtol=0)


def test_pictures_are_for_models_of_square_images(
    points_model: DDGAN, tiny_config: RunConfig, make_model: Callable[..., DDGAN]
) -> None:
    wide = make_model(tiny_config, (3, 8, 16))
    for model, words in ((points_model, "makes points"), (wide, "makes images that are not square")):
        with pytest.raises(ValueError, match=rf"{words} of shape .*; give a tensor of samples"):
            read_images(model, np.zeros((8, 8), dtype=np.uint8))


def test_a_mask_goes_the_way_of_its_image(model: DDGAN) -> None:
    image = np.zeros((16, 32, 3), dtype=np.uint8)
    mask = np.zeros((16, 32), dtype=np.uint8)
    mask[:, :16] = 255  # of the centred square, 8..24, the left half
    read = read_mask(model, mask, image)
    assert read.dtype == torch.bool
    assert read[:, :4].all()
    assert not read[:, 4:].any()
    assert torch.equal(read_mask(model, read.numpy(), image), read)  # of the model's size already


def test_a_mask_of_another_size_is_refused(model: DDGAN) -> None:
    image, mask = np.zeros((16, 32, 3), dtype=np.uint8), np.zeros((32, 16), dtype=np.uint8)
    with pytest.raises(ValueError, match=r"mask has 16 x 32 pixels, but its image has 32 x 16; .* 8 x 8"):
        read_mask(model, mask, image)
    for wrong in (torch.zeros(8, 9, dtype=torch.bool), torch.zeros(8, 8), torch.zeros(2, 8, 8).bool()):
        with pytest.raises(ValueError, match=r"mask is torch\.\w+ of shape .*; it must be torch\.bool"):
            read_mask(model, wrong, image)
