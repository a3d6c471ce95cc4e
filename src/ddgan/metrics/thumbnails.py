"""The features `thumbnails`: what the classifier of CIFAR-10 sees of an image reduced to 32 x 32 pixels.

For images larger than its own, where no better weights are at hand: layout, colour and coarse shapes are
compared, detail is not.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch.nn import functional as F

from ddgan.config.components import register
from ddgan.metrics.features import Compared, FeatureBatch, Features
from ddgan.metrics.shipped_classifiers import FOLDER, ShippedClassifier

__all__ = ["SIZE", "ThumbnailFeatures", "ThumbnailsConfig", "has_thumbnails"]

SIZE = 32
"""Height and width of the reduced images."""
CHANNELS = (1, 3, 4)
"""Grey is repeated for the three colours, and a fourth channel is not looked at."""


def has_thumbnails(sample_shape: tuple[int, ...]) -> bool:
    """Whether samples are images that are not smaller than a thumbnail."""
    return len(sample_shape) == 3 and sample_shape[0] in CHANNELS and min(sample_shape[1:]) >= SIZE


class ThumbnailFeatures(Features):
    """Features of images reduced by averaging over areas; see `Features`."""

    name = "thumbnails"
    batch_size = 512

    def __init__(self) -> None:
        self._classifier = ShippedClassifier(FOLDER / "cifar10.safetensors")
        self.checksum = hashlib.sha256(f"{self._classifier.checksum} {SIZE} 1".encode()).hexdigest()
        self.metadata = self._classifier.metadata

    def to(self, device: torch.device) -> ThumbnailFeatures:
        self._classifier.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        colours = images[:, :3].float()
        reduced = F.adaptive_avg_pool2d(colours, SIZE)
        return self._classifier(reduced.expand(-1, 3, -1, -1))


@register("features", "thumbnails")
class ThumbnailsConfig:
    """Features of reduced images; no settings."""

    def open(self, inputs: Compared) -> ThumbnailFeatures:
        """Open the features.

        Raises:
            ValueError: if the samples are not images of at least 32 pixels, or the weights are missing.
        """
        if not has_thumbnails(inputs.sample_shape):
            raise ValueError(
                f"features thumbnails are for grey, RGB and RGBA images of at least {SIZE} pixels, and these "
                f"samples have the shape {inputs.sample_shape}; choose the features classifier or pixels"
            )
        return ThumbnailFeatures()
