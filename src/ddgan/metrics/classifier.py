"""Small classifiers, trained here on labelled images: that of digits, and the features `classifier`.

The classifier of digits must not call blobs digits: half of each training batch are non-digits (shuffled
pixels, smooth noise, blends of two different digits) whose target is the uniform distribution. And it must
read what a person reads: the digits it learns from carry noise of random strength, from none at all.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.data.cache import cache_folder
from ddgan.data.digits import split_digits
from ddgan.system.files import parse_json, read_tensors, save_tensors
from ddgan.system.randomness import generator_for

__all__ = [
    "CONFIDENT",
    "DigitClassifier",
    "ImageClassifier",
    "MeasuredClassifier",
    "digits_classifier",
    "fit_classifier",
    "measured",
    "train_digit_classifier",
]

NUM_CLASSES = 10
CONFIDENT = 0.9
"""A digit is classified with high confidence if its largest class probability is at least this."""
DIGITS_VERSION = 1
"""Incremented whenever training would give another classifier of digits."""
LARGEST_NOISE = 0.3
"""Standard deviation of the strongest noise in which the classifier must recognise a digit."""
PURPOSE = "judge"
"""Key of the random numbers of training; another word would give other classifiers."""


class DigitClassifier(nn.Module):
    """Grey images (B, 1, H, W) in [-1, 1] -> logits (B, 10)."""

    def __init__(self, size: int, width: int = 32) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.head = nn.Linear(2 * width * (size // 2) ** 2, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(F.dropout(self.features(images), 0.3, self.training))
        return logits


class ImageClassifier(nn.Module):
    """Images (B, C, H, W) in [-1, 1] -> logits (B, K), for images of any size.

    Four convolutions, the first few of which halve until about 4 pixels remain; larger images are first
    averaged down to 32 pixels.
    """

    WIDTHS = (32, 64, 128, 128)
    LARGEST = 32
    HALVING_FIRST = (2, 1, 0, 3)
    """The order in which convolutions are chosen to halve the size."""

    def __init__(self, channels: int, size: int, num_classes: int) -> None:
        super().__init__()
        halvings = max(round(math.log2(min(size, self.LARGEST) / 4)), 0)
        layers: list[nn.Module] = []
        for place, width in enumerate(self.WIDTHS):
            stride = 2 if place in self.HALVING_FIRST[:halvings] else 1
            layers += [nn.Conv2d(channels, width, 3, stride, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels, num_classes)

    @property
    def num_features(self) -> int:
        """D of `features`."""
        return self.WIDTHS[-1]

    def features(self, images: Tensor) -> Tensor:
        """Return the features (B, 128) before the last layer."""
        if max(images.shape[2:]) > self.LARGEST:
            images = F.adaptive_avg_pool2d(images, self.LARGEST)
        maps: Tensor = self.layers(images)
        return maps.mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(F.dropout(self.features(images), 0.2, self.training))
        return logits


@dataclass(frozen=True)
class MeasuredClassifier:
    """A trained classifier of single channels and how far it can be trusted, measured on held-out digits.

    Attributes:
        network: grey images (B, 1, H, W) in [-1, 1] -> logits (B, 10).
        accuracy: on held-out real digits.
        confident_real: share of held-out real digits that are classified with high confidence.
        confident_shuffled: the same share after shuffling each digit's pixels; must stay below 0.2.
    """

    network: nn.Module
    accuracy: float
    confident_real: float
    confident_shuffled: float

    @torch.no_grad()
    def read(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Classify each channel of images (B, C, H, W): digits int64 (B, C) and probabilities (B, C)."""
        device = next(self.network.parameters()).device
        grey = images.flatten(0, 1).unsqueeze(1).float()
        logits = torch.cat([self.network(part.to(device)).cpu() for part in grey.split(4096)])
        probabilities = logits.softmax(dim=1)
        confidence, digit = probabilities.max(dim=1)
        return digit.view(images.shape[:2]), confidence.view(images.shape[:2])


