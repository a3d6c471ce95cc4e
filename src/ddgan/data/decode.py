"""One image: from the bytes of a file, or from pixels, to uint8 of the requested size and channels.

Unusual kinds are treated as follows: EXIF orientation is applied; palettes become colours; 16-bit values are
scaled to 8 bits; transparent parts become white unless four channels are requested; grey with transparency
becomes RGBA; grey becomes RGB by repetition, and colour becomes grey by luminance. CMYK and other colour
spaces, floating-point pixels and extremely large images are refused by name.
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
"""Larger images are refused as decompression bombs."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
"""No other decoder is used."""
NAMED = ("GIF", "JPEG2000", "AVIF", "PPM", "PSD", "EPS", "ICO")
"""Formats refused by name, recognised by their first bytes."""
FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bilinear": Image.Resampling.BILINEAR}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@settings
class Preparation:
    """Size and channels of prepared images.

    Args:
        size: height and width in pixels, up to 10,000; 0 keeps the size of the images, which must be equal.
        channels: 1 (grey), 3 (RGB), 4 (RGBA), or the number of channels of an array; 0 uses that of the first
            image, without its transparency.
        resize: "crop" cuts the largest centred square and scales it; "fit" scales the whole image into
            the square and pads it with black.
        filter: "lanczos" or "bilinear", both antialiased.
    """

    size: Annotated[int, Interval(ge=0, le=10_000)] = 0
    channels: Annotated[int, Interval(ge=0, le=65_536)] = 0
    resize: Literal["crop", "fit"] = "crop"
    filter: Literal["lanczos", "bilinear"] = "lanczos"


class _Quiet:
    """Hides Pillow's warnings about large images and odd tags while any thread is inside."""

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
    """Decode the bytes of an image file, pixels, or an open picture to uint8 (H, W, C).

    C is 1, 3 or 4, or the number of channels of an array.

    Raises:
        ValueError: with the reason why the image cannot be used.
    """
    if isinstance(content, Image.Image):
        return _standard(content)
    return _from_file(content) if isinstance(content, bytes) else _from_pixels(content)


def prepare_image(image: np.ndarray, options: Preparation) -> np.ndarray:
    """uint8 (H, W, C) -> uint8 (C, size, size) with the requested channels."""
    image = with_channels(image, options.channels)
    if options.size and image.shape[:2] != (options.size, options.size):
        image = _resized(image, options)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def with_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Convert uint8 (H, W, C) to another number of channels; 0 keeps them."""
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
    raise ValueError(f"it has {given} channels, which cannot be converted to {channels}")


def _from_file(data: bytes) -> np.ndarray:
    if not data:
        raise ValueError("it is empty")
    try:
        with QUIET, Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"it has {picture.width} x {picture.height} pixels; the limit is {MAX_PIXELS:,}"
                )
            picture.load()
            with contextlib.suppress(Exception):  # an unreadable EXIF block has no orientation
                ImageOps.exif_transpose(picture, in_place=True)
            return _standard(picture)
    except UnidentifiedImageError:
        raise ValueError(_not_read(data)) from None
    except Image.DecompressionBombError:
        raise ValueError(f"it has more than {MAX_PIXELS:,} pixels") from None
    except ValueError:
        raise
    except Exception as error:  # damaged files can raise any exception
        raise ValueError(f"it is damaged: {error}") from None


def _not_read(data: bytes) -> str:
    """Describe a file that no decoder in use knows by its first bytes; nothing is decoded."""
    Image.init()
    for name in NAMED:
        _, accepts = Image.OPEN.get(name, (None, None))
        if accepts is not None and accepts(data[:16]):
            return f"it is {name}, which is not supported; convert it to one of {', '.join(FORMATS)}"
    return "it is not an image"


def _standard(picture: Image.Image) -> np.ndarray:
    """Convert a picture of any unambiguous mode to uint8 (H, W, C)."""
    mode = picture.mode
    if mode.startswith("I"):
        return _eight_bits(np.asarray(picture))[..., None]
    if mode in ("1", "L", "RGB", "RGBA") and "transparency" not in picture.info:
        target = "L" if mode == "1" else mode
    elif mode in ("L", "P", "PA", "LA", "La", "RGBa", "RGBX", "RGB", "1", "RGBA"):
        opaque = mode == "RGBX" or (mode in ("P", "L", "RGB", "1") and "transparency" not in picture.info)
        target = "RGB" if opaque else "RGBA"
    else:
        raise ValueError(f"its colour mode is {mode}, which is not supported; convert it to RGB")
    pixels = np.asarray(picture.convert(target))
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale 16-bit values to 8 bits, 65535 to 255."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its values are 32-bit integers outside 0..65535, which cannot be scaled to 8 bits")
    return ((values.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)


def _from_pixels(pixels: np.ndarray) -> np.ndarray:
    if pixels.dtype == np.bool_:
        pixels = pixels.astype(np.uint8) * 255
    elif pixels.dtype == np.uint16:
        pixels = _eight_bits(pixels)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _resized(image: np.ndarray, options: Preparation) -> np.ndarray:
    """Resize to (size, size, C), each channel separately if Pillow has no mode for their number."""
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
