"""One image: from the bytes of a file, or from pixels, to uint8 of the wanted size and channels.

What happens to the less usual kinds is decided here, on purpose: EXIF orientation is applied; palettes
become colours; 16-bit values are scaled to 8 bits; transparent parts become white unless four channels
are asked for; grey with transparency becomes colour with transparency; grey becomes RGB by repetition and
colour grey by luminance. CMYK and other spaces, floating-point pixels and absurdly large images are refused
by name.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from typing import Annotated, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ddgan.config.settings import Interval, settings

__all__ = ["Preparation", "decode", "prepare_image", "with_channels"]

MAX_PIXELS = 100_000_000
"""An image with more is refused as a decompression bomb."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""No other decoder sees a file."""
NAMED = ("GIF", "JPEG2000", "AVIF", "PPM", "PSD", "EPS", "ICO")
"""Formats that are refused by name, known by their first bytes."""
FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bilinear": Image.Resampling.BILINEAR}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@settings
class Preparation:
    """What every image is made into.

    Args:
        size: height and width in pixels, up to 10,000; 0 keeps the images' own, which must then all be equal.
        channels: 1 (grey), 3 (RGB), 4 (RGBA) or what an array has; 0 takes those of the first image,
            without its transparency.
        resize: "crop" cuts the largest centred square and scales it; "fit" scales the whole image into
            the square and pads it with black.
        filter: "lanczos" or "bilinear", both antialiased.
    """

    size: Annotated[int, Interval(ge=0, le=10_000)] = 0
    channels: Annotated[int, Interval(ge=0, le=65_536)] = 0
    resize: Literal["crop", "fit"] = "crop"
    filter: Literal["lanczos", "bilinear"] = "lanczos"


class _Quiet:
    """Hides Pillow's warnings, of large images and odd tags, while any thread is within."""

    def __init__(self) -> None:
        self._lock, self._within = threading.Lock(), 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._within == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                warnings.simplefilter("ignore", UserWarning)
            self._within += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._within -= 1
            if self._within == 0:
                self._filters.__exit__(None, None, None)


QUIET = _Quiet()


def decode(content: bytes | np.ndarray | Image.Image) -> np.ndarray:
    """Bytes of an image file, pixels, or an open picture, as uint8 (H, W, C).

    C is 1, 3 or 4, or what an array has.

    Raises:
        ValueError: saying why it cannot be used.
    """
    if isinstance(content, Image.Image):
        return _standard(content)
    return _from_file(content) if isinstance(content, bytes) else _from_pixels(content)


def prepare_image(image: np.ndarray, options: Preparation) -> np.ndarray:
    """uint8 (H, W, C) -> uint8 (C, size, size) with the wanted channels."""
    image = with_channels(image, options.channels)
    if options.size and image.shape[:2] != (options.size, options.size):
        image = _resized(image, options)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """uint8 (H, W, C) with another number of channels; 0 keeps them."""
    given = image.shape[2]
    if channels in (0, given):
        return image
    if given == 1 and channels == 3:
        return np.repeat(image, 3, axis=2)
    if given in MODES and channels in MODES:
        picture = Image.fromarray(image[..., 0] if given == 1 else image)
        if given == 4 and channels != 4:
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        converted = np.asarray(picture.convert(MODES[channels]))
        return converted[..., None] if channels == 1 else converted
    raise ValueError(f"it has {given} channels, which cannot become {channels}")


def _from_file(data: bytes) -> np.ndarray:
    if not data:
        raise ValueError("it is empty")
    try:
        with QUIET, Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"it has {picture.width} x {picture.height} pixels; at most {MAX_PIXELS:,} are read"
                )
            picture.load()
            with contextlib.suppress(Exception):  # an unreadable EXIF block tells no orientation
                ImageOps.exif_transpose(picture, in_place=True)
            return _standard(picture)
    except UnidentifiedImageError:
        raise ValueError(_not_read(data)) from None
    except Image.DecompressionBombError:
        raise ValueError(f"it has more than {MAX_PIXELS:,} pixels") from None
    except ValueError:
        raise
    except Exception as error:  # damaged files raise what they like
        raise ValueError(f"it is damaged: {error}") from None


def _not_read(data: bytes) -> str:
    """What a file is that no decoder in use knows; its first bytes are compared, nothing is decoded."""
    Image.init()
    for name in NAMED:
        _, accepts = Image.OPEN.get(name, (None, None))
        if accepts is not None and accepts(data[:16]):
            return f"it is {name}, which is not read; convert it to one of {', '.join(FORMATS)}"
    return "it is not an image"


def _standard(picture: Image.Image) -> np.ndarray:
    """uint8 (H, W, C) of a picture of any kind that has a plain meaning."""
    mode = picture.mode
    if mode.startswith("I"):
        return _eight_bits(np.asarray(picture))[..., None]
    if mode in ("1", "L", "RGB", "RGBA") and "transparency" not in picture.info:
        target = "L" if mode == "1" else mode
    elif mode in ("L", "P", "PA", "LA", "La", "RGBa", "RGBX", "RGB", "1", "RGBA"):
        opaque = mode == "RGBX" or (mode in ("P", "L", "RGB", "1") and "transparency" not in picture.info)
        target = "RGB" if opaque else "RGBA"
    else:
        raise ValueError(f"its colours are {mode}, which is not read; convert it to RGB")
    pixels = np.asarray(picture.convert(target))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """16-bit values scaled to 8 bits, 65535 becoming 255."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values are 32-bit integers outside 0..65535, which have no 8-bit meaning")
    return ((values.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)


def _from_pixels(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = _eight_bits(pixels)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _resized(image: np.ndarray, options: Preparation) -> np.ndarray:
    """To (size, size, C), each channel by itself where the picture has no mode for them."""
    height, width, channels = image.shape
    if channels not in MODES:
        parts = [_resized(image[..., c : c + 1], options) for c in range(channels)]
        return np.concatenate(parts, axis=2)
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    filter_, size = FILTERS[options.filter], options.size
    if options.resize == "crop":
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        picture = picture.resize((size, size), filter_, (left, top, left + side, top + side))
    else:
        scale = size / max(height, width)
        inner = (max(round(width * scale), 1), max(round(height * scale), 1))
        canvas = Image.new(picture.mode, (size, size))
        canvas.paste(picture.resize(inner, filter_), ((size - inner[0]) // 2, (size - inner[1]) // 2))
        picture = canvas
    pixels = np.asarray(picture)
    return pixels[..., None] if pixels.ndim == 2 else pixels