def shuffle_pixels(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shuffle the pixels of each image (B, 1, H, W)."""
    order = torch.rand(len(images), images[0].numel(), generator=rng).argsort(dim=1)
    return images.flatten(1).gather(1, order).view_as(images)


def non_digits(images: Tensor, labels: Tensor, rng: torch.Generator) -> Tensor:
    """Make images that are not digits: shuffled pixels, smooth blobs, blends of two digits."""
    third = len(images) // 3
    shuffled = shuffle_pixels(images[:third], rng)
    noise = torch.randn(images[third : 2 * third].shape, generator=rng)
    blobs = (F.avg_pool2d(noise, 3, 1, 1) * 4).clamp(-1, 1)
    first, other = images[2 * third :], images[2 * third :].flip(0)
    different = labels[2 * third :] != labels[2 * third :].flip(0)
    blends = ((first + other) / 2)[different]
    return torch.cat([shuffled, blobs, blends])


def train_digit_classifier(
    images: np.ndarray, labels: np.ndarray, seed: int, num_epochs: int = 25
) -> DigitClassifier:
    """Train on grey uint8 images (N, H, W) with labels (N,); seconds for the 1,437 small digits."""
    size = images.shape[-1]
    return fit_classifier(
        lambda: DigitClassifier(size), images[:, None], labels, seed, num_epochs, reject=True
    )


Network = TypeVar("Network", bound=nn.Module)


def fit_classifier(
    make: Callable[[], Network],
    images: np.ndarray,
    labels: np.ndarray,
    seed: int,
    num_epochs: int,
    *,
    reject: bool = False,
    batch_size: int = 64,
    on_step: Callable[[], None] | None = None,
) -> Network:
    """Train a new classifier on uint8 images (N, C, H, W) with labels (N,).

    With `reject` it learns noisy digits, and a uniform prediction for images that are not digits.
    """
    y = torch.from_numpy(labels)
    rng = generator_for(seed, PURPOSE)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make()
        optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2)
        batches = max(len(y) // batch_size, 1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=batches * num_epochs)
        for _ in range(num_epochs):
            for index in torch.randperm(len(y), generator=rng).split(batch_size)[:batches]:
                real = from_uint8(images[index.numpy()])
                if reject:
                    strength = LARGEST_NOISE * torch.rand(len(index), 1, 1, 1, generator=rng)
                    noisy = (real + strength * torch.randn(real.shape, generator=rng)).clamp(-1, 1)
                    logits = model(torch.cat([noisy, non_digits(real, y[index], rng)]))
                    loss = -logits[len(real) :].log_softmax(dim=1).mean()
                else:
                    logits, loss = model(real), torch.zeros(())
                loss = loss + F.cross_entropy(logits[: len(real)], y[index])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                schedule.step()
                if on_step is not None:
                    on_step()
    return model.eval()


def from_uint8(images: np.ndarray) -> Tensor:
    """Convert uint8 (N, C, H, W) to float32 in [-1, 1]."""
    return torch.from_numpy(images).float() / 127.5 - 1


def measured(network: nn.Module, images: np.ndarray, labels: np.ndarray, seed: int = 0) -> MeasuredClassifier:
    """Measure the accuracy and confidence of a classifier on held-out uint8 images (N, 1, H, W)."""
    real = from_uint8(images)
    unmeasured = MeasuredClassifier(network, 0.0, 0.0, 0.0)
    digit, confidence = unmeasured.read(real)
    _, shuffled = unmeasured.read(shuffle_pixels(real, generator_for(seed, "shuffled")))
    return MeasuredClassifier(
        network,
        accuracy=float((digit[:, 0] == torch.from_numpy(labels)).double().mean()),
        confident_real=float((confidence >= CONFIDENT).double().mean()),
        confident_shuffled=float((shuffled >= CONFIDENT).double().mean()),
    )


METADATA = "facts"
"""Key of the metadata in the file of a classifier."""


def keep_classifier(path: Path, network: nn.Module, about: dict[str, Any]) -> None:
    """Write a trained network and its metadata atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_tensors(path, network.state_dict(), {METADATA: json.dumps(about)})


def kept_classifier(
    path: Path, remedy: str = "delete it, and it will be made again"
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the weights and metadata that `keep_classifier` wrote.

    Args:
        path: the file.
        remedy: what an error tells a person to do.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        tensors, metadata = read_tensors(path)
        return tensors, parse_json(metadata[METADATA])
    except (OSError, KeyError, ValueError) as error:
        raise ValueError(f"'{path}' is damaged ({error}); {remedy}") from None


def digits_classifier_path(seed: int = 0) -> Path:
    """Return the file of the cache for the classifier of stacked digits; it may not exist."""
    return cache_folder() / "classifiers" / f"digits-{DIGITS_VERSION}-{seed}.safetensors"


@cache
def digits_classifier(seed: int = 0) -> MeasuredClassifier:
    """Return the classifier of stacked digits, trained on the train split, measured on the test split."""
    path = digits_classifier_path(seed)
    images, labels = split_digits("test")
    if path.is_file():
        network = DigitClassifier(images.shape[-1])
        network.load_state_dict(kept_classifier(path)[0])
        network.eval()
    else:
        network = train_digit_classifier(*split_digits("train"), seed)
        keep_classifier(path, network, {})
    return measured(network, images[:, None], labels, seed)
