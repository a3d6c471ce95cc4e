"""The features `pixels`: the values of an image, or the coordinates of a point."""

from __future__ import annotations

import hashlib
import math

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
        check_pixels(images[0].numel())
        flat = images.flatten(1)
        return FeatureBatch(flat if flat.is_floating_point() else flat.float() / 127.5 - 1)


def check_pixels(count: int) -> None:
    """Check that images of this many values are small enough.

    Raises:
        ValueError: if not, naming features for others.
    """
    if count > MOST_PIXELS:
        raise ValueError(
            f"features pixels are for small images, but these have {count:,} values, more than "
            f"{MOST_PIXELS:,}; use classifier if the data has labels, else inception or vgg16, "
            "whose weights are downloaded"
        )


@register("features", "pixels")
class PixelFeaturesConfig:
    """Pixels; no settings."""

    def open(self, inputs: Compared) -> PixelFeatures:
        """Open the features.

        Raises:
            ValueError: if the images are too large.
        """
        check_pixels(math.prod(inputs.sample_shape))
        return PixelFeatures()
