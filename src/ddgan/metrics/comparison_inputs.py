"""What an evaluation compares with what: samples, real data, features; the costly parts made when needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import torch

from ddgan.data import check_source
from ddgan.metrics.features import Features, PixelFeatures
from ddgan.metrics.frechet import Statistics
from ddgan.metrics.labelled import ClassifierFeatures, TrainedClassifier, trained_classifier
from ddgan.metrics.modes import modes_are_countable
from ddgan.metrics.real_data import RealData, RealFeatures, open_real, real_features
from ddgan.metrics.samples import Samples
from ddgan.metrics.statistics_files import published_statistics
from ddgan.metrics.torchscript import open_torchscript

BY_FEATURES = frozenset(
    {"frechet", "kernel", "precision_recall", "density_coverage", "inception_score", "memorisation"}
)
BY_CLASSIFIER = frozenset({"balance", "classes"})
WITH_STATISTICS = ("frechet", "inception_score", "speed")
"""What can be scored against a file of mu and sigma."""
AUTO_INCEPTION_SIZE = 32
"""Colour images from this size on are compared by Inception features unless others are asked for."""


@dataclass
class Inputs:
    """The arguments of `evaluate`, opened.

    Attributes:
        samples: what is scored.
        source: the data, or file of statistics, that it is compared with.
        features_name: "auto" or what `--features` takes.
        split: of the data.
        held_out: data for memorisation, instead of the split "test".
        seed: of the samples.
        progress: whether progress is shown.
        asked_device: where features of samples in files are computed; by default the CPU.
        warnings: what a reader of the scores should know.
    """

    samples: Samples
    source: str
    features_name: str
    split: str | None
    held_out: str | None
    seed: int
    progress: bool
    asked_device: torch.device | None = None
    warnings: list[str] = field(default_factory=list)

    @cached_property
    def device(self) -> torch.device:
        """Where features are computed: where the model is, if distances in float64 can be had there."""
        model = self.samples.model
        device = self.asked_device if model is None else model.device
        return torch.device("cpu") if device is None or device.type == "mps" else device

    @cached_property
    def published(self) -> Statistics | None:
        """The statistics, if the source is a file of them."""
        return published_statistics(self.source)

    @cached_property
    def real(self) -> RealData | None:
        """The data to compare with; None for a file of statistics."""
        if self.published is not None:
            return None
        check_source(self.source)
        return self.open(self.source, self.split)

    @cached_property
    def training(self) -> RealData:
        """What classifiers learn from and samples may have been copied from."""
        assert self.real is not None
        if self.split in (None, "train"):
            return self.real
        return self.open(self.source, None if self.real.split == "all" else "train")

    def open(self, source: str, split: str | None) -> RealData:
        """Real data of the samples' shape."""
        samples = self.samples
        return open_real(source, split, samples.count, samples.state_shape, progress=self.progress)

    @cached_property
    def classifier(self) -> TrainedClassifier:
        """Of the labelled training data."""
        return trained_classifier(self.training, progress=self.progress)

    @cached_property
    def classifier_features(self) -> ClassifierFeatures:
        """Its features."""
        return ClassifierFeatures(self.classifier, self.training.stacked)

    @cached_property
    def features(self) -> Features:
        """The features that distributions are compared by."""
        name = self._automatic() if self.features_name == "auto" else self.features_name
        if name == "pixels":
            return PixelFeatures()
        if name != "classifier":
            return open_torchscript(name)
        if self.real is None:
            raise ValueError(
                "features classifier need the labelled data; name a file of statistics' features"
            )
        return self.classifier_features

    def _automatic(self) -> str:
        shape, real = self.samples.state_shape, self.real
        if len(shape) != 3:
            return "pixels"
        is_plain = real is None or not real.stacked
        if is_plain and shape[0] == 3 and min(shape[1:]) >= AUTO_INCEPTION_SIZE:
            return "inception"
        return "classifier" if real is not None and real.labels is not None else "pixels"

    @cached_property
    def unseen(self) -> RealData:
        """Real images that the model was not trained on.

        Raises:
            ValueError: if there are none.
        """
        try:
            if self.held_out is not None:
                return self.open(self.held_out, None)
            found = self.open(self.source, "test")
            if found.checksum == self.training.checksum:
                raise ValueError(f"'{self.source}' is the same in every split")
        except ValueError as error:
            raise ValueError(
                f"memorisation needs images that the model was not trained on: {error}; name some as held_out"
            ) from None
        return found

    def real_features(self, real: RealData, features: Features) -> RealFeatures:
        """Of real data, from the cache or computed now."""
        return real_features(real, features, self.device, progress=self.progress)

    def check(self, asked: set[str]) -> None:
        """Complain about what cannot be scored, before the work is done."""
        samples = self.samples
        if "speed" in asked and samples.model is None:
            raise ValueError(f"metrics: speed is of models, and '{samples.name}' are samples; leave it out")
        if self.published is not None and (others := sorted(asked - set(WITH_STATISTICS))):
            raise ValueError(
                f"metrics: {', '.join(others)} need real images, and '{self.source}' has statistics only; "
                f"choose from {', '.join(WITH_STATISTICS)}"
            )
        if asked == {"speed"}:
            return
        real = self.real
        if "modes" in asked and (real is None or not modes_are_countable(real)):
            raise ValueError(
                "metrics: modes are counted for digits, single_digits, gaussians and stackedmnist:FOLDER, "
                f"not for {self.source}; use balance, or recall"
            )
        if asked & BY_CLASSIFIER and (real is None or real.labels is None):
            raise ValueError(f"metrics: balance and classes need labels, and '{self.source}' has none")
        if "classes" in asked and samples.labels is None:
            raise ValueError(
                "metrics: classes are for models trained with classes, or a .npz with labels; use balance"
            )
        if "memorisation" in asked:
            assert self.unseen is not None
        if "inception_score" in asked and not self.features.has_probabilities:
            raise ValueError(
                f"metrics: inception_score needs class probabilities, which features {self.features.name} do "
                "not have; use inception or classifier"
            )
