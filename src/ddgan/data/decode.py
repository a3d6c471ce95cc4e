"""One image: from the bytes of a file, or from pixels, to uint8 of the requested size and channels.

Unusual kinds are treated as follows: EXIF orientation is applied; palettes become colours; 16-bit values are
scaled to 8 bits, from the stated range or 0..65535; of several frames the first is used; transparent parts
become white unless four channels are requested; grey with transparency becomes RGBA; grey becomes RGB by
repetition, and colour becomes grey by luminance. CMYK and other colour spaces, floating-point pixels without
a stated range and extremely large images are refused by name.
"""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from annotated_types import Len
from PIL import Image, ImageOps, UnidentifiedImageError

from ddgan.config.settings import Interval, SettingError, number, settings

__all__ = [
    "TOLERANCE",
    "Picture",
    "Preparation",
    "Range",
    "decode",
    "decode_picture",
    "prepare_image",
    "with_channels",
]

MAX_PIXELS = 100_000_000
"""Larger images are refused as decompression bombs."""
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""No other decoder is used."""
NAMED = ("JPEG2000", "AVIF", "PSD", "EPS", "ICO")
"""Formats refused by name, recognised by their first bytes."""
FILTERS = {"lanczos": Image.Resampling.LANCZOS, "bilinear": Image.Resampling.BILINEAR}
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
TOLERANCE = 1e-3
"""Values outside their range by at most this much are clipped."""


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
        range: the values of black and white in arrays of any numeric type and in image files of more than 8
            bits, as in 0 4095; empty for 0 and the largest value of the type.
    """

    size: Annotated[int, Interval(ge=0, le=10_000)] = 0
    channels: Annotated[int, Interval(ge=0, le=65_536)] = 0
    resize: Literal["crop", "fit"] = "crop"
    filter: Literal["lanczos", "bilinear"] = "lanczos"
    range: Annotated[tuple[Annotated[float, Interval(ge=-1e12, le=1e12)], ...], Len(max_length=2)] = ()

    def __post_init__(self) -> None:
        if self.range and not (len(self.range) == 2 and self.range[0] < self.range[1]):
            values = " ".join(str(number(value)) for value in self.range)
            raise SettingError("range", f"is {values}; give the values of black and white, such as 0 4095")

    @property
    def stated(self) -> Range | None:
        """The stated range of pixels, or None."""
        return Range(self.range[0], self.range[1], is_stated=True) if self.range else None


class Range(NamedTuple):
    """The values of black and white.

    Attributes:
        black: the value of black.
        white: the value of white.
        is_stated: whether the user stated it; else it was found in the images read first.
    """

    black: float
    white: float
    is_stated: bool = False

    def __str__(self) -> str:
        return f"[{self.black:g}, {self.white:g}]"

    def to_uint8(self, pixels: np.ndarray) -> np.ndarray:
        """Round to the nearest of 256 levels.

        Raises:
            ValueError: if a value is out of range, or NaN.
        """
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= self.black - TOLERANCE and high <= self.white + TOLERANCE):
            remedy = "those of the images read first in {}; give all images in one range, or as uint8"
            if self.is_stated:
                remedy = "range is {}; state a range with all values"
            raise ValueError(f"its values are in {low:.4g}..{high:.4g}, but {remedy.format(self)}")
        exact: type[Any] = np.float32 if pixels.dtype.kind == "f" else np.float64
        scaled = (pixels.astype(exact) - self.black) * (255 / (self.white - self.black))
        levels: np.ndarray = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        return levels


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        pixels: uint8 (H, W, C).
        depth: 16 if it had more than 8 bits per value, 8 if it was an array of 8 bits; 0 if a stated range
            would have no effect, or was applied.
        has_frames: whether it has further frames, which were not read.
    """

    pixels: np.ndarray
    depth: int = 0
    has_frames: bool = False


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


def decode(content: bytes | np.ndarray | Image.Image, stated: Range | None = None) -> np.ndarray:
    """Decode the bytes of an image file, pixels, or an open picture to uint8 (H, W, C).

    See `decode_picture`.
    """
    return decode_picture(content, stated).pixels


def decode_picture(content: bytes | np.ndarray | Image.Image, stated: Range | None = None) -> Picture:
    """Decode the bytes of an image file, pixels (H, W) or (H, W, C), or an open picture.

    The result has 1, 3 or 4 channels, or as many as an array.

    Args:
        content: the image.
        stated: the values of black and white in pixels, and in files of more than 8 bits per value.

    Raises:
        ValueError: with the reason why the image cannot be used.
    """
    if isinstance(content, Image.Image):
        return _standard(content, stated)
    return _from_file(content, stated) if isinstance(content, bytes) else _from_pixels(content, stated)


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


def _from_file(data: bytes, stated: Range | None) -> Picture:
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
            is_deep_color = picture.mode in ("RGB", "RGBA", "LA") and _has_16_bits(picture, data)
            if is_deep_color and stated is not None:
                raise ValueError(
                    "it has 16 bits per channel, of which only the upper 8 are read; convert it to 8 bits, "
                    "or give the images as an array"
                )
            found = _standard(picture, stated)
            return Picture(found.pixels, 16 if is_deep_color else found.depth, _has_frames(picture))
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


def _has_16_bits(picture: Image.Image, data: bytes) -> bool:
    """Whether a colour image file has 16 bits per channel; Pillow reads the upper 8 of them."""
    if picture.format == "PNG":
        return data[24] == 16
    bits: Any = getattr(picture, "tag_v2", {}).get(258, ())  # BitsPerSample of a TIFF
    return bool(bits) and bits[0] == 16


def _has_frames(picture: Image.Image) -> bool:
    """Whether a file has more than one frame; the picture stays at its first, which is loaded."""
    try:
        return bool(getattr(picture, "is_animated", False))
    except Exception:  # a damaged second frame is not a frame
        return False


def _standard(picture: Image.Image, stated: Range | None = None) -> Picture:
    """Convert a picture of any unambiguous mode to uint8 (H, W, C)."""
    mode = picture.mode
    if mode.startswith("I") or (mode == "F" and stated is not None):
        values = np.asarray(picture)[..., None]
        return Picture(stated.to_uint8(values)) if stated is not None else Picture(_eight_bits(values), 16)
    if mode in ("1", "L", "RGB", "RGBA") and "transparency" not in picture.info:
        target = "L" if mode == "1" else mode
    elif mode in ("L", "P", "PA", "LA", "La", "RGBa", "RGBX", "RGB", "1", "RGBA"):
        opaque = mode == "RGBX" or (mode in ("P", "L", "RGB", "1") and "transparency" not in picture.info)
        target = "RGB" if opaque else "RGBA"
    elif mode == "F":
        raise ValueError("its colour mode is F, floating-point; state the values of black and white by range")
    else:
        raise ValueError(f"its colour mode is {mode}, which is not supported; convert it to RGB")
    pixels = np.asarray(picture.convert(target))
    return Picture(pixels[..., None] if pixels.ndim == 2 else pixels)


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Scale 16-bit values to 8 bits, 65535 to 255."""
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(
            "its values are 32-bit integers outside 0..65535; state the values of black and white by range"
        )
    return ((values.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)


def _from_pixels(pixels: np.ndarray, stated: Range | None) -> Picture:
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if stated is not None:
        return Picture(stated.to_uint8(pixels))
    if pixels.dtype == np.bool_:
        return Picture(pixels.astype(np.uint8) * 255)
    if pixels.dtype == np.uint16:
        return Picture(_eight_bits(pixels), 16)
    return Picture(pixels, 8)


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
