"""The features `pixels`: the values of an image, or the coordinates of a point."""

from __future__ import annotations

import hashlib

from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.features import Compared, FeatureBatch, Features

__all__ = ["PixelFeatures", "PixelFeaturesConfig"]

MOST_PIXELS = 8192
"""With more dimensions the covariances would be too large."""


class PixelFeatures(Features):
    """Pixels in [-1, 1], flattened; points unchanged."""

    name = "pixels"
    checksum = hashlib.sha256(b"pixels 1").hexdigest()
    batch_size = 4096

    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        flat = images.flatten(1)
        if flat.shape[1] > MOST_PIXELS:
            raise ValueError(
                f"features pixels are for small images, but these have {flat.shape[1]:,} values, more than "
                f"{MOST_PIXELS:,}; use classifier if the data has labels, else inception or vgg16, "
                "whose weights are downloaded"
            )
        return FeatureBatch(flat if flat.is_floating_point() else flat.float() / 127.5 - 1)


@register("features", "pixels")
class PixelFeaturesConfig:
    """Pixels; no settings."""

    def open(self, inputs: Compared) -> PixelFeatures:
        return PixelFeatures()
