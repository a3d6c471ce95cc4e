"""Features, which scores compare instead of pixels: the slot `features` and the names of its kinds.

    inception       2,048 features of the network of all published FIDs, from inception-2015-12-05.pt
    vgg16           4,096 features of the network of the paper's recall
    classifier      a small network trained here on the labelled data; needs no download
    cifar10_classifier, emoji_classifier, mnist_classifier
                    networks whose weights come with ddgan, for images of their data's shape
    thumbnails      the first of these on larger images reduced to its size
    pixels          the pixels, or the coordinates of points
    X.pt            any TorchScript network, described by X.json beside it (the kind `torchscript`)

All take what a person would see: uint8 images. A kind of your own is one file:

    class MeanColour(Features):
        name, checksum = "mean_colour", "version 1"

        def __call__(self, images, with_probabilities=False):
            return FeatureBatch(images.float().mean(dim=(2, 3)))

    @ddgan.register("features", "mean_colour")
    class MeanColourConfig:
        def open(self, inputs):
            return MeanColour()

    ddgan.evaluate(model, metrics=["frechet"], features="mean_colour")
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from ddgan.config.components import SHORTHANDS, kinds, make
from ddgan.config.settings import SettingError, shown
from ddgan.metrics.real_data import RealData

__all__ = ["Compared", "FeatureBatch", "Features", "FeaturesConfig", "features_named", "known_features"]

NAMES = (
    "inception",
    "vgg16",
    "classifier",
    "cifar10_classifier",
    "emoji_classifier",
    "mnist_classifier",
    "thumbnails",
    "pixels",
)
"""The kinds that come with ddgan and need no settings."""
TORCHSCRIPT = "torchscript"
ENDINGS = (".pt", ".pth", ".ts")
"""File name endings of TorchScript files."""
SHORTHANDS["features"] = lambda text: (
    {"kind": TORCHSCRIPT, "path": text} if Path(text).suffix in ENDINGS else {"kind": text}
)


class FeatureBatch(NamedTuple):
    """Features float32 (B, D), and class probabilities (B, K) if requested."""

    features: Tensor
    probabilities: Tensor | None = None


class Features:
    """A function from images to features: the base of all kinds.

    Attributes:
        name: what `--features` calls it.
        checksum: changes with all that decides its values; features of real data are kept under it.
        batch_size: how many images it takes at a time, always the same, so that results are too.
        has_probabilities: whether it also is a classifier, as the Inception score needs.
        metadata: what else a reader of the scores should know, such as a classifier's accuracy.
    """

    name: str
    checksum: str
    batch_size: int = 64
    has_probabilities: bool = False
    metadata: Mapping[str, Any] = MappingProxyType({})

    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        """Compute features of uint8 images (B, C, H, W) or float32 points (B, ...)."""
        raise NotImplementedError

    def to(self, device: torch.device) -> Self:
        """Move to a device; returns self."""
        return self


class Compared(Protocol):
    """What features may use of the evaluation that they are opened for."""

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of a sample, and of the data."""
        ...

    @property
    def training(self) -> RealData:
        """The real training images.

        Raises:
            ValueError: if there are only statistics of them.
        """
        ...

    @property
    def progress(self) -> bool:
        """Whether to show progress bars."""
        ...


class FeaturesConfig(Protocol):
    """Settings of features: the slot `features`."""

    kind: ClassVar[str]

    def open(self, inputs: Compared) -> Features:
        """Open the features for an evaluation.

        Raises:
            ValueError: if they cannot be had.
        """
        ...


def known_features() -> list[str]:
    """Return the kinds that need no settings: those of ddgan, then those of other packages."""
    return [*NAMES, *(kind for kind in kinds("features") if kind not in (*NAMES, TORCHSCRIPT))]


def features_named(given: str | FeaturesConfig) -> Any:
    """Return the settings of features given as a kind, the path of a TorchScript file, or settings.

    Raises:
        ValueError: saying what features may be.
    """
    if isinstance(given, str) and Path(given).suffix in ENDINGS and not Path(given).expanduser().is_file():
        raise _unknown(given, "does not exist")
    try:
        config = make("features", given)
    except SettingError as error:
        if error.name == "kind":
            raise _unknown(given, "is not known") from None
        raise error.within("features") from None
    if not callable(getattr(config, "open", None)):
        raise ValueError(
            f"features: {type(config).__name__} is registered as {config.kind}, but has no method "
            "open(inputs); see ddgan.metrics.features.FeaturesConfig"
        )
    return config


def _unknown(given: Any, problem: str) -> ValueError:
    name, known = f"'{given}'" if isinstance(given, str) else shown(given), known_features()
    return ValueError(
        f"features {name} {problem}; {did_you_mean(given, known)}choose from {', '.join(known)}, or name a "
        "TorchScript file X.pt with X.json beside it (a package that adds others is named by --import "
        "PACKAGE, or imported before)"
    )


def did_you_mean(given: Any, known: Iterable[str]) -> str:
    """Return a hint that names the known name closest to an unknown one, or nothing if none is close."""
    near = difflib.get_close_matches(given, known, 1, 0.6) if isinstance(given, str) else []
    return f"did you mean {near[0]}? " if near else ""


def score_name(features: Features, published: str, plain: str) -> str:
    """Return the name of a score: `published`, such as FID, for Inception features, else `plain`."""
    return published if features.name == "inception" else f"{plain} ({features.name} features)"
