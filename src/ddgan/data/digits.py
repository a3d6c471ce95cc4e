"""Stacked digits: the paper's StackedMNIST experiment at 8 x 8 pixels, without a download.

The 1,797 scanned handwritten digits in digits.npz have 8 x 8 pixels of 17 grey levels. Three random digits
become the red, green and blue channels of one image, so the data has 1,000 modes: 000..999.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository, 1998, CC BY 4.0; see digits_notice.txt. The order is that of scikit-learn's `load_digits`.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.data.batch import EVERY, Batch
from ddgan.data.embedded import EmbeddedConfig, test_rows
from ddgan.data.weighting import ClassDraws, Members, Weights
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.system.devices import to_device
from ddgan.system.randomness import generator_for

__all__ = [
    "DigitsConfig",
    "SingleDigits",
    "SingleDigitsConfig",
    "StackedDigits",
    "load_digits",
    "split_digits",
]

FILE = "digits.npz"
"""File beside this module: grey levels 0..16, uint8 (1797, 8, 8), and labels, uint8 (1797,)."""
HELD_OUT_PER_CLASS = 36
"""Digits of each class held out from training, for scores of classifiers and generators."""


@cache
def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Load all 1,797 single digits: uint8 images (N, 8, 8) and int64 labels (N,)."""
    with np.load(Path(__file__).with_name(FILE)) as file:
        levels, labels = file["images"], file["labels"]
    return np.round(levels * (255 / 16)).astype(np.uint8), labels.astype(np.int64)


@cache
def split_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the single digits of split "train" or "test" (a fixed random choice of 36 of each class)."""
    images, labels = load_digits()
    held_out = test_rows(labels, 10, lambda size: HELD_OUT_PER_CLASS)
    chosen = held_out if split == "test" else ~held_out
    return images[chosen], labels[chosen]


class StackedDigits:
    """Endless random triples of digits as RGB images, (3, 8, 8) in [-1, 1]; the class is 100 R + 10 G + B.

    Batch `step` depends only on (seed, step).
    """

    sample_shape: tuple[int, ...] = (3, 8, 8)
    conditions = ConditionShapes(num_classes=1000)
    checksum = ""

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu", split: str = "train") -> None:
        images, labels = split_digits(split)
        self.labels = torch.from_numpy(labels).to(device)
        self._digits = torch.from_numpy(images).to(device).float() / 127.5 - 1
        self._places = torch.tensor([100, 10, 1][-self.sample_shape[0] :], device=device)
        self._seed, self._device, self._split = seed, device, split
        self._weighted: tuple[ClassDraws, Members] | None = None

    def triples(self, step: int, size: int) -> Tensor:
        """Return the indices of the three digits of each image in the batch, int64 (size, 3)."""
        if self._weighted is not None:
            draws, members = self._weighted
            classes, rng = draws.classes(step, size)
            return members.draw(classes[:, None] // self._places.cpu() % 10, rng)
        rng = generator_for(self._seed, "stacked digits", step)
        return torch.randint(len(self._digits), (size, self.sample_shape[0]), generator=rng)

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """Return the images of iteration `step`, (size, 3, 8, 8) in [-1, 1], with their classes."""
        chosen = to_device(self.triples(step, size)[rows], self._digits.device)
        label = (self.labels[chosen] * self._places).sum(dim=1)
        return Batch(self._digits[chosen], Condition(label=label))

    def weighted(self, weights: Weights) -> tuple[Self, ClassDraws]:
        """Return the same digits with class weights, and how they are drawn."""
        members = Members(self.labels, 10)
        counts = members.counts.double()
        for _ in range(self.sample_shape[0] - 1):
            counts = torch.outer(counts, members.counts.double()).flatten()
        draws = ClassDraws(weights, counts, self._seed)
        other = copy.copy(self)
        other._weighted = draws, members
        return other, draws

    def held_out(self, size: int) -> Batch | None:
        """Return images of the test split; None if this is the test split."""
        if self._split == "test":
            return None
        return type(self)(self._seed, self._device, "test").batch(0, size)


class SingleDigits(StackedDigits):
    """Single grey digits, (1, 8, 8) in [-1, 1], with ten classes."""

    sample_shape = (1, 8, 8)
    conditions = ConditionShapes(num_classes=10)


@register("data", "digits")
class DigitsConfig(EmbeddedConfig):
    """Stacked digits, 3 x 8 x 8, included in the package."""

    dataset: ClassVar[Any] = StackedDigits


@register("data", "single_digits")
class SingleDigitsConfig(EmbeddedConfig):
    """Single digits, 1 x 8 x 8, included in the package."""

    dataset: ClassVar[Any] = SingleDigits
