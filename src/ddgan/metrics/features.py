"""Features: what the scores compare instead of pixels, and the names that scores of them bear.

    inception       2,048 features of the network of all published FIDs, from inception-2015-12-05.pt
    vgg16           4,096 features of the network of the paper's recall
    FILE.pt         any TorchScript network, described by FILE.json beside it
    classifier      a small network trained here on the labelled data; needs no download
    pixels          the pixels, or the coordinates of points

All take what a person would see: uint8 images. Only scores of Inception's features are called FID.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

NAMES = ("inception", "vgg16", "classifier", "pixels")
MOST_PIXELS = 8192
"""More dimensions than this have covariances too large to work with."""


class FeatureBatch(NamedTuple):
    """Features float32 (B, D), and class probabilities (B, K) if they were asked for."""

    features: Tensor
    probabilities: Tensor | None = None


class Features(Protocol):
    """A function from images to features.

    Attributes:
        name: what `--features` calls it.
        checksum: SHA-256 of all that decides its values.
        batch_size: how many images it takes at a time, always the same, so that results are too.
        has_probabilities: whether it also is a classifier, as the Inception score needs.
        facts: what else a reader of the scores should know, such as a classifier's accuracy.
    """

    name: str
    checksum: str
    batch_size: int
    has_probabilities: bool
    facts: dict[str, Any]

    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        """Features of uint8 images (B, C, H, W), or of points float32 (B, F)."""
        ...

    def to(self, device: torch.device) -> Features:
        """Move to a device; returns self."""
        ...


SCORE_NAMES = {
    "frechet": ("FID", "Fréchet distance"),
    "kernel": ("KID", "kernel distance"),
    "inception_score": ("Inception score", "class score"),
}
"""Of each score: its name for Inception features, and for others."""


def score_name(metric: str, features: Features) -> str:
    """What a score of these features is called."""
    short, plain = SCORE_NAMES[metric]
    return short if features.name == "inception" else f"{plain} ({features.name} features)"


class PixelFeatures:
    """The pixels in [-1, 1], flattened; points as they are."""

    name = "pixels"
    checksum = hashlib.sha256(b"pixels 1").hexdigest()
    batch_size = 4096
    has_probabilities = False

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {}

    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        flat = images.flatten(1)
        if flat.shape[1] > MOST_PIXELS:
            raise ValueError(
                f"features pixels are for small images: these have {flat.shape[1]:,} values, more than "
                f"{MOST_PIXELS:,}; use inception, vgg16 or classifier"
            )
        return FeatureBatch(flat if flat.is_floating_point() else flat.float() / 127.5 - 1)

    def to(self, device: torch.device) -> PixelFeatures:
        return self


def check_features(name: str) -> None:
    """Complain where `name` is no kind of features, before any work is done.

    Raises:
        ValueError: saying what features may be.
    """
    path = Path(name).expanduser()
    if name in NAMES:
        return
    if path.suffix not in (".pt", ".pth", ".ts") or not path.is_file():
        problem = "does not exist" if path.suffix in (".pt", ".pth", ".ts") else "is not known"
        raise ValueError(
            f"features '{name}' {problem}; choose from {', '.join(NAMES)}, or name a TorchScript file X.pt "
            "with X.json beside it"
        )
