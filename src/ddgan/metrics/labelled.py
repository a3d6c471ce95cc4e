"""The features `classifier`: a small network trained once on the labels of the data, and cached.

For stacked digits it classifies one channel at a time: the features of an image are those of its channels,
concatenated, and the probability of a number is the product of the probabilities of its digits.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.data.cache import cache_folder, check_cached
from ddgan.data.digits import split_digits
from ddgan.metrics.classifier import (
    ImageClassifier,
    MeasuredClassifier,
    fit_classifier,
    from_uint8,
    keep_classifier,
    kept_classifier,
    measured,
)
from ddgan.metrics.features import Compared, FeatureBatch, Features
from ddgan.metrics.real_data import RealData
from ddgan.system.progress import progress_bar
from ddgan.system.randomness import generator_for

__all__ = [
    "ClassifierFeatures",
    "ClassifierFeaturesConfig",
    "Labelled",
    "TrainedClassifier",
    "check_classifier",
    "classifier_features",
    "classifier_path",
    "classifier_seconds",
    "trained_classifier",
]

VERSION = 1
"""Increased whenever the same data would give another classifier."""
IMAGES_SEEN = 150_000
"""Images per training; the number of epochs is limited to 2..30."""
BATCH_SIZE = 128
HELD_OUT = 10
"""One image in HELD_OUT is kept from training, to measure accuracy."""


@dataclass(frozen=True)
class Labelled:
    """Training and held-out images, uint8 (N, C, H, W), with their labels."""

    images: np.ndarray
    labels: np.ndarray
    held_out_images: np.ndarray
    held_out_labels: np.ndarray
    num_classes: int

    @classmethod
    def of(cls, data: RealData) -> Labelled:
        """Return the training data of the classifier.

        Raises:
            ValueError: if the data has no labels, or no images.
        """
        check_labelled(data)
        assert data.labels is not None
        if data.name in ("digits", "single_digits"):
            train, test = split_digits("train"), split_digits("test")
            return cls(train[0][:, None], train[1], test[0][:, None], test[1], 10)
        images, labels, num_classes = data.images, data.labels, data.num_classes
        if data.stacked:
            images, labels = single_digits_of(data)
            num_classes = 10
        order = torch.randperm(len(labels), generator=generator_for(0, "held out")).numpy()
        count = max(len(labels) // HELD_OUT, 1)
        test_rows, train_rows = np.sort(order[:count]), np.sort(order[count:])
        if not len(train_rows):
            raise ValueError(f"'{data.name}' has only one image; a classifier needs more")
        return cls(images[train_rows], labels[train_rows], images[test_rows], labels[test_rows], num_classes)


def check_labelled(data: RealData) -> None:
    """Check that a classifier can learn from this data.

    Raises:
        ValueError: if it has no labels, or no images.
    """
    if data.labels is None:
        raise ValueError(
            f"'{data.name}' has no labels, which a classifier needs; use the features inception or "
            "vgg16, whose weights are downloaded, or pixels (up to 8,192 values)"
        )
    if data.images.ndim != 4:
        raise ValueError(f"'{data.name}' has no images, which a classifier needs; use the features pixels")


def single_digits_of(data: RealData) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct digits of stacked data, uint8 (N, 1, H, W), and their labels 0..9.

    Each digit appears once, however many stacks have it, so none is both trained on and held out.
    """
    assert data.labels is not None
    found: dict[bytes, tuple[int, int, int]] = {}
    for first in range(0, len(data), 4096):
        images = np.asarray(data.images[first : first + 4096])
        for index, stack in enumerate(images):
            number = int(data.labels[first + index])
            for channel, digit in enumerate((number // 100, number // 10 % 10, number % 10)):
                key = hashlib.blake2b(stack[channel].tobytes(), digest_size=12).digest()
                found.setdefault(key, (first + index, channel, digit))
    rows, channels, digits = (np.array(column) for column in zip(*found.values(), strict=True))
    return data.images[rows, channels][:, None], digits.astype(np.int64)


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier of labelled data, with its measured accuracy.

    Attributes:
        network: classifies images, or single channels of stacks.
        accuracy: on held-out images.
        confidence: for single-channel images, the high-confidence shares (p >= 0.9) of real and of
            pixel-shuffled ones.
        checksum: SHA-256 of its weights.
    """

    network: ImageClassifier
    accuracy: float
    confidence: tuple[float, float]
    checksum: str

    @cached_property
    def of_channels(self) -> MeasuredClassifier:
        """The classifier as one of digits in channels."""
        return MeasuredClassifier(self.network, self.accuracy, *self.confidence)


def classifier_path(data: RealData) -> Path:
    """Return the file of the cache for the classifier of this data; it may not exist."""
    key = hashlib.sha256(json.dumps([data.checksum, data.split, VERSION]).encode()).hexdigest()[:20]
    return cache_folder() / "classifiers" / f"{key}.safetensors"


def check_classifier(data: RealData) -> None:
    """Check that a classifier of this data can be had, without training it.

    Raises:
        ValueError: if the data has no labels, or no images, or the cache cannot be written.
    """
    check_labelled(data)
    check_cached(classifier_path(data), f"a classifier of '{data.name}'")


def classifier_seconds(data: RealData) -> float:
    """Return about how many seconds `trained_classifier` takes for data without one in the cache."""
    _, channels, size, _ = data.images.shape
    if data.stacked:
        channels = 1
    network = ImageClassifier(channels, size, max(data.num_classes, 2))
    images = torch.zeros(BATCH_SIZE, channels, size, size)
    seconds = []
    for _ in range(2):  # the first is slower
        began = time.perf_counter()
        network(images).sum().backward()
        seconds.append(time.perf_counter() - began)
    return seconds[-1] * _num_epochs(len(data)) * len(data) / BATCH_SIZE


def _num_epochs(count: int) -> int:
    return min(max(IMAGES_SEEN // count, 2), 30)


def trained_classifier(data: RealData, *, progress: bool = False) -> TrainedClassifier:
    """Return the classifier of this data, from the cache or trained now (seconds to minutes on a CPU).

    Raises:
        ValueError: if the data has no labels, or no images.
    """
    path = classifier_path(data)
    if not path.is_file():
        _train(Labelled.of(data), data.stacked, path, progress)
    tensors, about = kept_classifier(path)
    network = ImageClassifier(about["channels"], about["size"], about["num_classes"])
    network.load_state_dict(tensors)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    return TrainedClassifier(network.eval(), about["accuracy"], tuple(about["confidence"]), checksum)


def _train(labelled: Labelled, stacked: bool, path: Path, progress: bool) -> None:
    count, channels, size, _ = labelled.images.shape
    epochs = _num_epochs(count)
    with progress_bar("training classifier", epochs * max(count // BATCH_SIZE, 1), enabled=progress) as step:
        network = fit_classifier(
            lambda: ImageClassifier(channels, size, labelled.num_classes),
            labelled.images,
            labelled.labels,
            seed=0,
            num_epochs=epochs,
            reject=stacked,
            batch_size=BATCH_SIZE,
            on_step=lambda: step(1),
        )
    about: dict[str, Any] = {"channels": channels, "size": size, "num_classes": labelled.num_classes}
    about["accuracy"] = _accuracy(network, labelled)
    about["confidence"] = [0.0, 0.0]
    if channels == 1:
        found = measured(network, labelled.held_out_images, labelled.held_out_labels)
        about["confidence"] = [found.confident_real, found.confident_shuffled]
    keep_classifier(path, network, about)


@torch.no_grad()
def _accuracy(network: ImageClassifier, labelled: Labelled) -> float:
    right = 0
    for first in range(0, len(labelled.held_out_labels), 1024):
        images = from_uint8(labelled.held_out_images[first : first + 1024])
        labels = torch.from_numpy(labelled.held_out_labels[first : first + 1024])
        right += int((network(images).argmax(dim=1) == labels).sum())
    return right / len(labelled.held_out_labels)


class ClassifierFeatures(Features):
    """Features of a classifier of the data; see `Features`.

    Args:
        classifier: the classifier.
        stacked: whether it classifies each channel separately.
    """

    name = "classifier"
    batch_size = 512
    has_probabilities = True

    def __init__(self, classifier: TrainedClassifier, stacked: bool) -> None:
        self.classifier = classifier
        self._network, self._stacked = classifier.network, stacked
        self.checksum = hashlib.sha256(f"{classifier.checksum} {stacked}".encode()).hexdigest()
        self.metadata = {"classifier_accuracy": classifier.accuracy}

    def to(self, device: torch.device) -> ClassifierFeatures:
        self._network.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor, with_probabilities: bool = False) -> FeatureBatch:
        x = images.float() / 127.5 - 1
        if self._stacked:
            x = x.flatten(0, 1).unsqueeze(1)
        features = self._network.features(x)
        whole = features.view(len(images), -1)
        if not with_probabilities:
            return FeatureBatch(whole)
        probabilities = self._network.head(features).softmax(dim=1)
        if self._stacked:
            r, g, b = probabilities.view(len(images), 3, -1).unbind(dim=1)
            probabilities = torch.einsum("nr,ng,nb->nrgb", r, g, b).flatten(1)
        return FeatureBatch(whole, probabilities)


def classifier_features(inputs: Compared) -> ClassifierFeatures:
    """Return the features of a classifier of the training data.

    Raises:
        ValueError: if the data has no labels, or is a file of statistics.
    """
    data = inputs.training
    return ClassifierFeatures(trained_classifier(data, progress=inputs.progress), data.stacked)


@register("features", "classifier")
class ClassifierFeaturesConfig:
    """Features of a classifier of the data; no settings."""

    def open(self, inputs: Compared) -> ClassifierFeatures:
        return classifier_features(inputs)
