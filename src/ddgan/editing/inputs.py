"""Inputs of edits: pictures and masks of any size and mode, converted to samples of a model.

A picture is cropped to its largest centred square and scaled to the model's size; its mask is treated the
same way, so that both stay aligned. `ddgan.data.decode` reads the modes; only CMYK, YCbCr and HSV, which
training data must not have, are converted to RGB here.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ddgan.data.decode import MAX_PIXELS, Preparation, decode, prepare_image, with_channels
from ddgan.models.ddgan import DDGAN

__all__ = ["Picture", "read_images", "read_mask"]

COLORS = ("CMYK", "YCbCr", "HSV")
"""Modes that are converted to RGB."""
Picture: TypeAlias = str | Path | bytes | np.ndarray | Image.Image
"""A file's path or bytes, an array (H, W) or (H, W, C) of uint8, uint16 or bool, or a PIL image."""


def read_images(model: DDGAN, images: Tensor | Picture | Sequence[Picture]) -> Tensor:
    """Convert pictures, or a tensor of samples, to (B, *sample_shape) on the model's device, in [-1, 1].

    Raises:
        ValueError: naming the image that cannot be read or does not fit the model.
    """
    if isinstance(images, Tensor):
        return _samples(model, images)
    several = isinstance(images, Sequence) and not isinstance(images, str | bytes)
    pictures: Sequence[Picture] = images if several else [images]  # type: ignore[assignment,list-item]
    if not pictures:
        raise ValueError("no image was given; name at least one")
    pixels = [_fitted(model, picture) for picture in pictures]
    return (torch.from_numpy(np.stack(pixels)).float() / 127.5 - 1).to(model.device)


def read_mask(model: DDGAN, mask: Tensor | Picture, like: Tensor | Picture) -> Tensor:
    """Read the mask of pixels to fill, bool, with a shape that broadcasts against (B, *sample_shape).

    Args:
        model: the model that will fill the mask.
        mask: a picture, white where it is to be filled, of the size of `like` or of the model; or a bool
            tensor (*spatial), (C, *spatial), (B, 1, *spatial) or (B, C, *spatial), for points (F,) or (B, F).
        like: the image of the mask.

    Raises:
        ValueError: naming the size of the mask and the valid sizes.
    """
    shape = model.sample_shape
    if isinstance(mask, Tensor):
        for_all = {shape, shape[1:]} if len(shape) > 1 else {shape}
        for_each = {shape, (1, *shape[1:])}
        given = tuple(mask.shape)
        fits = given[1:] in for_each if mask.ndim > len(shape) else given in for_all
        if mask.dtype != torch.bool or not fits:
            raise ValueError(
                f"mask is {mask.dtype} of shape {tuple(mask.shape)}; it must be torch.bool with the shape of "
                f"a sample, {shape}, with or without channels, for all images or for each"
            )
        return mask.to(model.device)
    size = _image_size(model)
    grey = with_channels(_decoded(mask), 1)
    own = shape[1:] if isinstance(like, Tensor) else _decoded(like).shape[:2]
    if grey.shape[:2] not in (own, shape[1:]):
        raise ValueError(
            f"mask has {_pixels(grey.shape)} pixels, but its image has {_pixels(own)}; "
            f"give a mask of that size, or of the model's {_pixels(shape[1:])}"
        )
    if grey.shape[:2] != shape[1:]:
        grey = prepare_image(grey, Preparation(size, 1))[0, ..., None]
    return torch.from_numpy(grey[..., 0] >= 128).to(model.device)


def _samples(model: DDGAN, images: Tensor) -> Tensor:
    images = images[None] if images.shape == model.sample_shape else images
    if tuple(images.shape[1:]) != model.sample_shape or not len(images) or not images.is_floating_point():
        raise ValueError(
            f"images is {images.dtype} of shape {tuple(images.shape)}; a tensor must hold samples of this "
            f"model: floating point, (B, {', '.join(map(str, model.sample_shape))})"
        )
    if not images.isfinite().all():
        raise ValueError("images has values that are not finite; give numbers in [-1, 1]")
    return images.to(model.device, torch.float32)


def _fitted(model: DDGAN, picture: Picture) -> np.ndarray:
    """Convert a picture to uint8 (C, H, W) of the model's shape."""
    size, channels = _image_size(model), model.sample_shape[0]
    pixels = _decoded(picture)
    try:
        return prepare_image(pixels, Preparation(size, channels))
    except ValueError as error:
        raise ValueError(f"image {_name(picture)} cannot be used: {error}") from None


def _image_size(model: DDGAN) -> int:
    shape = model.sample_shape
    if len(shape) != 3 or shape[1] != shape[2]:
        kind = {1: "points", 3: "images that are not square"}.get(len(shape), "samples")
        raise ValueError(f"the model makes {kind} of shape {shape}; give a tensor of samples, not pictures")
    return shape[1]


def _decoded(picture: Picture) -> np.ndarray:
    try:
        content = Path(picture).read_bytes() if isinstance(picture, str | Path) else picture
        if isinstance(content, np.ndarray) and (
            content.ndim not in (2, 3) or 0 in content.shape or content.dtype not in ("u1", "u2", "?")
        ):
            raise ValueError(
                f"it is {content.dtype} of shape {content.shape}; "
                "give uint8, uint16 or bool, (H, W) or (H, W, C)"
            )
        return decode(_as_rgb(content))
    except FileNotFoundError:
        raise ValueError(f"image {_name(picture)} does not exist") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"image {_name(picture)} cannot be used: {error}") from None


def _as_rgb(content: bytes | np.ndarray | Image.Image) -> bytes | np.ndarray | Image.Image:
    """Convert a CMYK, YCbCr or HSV picture to RGB; return everything else unchanged."""
    if isinstance(content, bytes):
        try:
            picture = Image.open(io.BytesIO(content))
        except Exception:  # decode reports the problem
            return content
        if picture.mode in COLORS and picture.width * picture.height <= MAX_PIXELS:
            return ImageOps.exif_transpose(picture).convert("RGB")
    elif isinstance(content, Image.Image) and content.mode in COLORS:
        return content.convert("RGB")
    return content


def _name(picture: Picture) -> str:
    return f"'{picture}'" if isinstance(picture, str | Path) else f"({type(picture).__name__})"


def _pixels(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
