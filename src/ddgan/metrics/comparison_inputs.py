"""The inputs of an evaluation: samples, real data, features; costly parts are computed when needed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch

from ddgan.data.batch import DataConfig
from ddgan.data.cache import check_cached
from ddgan.data.embedded import is_embedded
from ddgan.data.sources import data_named, prepared_as
from ddgan.metrics.features import Features, FeaturesConfig, features_named
from ddgan.metrics.labelled import (
    ClassifierFeatures,
    TrainedClassifier,
    check_classifier,
    classifier_features,
    classifier_path,
)
from ddgan.metrics.moments import Statistics
from ddgan.metrics.pixels import MOST_PIXELS, PixelFeatures
from ddgan.metrics.real_data import HELD_OUT, RealData, open_real
from ddgan.metrics.real_features import RealFeatures, kept_in, real_features
from ddgan.metrics.samples import Samples
from ddgan.metrics.statistics_files import published_statistics
from ddgan.metrics.thumbnails import ThumbnailFeatures, has_thumbnails
from ddgan.metrics.torchscript import INCEPTION

__all__ = ["AUTO", "OFFLINE", "Inputs", "features_at_hand", "is_for_inception"]

AUTO, OFFLINE = "auto", "offline"
"""Stand for the features that suit the data, and for the best of those that need no download."""
SHIPPED = {
    "emoji_classifier": (3, 32, 32),
    "cifar10_classifier": (3, 32, 32),
    "mnist_classifier": (1, 28, 28),
}
"""Features that come with ddgan, and the shape of their images."""
EMOJI = "emoji"
AUTO_INCEPTION_SIZE = 32
"""Colour images of at least this size are compared by Inception features by default."""
MOST_SHARED = 0.01
"""Largest share of held-out images that may be training images by chance; such images are left out."""
NEEDED = ("name", "checksum", "batch_size", "has_probabilities", "metadata")
"""Attributes of all features."""


def is_for_inception(shape: tuple[int, ...], is_stacked: bool = False) -> bool:
    """Whether samples of this shape are colour images that Inception features suit."""
    return len(shape) == 3 and not is_stacked and shape[0] == 3 and min(shape[1:]) >= AUTO_INCEPTION_SIZE


def features_at_hand(
    shape: tuple[int, ...], has_labels: bool, data_name: str = "", is_stacked: bool = False
) -> list[str]:
    """Return the features for samples of this shape that need no download, the best first.

    Args:
        shape: the shape of a sample.
        has_labels: whether the data has labels.
        data_name: name of the data.
        is_stacked: whether each channel is a digit.
    """
    found = ["inception"] if is_for_inception(shape, is_stacked) and INCEPTION.path().is_file() else []
    own = [kind for kind, its_shape in SHIPPED.items() if its_shape == shape]
    found += [kind for kind in own if (kind == "emoji_classifier") == (data_name == EMOJI)]
    if has_labels and len(shape) == 3:
        found.append(ClassifierFeatures.name)
    if has_thumbnails(shape) and not own:
        found.append(ThumbnailFeatures.name)
    if math.prod(shape) <= MOST_PIXELS:
        found.append(PixelFeatures.name)
    return found


@dataclass
class Inputs:
    """The opened arguments of `evaluate`.

    Attributes:
        samples: what is scored.
        data: what it is compared with: data by name or by its settings, or a file of statistics.
        asked_features: the settings of features, "auto" or "offline".
        split: of the data.
        held_out: data for memorisation, instead of what the run held out, or the split "test".
        seed: of the samples.
        progress: whether progress is shown.
        is_own: whether the data is the model's own, not named by the user: then it must have the contents
            that the run recorded.
        asked_device: where features of samples in files are computed; by default the CPU.
        warnings: what a reader of the scores should know.
    """

    samples: Samples
    data: str | DataConfig
    asked_features: Any = AUTO
    split: str | None = None
    held_out: str | DataConfig | None = None
    seed: int = 0
    progress: bool = False
    is_own: bool = False
    asked_device: torch.device | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def data_name(self) -> str:
        """Name of the data for a reader."""
        return self.data if isinstance(self.data, str) else self.data.name

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of a sample."""
        return self.samples.sample_shape

    @cached_property
    def device(self) -> torch.device:
        """Device for features: that of the model, if it supports float64."""
        model = self.samples.model
        device = self.asked_device if model is None else model.device
        return torch.device("cpu") if device is None or device.type == "mps" else device

    @cached_property
    def published(self) -> Statistics | None:
        """The statistics, if a file of them was given instead of data."""
        return published_statistics(self.data)

    @cached_property
    def real(self) -> RealData | None:
        """The data to compare with; None for a file of statistics."""
        if self.published is not None:
            return None
        data_named(self.data).check()
        if self.is_own and self.samples.data_checksum:  # of its training split, whichever is asked for
            own = self.open(self.data, None, self.samples.data_checksum)
            if self.split is None:
                return own
        return self.open(self.data, self.split)

    @cached_property
    def training(self) -> RealData:
        """The training data, which classifiers learn from and samples may copy.

        Raises:
            ValueError: if there are only statistics of it.
        """
        if self.real is None:
            raise ValueError(
                f"'{self.data_name}' has statistics only, and a classifier learns from images; name the "
                "images as data, or the features that the statistics are of"
            )
        if self.split in (None, "train"):
            return self.real
        return self.open(self.data, None if self.real.split == "all" else "train")

    @cached_property
    def learned(self) -> RealData:
        """The images that the model was trained on: the training data without those that its run held out.

        Raises:
            ValueError: if there are only statistics of it.
        """
        if self._num_held_out:
            return self.open(self.data, None, num_held_out=self._num_held_out)
        return self.training

    @property
    def _num_held_out(self) -> int:
        """The number of images that the run of the model held out, if the data is that of the run."""
        model, recorded = self.samples.model, self.samples.data_checksum
        is_own = self.is_own or (recorded and self.training.checksum == recorded)
        return model.config.training.held_out if model is not None and is_own else 0

    @cached_property
    def unseen(self) -> RealData:
        """Real images that the model was not trained on: none is equal to one of `learned`.

        They are those given as `held_out`, or that the run or the preparation of the data held out, or the
        split "test".

        Raises:
            ValueError: if there are none, or more than a few are training images.
        """
        try:
            return self._without_overlap(self._held_out_data())
        except ValueError as error:
            raise ValueError(
                f"memorisation needs images that the model was not trained on: {error}; name some as "
                "held_out, or hold some out before training (training.held_out, ddgan prepare --hold_out)"
            ) from None

    def _held_out_data(self) -> RealData:
        if self.held_out is not None:
            return self.open(self.held_out, None)
        own = data_named(self.data)
        if is_embedded(own) or self._num_held_out:
            return self.open(self.data, HELD_OUT, num_held_out=self._num_held_out)
        try:
            return self.open(self.data, HELD_OUT)
        except ValueError:
            return self.open(self.data, "test")

    def _without_overlap(self, unseen: RealData) -> RealData:
        """Leave out the images that are also training images; refuse them if they are more than a few."""
        shared = np.isin(unseen.keys, self.learned.keys)
        if not shared.any():
            return unseen
        count = int(shared.sum())
        said = f"{count:,} of {len(unseen):,} held-out images of '{unseen.name}' ({unseen.split})"
        if count > MOST_SHARED * len(unseen):
            first = int(np.flatnonzero(shared)[0])
            raise ValueError(f"{said} are training images, the first is image {first}")
        self.warnings.append(f"memorisation: left out {said}, which are also training images")
        return unseen.part(np.flatnonzero(~shared), unseen.split)

    def open(
        self, data: str | DataConfig, split: str | None, checksum: str = "", num_held_out: int = 0
    ) -> RealData:
        """Real data of the samples' shape, prepared as the model's own data if it is named by a path."""
        samples = self.samples
        data = prepared_as(data, samples.own_data)
        real = open_real(
            data,
            split,
            samples.count,
            samples.sample_shape,
            num_held_out=num_held_out,
            checksum=checksum,
            progress=self.progress,
        )
        if not self.is_own:  # the training has told those of its own data
            notes = (f"{real.name}: {note}" for note in real.notes)
            self.warnings += [note for note in notes if note not in self.warnings]
        return real

    @cached_property
    def features(self) -> Features:
        """The features that distributions are compared in."""
        config = self._features_config
        if self.uses_classifier:
            return self.classifier_features
        features = config.open(self)
        if missing := [name for name in NEEDED if not hasattr(features, name)]:
            raise ValueError(
                f"features {config.kind} have no {missing[0]}, which all features have: see "
                "ddgan.metrics.features.Features"
            )
        return features

    @property
    def uses_classifier(self) -> bool:
        """Whether the features are those of a classifier of the data."""
        return bool(self._features_config.kind == ClassifierFeatures.name)

    @cached_property
    def _features_config(self) -> FeaturesConfig:
        chosen = self.asked_features
        if chosen == AUTO:
            chosen = features_named(self._suitable())
        elif chosen == OFFLINE:
            chosen = features_named(self.at_hand()[0])
        config: FeaturesConfig = chosen
        return config

    def check_features(self) -> None:
        """Check before any work that features can be had and kept; only a classifier is not made yet.

        Raises:
            ValueError: if their weights are missing, they are not for such data, or the cache cannot be
                written.
        """
        if self.uses_classifier:
            check_classifier(self.training)
            if not classifier_path(self.training).is_file():
                return
        if self.real is not None:
            check_cached(kept_in(self.real, self.features), f"features of '{self.data_name}'")

    def at_hand(self) -> list[str]:
        """Return the features for these samples that need no download, the best first.

        Raises:
            ValueError: if there are none.
        """
        shape, real = self.samples.sample_shape, self.real
        has_labels = real is not None and real.labels is not None
        found = features_at_hand(shape, has_labels, self.data_name, real is not None and real.stacked)
        if not found:
            raise ValueError(
                f"no features for samples of shape {shape} are at hand; name some by --features: a "
                "TorchScript file X.pt with X.json beside it"
            )
        return found

    def _suitable(self) -> str:
        shape, real = self.samples.sample_shape, self.real
        if len(shape) != 3:
            return "pixels"
        if is_for_inception(shape, real is not None and real.stacked):
            return "inception"
        return "classifier" if real is not None and real.labels is not None else "pixels"

    @cached_property
    def classifier_features(self) -> ClassifierFeatures:
        """Features of a classifier of the labelled training data."""
        return classifier_features(self)

    @property
    def classifier(self) -> TrainedClassifier:
        """The classifier of these features."""
        return self.classifier_features.classifier

    def real_features(self, real: RealData, features: Features) -> RealFeatures:
        """Features of real data, cached or computed now."""
        return real_features(real, features, self.device, progress=self.progress)
