"""One image: the unusual kinds, on purpose."""

from __future__ import annotations

import contextlib
import io
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from data_files import png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ddgan.data import decode as module
from ddgan.data.decode import Preparation, Range, decode, decode_picture, prepare_image, with_channels

RNG = np.random.default_rng(0)
COLOR = RNG.integers(256, size=(6, 5, 3), dtype=np.uint8)
GREY = RNG.integers(256, size=(6, 5), dtype=np.uint8)


def saved(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "WEBP", "PPM"])
def test_lossless_forms_keep_every_pixel(form: str) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    np.testing.assert_array_equal(decode(saved(Image.fromarray(COLOR), form, **options)), COLOR)


def test_jpeg_is_read() -> None:
    smooth = np.add.outer(np.arange(32), np.arange(32)).astype(np.uint8)[..., None].repeat(3, axis=2)
    assert np.abs(decode(saved(Image.fromarray(smooth), "JPEG")).astype(int) - smooth).max() < 8


def test_grey_stays_one_channel_and_bits_become_black_and_white() -> None:
    np.testing.assert_array_equal(decode(saved(Image.fromarray(GREY)))[..., 0], GREY)
    bits = decode(saved(Image.fromarray(GREY).point(lambda v: 255 * (v > 127)).convert("1")))
    np.testing.assert_array_equal(bits[..., 0], np.where(GREY > 127, 255, 0))


def test_palettes_become_colours() -> None:
    picture = Image.fromarray(COLOR).quantize(256)
    np.testing.assert_array_equal(decode(saved(picture)), np.asarray(picture.convert("RGB")))
    transparent = decode(saved(picture, transparency=0))
    assert transparent.shape == (6, 5, 4)
    assert set(np.unique(transparent[..., 3])) == {0, 255}


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bits_are_scaled_not_clipped(form: str) -> None:
    values = np.array([[0, 257, 32768, 65535]], dtype=np.uint16)
    picture = Image.fromarray(values)
    np.testing.assert_array_equal(decode(saved(picture, form))[..., 0], [[0, 1, 128, 255]])


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    data = saved(Image.fromarray(COLOR), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(data), np.rot90(COLOR, -1))


def test_a_turned_image_that_is_cut_short_is_damaged_not_half_grey() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = saved(Image.fromarray(RNG.integers(256, size=(64, 64, 3), dtype=np.uint8)), "JPEG", exif=exif)
    assert decode(whole).shape == (64, 64, 3)
    for end in (len(whole) // 2, 200, 60, 25):
        with pytest.raises(ValueError, match=r"it is damaged|it is not an image"):
            decode(whole[:end])


def test_an_exif_block_that_is_damaged_tells_no_orientation() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(Image.fromarray(COLOR), "PNG", exif=exif)
    start = data.index(b"eXIf")
    length = int.from_bytes(data[start - 4 : start], "big")
    body = b"eXIf" + data[start + 4 : start + 4 + length // 2] + b"\xff" * (length - length // 2)
    broken = data[:start] + body + zlib.crc32(body).to_bytes(4, "big") + data[start + 8 + length :]
    np.testing.assert_array_equal(decode(broken), COLOR)


@pytest.mark.parametrize("form", ["ICO", "TGA", "EPS", "PDF", "JPEG2000"])
def test_only_the_usual_formats_are_tried(form: str) -> None:
    """Others are named where their first bytes tell, and no decoder of theirs ever runs."""
    data = saved(Image.fromarray(COLOR), form)
    is_named = form in ("ICO", "EPS", "JPEG2000")
    words = (
        f"it is {form}, which is not supported; convert it to one of PNG"
        if is_named
        else "it is not an image"
    )
    with pytest.raises(ValueError, match=words):
        decode(data)


def test_transparent_parts_become_white_unless_four_channels_are_asked_for() -> None:
    alpha = np.zeros((6, 5, 1), np.uint8)
    alpha[:3] = 255
    image = decode(png(np.concatenate([COLOR, alpha], axis=2)))
    np.testing.assert_array_equal(with_channels(image, 4)[..., 3:], alpha)
    flat = with_channels(image, 3)
    np.testing.assert_array_equal(flat[:3], COLOR[:3])
    assert (flat[3:] == 255).all()


def test_grey_with_transparency_is_colour_with_transparency() -> None:
    alpha = np.zeros_like(GREY)
    alpha[:3] = 255
    image = decode(saved(Image.fromarray(np.stack([GREY, alpha], axis=2), "LA")))
    assert image.shape == (6, 5, 4)
    np.testing.assert_array_equal(image[..., 3], alpha)
    for channels in (1, 3):
        flat = with_channels(image, channels)
        assert flat.shape == (6, 5, channels)
        assert all((flat[:3, :, c] == GREY[:3]).all() for c in range(channels))
        assert (flat[3:] == 255).all()


def test_grey_and_colour_become_each_other() -> None:
    rgb = with_channels(GREY[..., None], 3)
    assert all((rgb[..., c] == GREY).all() for c in range(3))
    np.testing.assert_array_equal(with_channels(rgb, 1)[..., 0], GREY)
    luminance = COLOR.astype(float) @ [0.299, 0.587, 0.114]
    assert np.abs(with_channels(COLOR, 1)[..., 0] - luminance).max() <= 1
    assert with_channels(GREY[..., None], 4)[0, 0].tolist() == [GREY[0, 0]] * 3 + [255]
    with pytest.raises(ValueError, match="it has 5 channels, which cannot be converted to 3"):
        with_channels(np.zeros((2, 2, 5), np.uint8), 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"hello", "it is not an image"),
        (png(COLOR)[:40], "damaged|not an image"),
        (
            saved(Image.fromarray(RNG.integers(256, size=(64, 64, 3), dtype=np.uint8)))[:-2000],
            "it is damaged",
        ),
        (saved(Image.fromarray(COLOR).convert("CMYK"), "TIFF"), "its colour mode is CMYK"),
        (saved(Image.fromarray(COLOR).convert("CMYK"), "JPEG"), "its colour mode is CMYK"),
        (saved(Image.fromarray(GREY.astype(np.float32)), "TIFF"), "its colour mode is F"),
        (saved(Image.fromarray(np.full((2, 2), 70_000, np.int32)), "TIFF"), "32-bit integers"),
        (saved(Image.fromarray(COLOR).convert("LAB"), "TIFF"), "its colour mode is LAB"),
    ],
    ids=["empty", "text", "header", "truncated", "cmyk", "cmyk jpeg", "float", "32 bits", "lab"],
)
def test_what_cannot_be_used_says_why(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(data)


def png_by_hand(width: int, height: int, bits: int, color: int, rows: bytes) -> bytes:
    """A PNG of kinds that Pillow does not write, or of many pixels, which is quicker."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([bits, color, 0, 0, 0])
    data = b"\x89PNG\r\n\x1a\n"
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        data += len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")
    return data


def black_png(side: int) -> bytes:
    """A black square of one bit per pixel."""
    return png_by_hand(side, side, 1, 0, bytes(side * (1 + -(-side // 8))))


def test_bombs_are_refused_before_they_are_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not decode(black_png(20)).any()  # a small one is an image
    bomb = black_png(20_000)
    assert len(bomb) < 100_000
    with pytest.raises(ValueError, match=r"20000 x 20000 pixels|more than 100,000,000 pixels"):
        decode(bomb)
    monkeypatch.setattr(module, "MAX_PIXELS", 29)
    with pytest.raises(ValueError, match="it has 5 x 6 pixels; the limit is 29"):
        decode(png(COLOR))


def test_crop_takes_the_centred_square_and_fit_the_whole() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    cropped = prepare_image(wide, Preparation(size=10))
    assert cropped.shape == (3, 10, 10)
    assert (cropped == 200).all()
    fitted = prepare_image(wide, Preparation(size=15, resize="fit", filter="bilinear"))
    assert (fitted[:, :5] == 0).all()
    assert (fitted[:, 10:] == 0).all()
    assert fitted[0, 7, 7] == 200


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    channels=st.sampled_from([1, 2, 3, 4, 6]),
    size=st.integers(1, 24),
    resize=st.sampled_from(["crop", "fit"]),
    filter_=st.sampled_from(["lanczos", "bilinear"]),
)
def test_any_image_becomes_the_size_asked_for_and_a_constant_stays(
    height: int, width: int, channels: int, size: int, resize: str, filter_: str
) -> None:
    image = np.full((height, width, channels), 77, np.uint8)
    if channels == 4:
        image[..., 3] = 255
    options = Preparation(size=size, resize=resize, filter=filter_)  # type: ignore[arg-type]
    result = prepare_image(image, options)
    assert result.shape == (channels, size, size)
    assert result.dtype == np.uint8
    if resize == "crop":
        assert (result[:3] == 77).all()
    else:
        middle = (size - 1) // 2
        assert (result[:3, middle, middle] == 77).all()


def test_an_image_of_the_right_size_is_untouched() -> None:
    square = RNG.integers(256, size=(7, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(prepare_image(square, Preparation(size=7)), square.transpose(2, 0, 1))


def test_shrinking_is_antialiased() -> None:
    """A board of single black and white pixels becomes grey, as seen from afar."""
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None]
    for name in ("lanczos", "bilinear"):
        small = prepare_image(board, Preparation(size=16, filter=name))  # type: ignore[arg-type]
        assert np.abs(small.astype(int) - 127).max() < 12


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"size": -1}, "size is -1"),
        ({"size": 100_000}, "size is 100000; it must be at most 10,000"),
        ({"channels": -3}, "channels is -3"),
        ({"resize": "squash"}, "resize is 'squash'; it must be one of crop or fit"),
        ({"filter": "nearest"}, "filter is 'nearest'; it must be one of lanczos or bilinear"),
    ],
)
def test_mistakes_in_the_options(mistake: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Preparation(**mistake)  # type: ignore[arg-type]


def test_no_thread_shows_pillows_warnings_and_all_are_shown_again_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)  # Pillow warns of more, and refuses twice as many
    content = png(np.zeros((9, 9, 3), np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            shapes = {image.shape for image in pool.map(decode, [content] * 400)}
        assert shapes == {(9, 9, 3)}
        assert warnings.filters == before
        with pytest.raises(Image.DecompressionBombWarning):
            Image.open(io.BytesIO(content))


# --- frames and ranges ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG"])
def test_the_first_frame_is_read_and_others_are_said(form: str) -> None:
    frames = [Image.fromarray(np.full((6, 5), value, np.uint8)) for value in (10, 90, 200)]
    picture = decode_picture(saved(frames[0], form, save_all=True, append_images=frames[1:]))
    assert (picture.pixels == 10).all()
    assert picture.has_frames
    assert not decode_picture(saved(frames[0], form)).has_frames


def test_a_gif_that_is_cut_short_is_its_first_frame_or_damaged() -> None:
    frames = [Image.fromarray(np.full((30, 30), value, np.uint8)) for value in (10, 90, 200)]
    whole = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    for end in range(len(whole)):
        with contextlib.suppress(ValueError):
            assert (decode(whole[:end]) == 10).all()


@pytest.mark.parametrize(("form", "dtype"), [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32)])
def test_a_stated_range_scales_deep_files(form: str, dtype: type) -> None:
    values = np.array([[0, 1024, 2048, 4095]], dtype)
    data = saved(Image.fromarray(values), form)
    np.testing.assert_array_equal(decode(data, Range(0, 4095, True))[..., 0], [[0, 64, 128, 255]])
    assert decode(data).max() == 16
    assert decode_picture(data).depth == 16
    assert decode_picture(data, Range(0, 4095, True)).depth == 0
    with pytest.raises(
        ValueError, match=r"its values are in 0..4095, but range is \[0, 1023\]; state a range"
    ):
        decode(data, Range(0, 1023, True))


def test_a_stated_range_reads_floating_point_and_large_integers() -> None:
    floats = saved(Image.fromarray(np.array([[-1, 0, 1]], np.float32)), "TIFF")
    np.testing.assert_array_equal(decode(floats, Range(-1, 1, True))[..., 0], [[0, 128, 255]])
    large = saved(Image.fromarray(np.array([[0, 70_000, 140_000]], np.int32)), "TIFF")
    np.testing.assert_array_equal(decode(large, Range(0, 140_000, True))[..., 0], [[0, 128, 255]])


def test_a_stated_range_leaves_files_of_8_bits_alone() -> None:
    np.testing.assert_array_equal(decode(saved(Image.fromarray(COLOR)), Range(0, 4095, True)), COLOR)


def deep_color(values: np.ndarray) -> bytes:
    """A PNG of 16 bits per channel."""
    height, width, _ = values.shape
    return png_by_hand(width, height, 16, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values))


def test_colour_of_16_bits_is_known_and_a_range_for_it_refused() -> None:
    data = deep_color(np.full((2, 2, 3), 4095))
    picture = decode_picture(data)
    assert (picture.depth, picture.pixels.max()) == (16, 15)
    with pytest.raises(ValueError, match="it has 16 bits per channel, of which only the upper 8 are read"):
        decode(data, Range(0, 4095, True))


@pytest.mark.parametrize("range_", [(1,), (5, 4), (3, 3)])
def test_a_range_is_black_and_white(range_: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"range is .*; give the values of black and white, such as 0 4095"):
        Preparation(range=range_)
