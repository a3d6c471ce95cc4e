"""Emoji: 1,861 pictures of 32 x 32 pixels in nine classes, with no download.

The classes are the groups of Unicode. Of each class a tenth, rounded down, is the split "test" (183 of them),
a fixed random choice; the other 1,678 are the split "train".

Source: Noto Emoji, Copyright Google Inc., Apache License 2.0; see emoji_notice.txt.
"""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.data.batch import EVERY, Batch, shuffled_indices
from ddgan.data.embedded import EmbeddedConfig, test_rows
from ddgan.data.weighting import ClassDraws, WeightedOrder, Weights
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.system.devices import to_device

__all__ = ["GROUPS", "Emoji", "EmojiConfig", "load_emoji", "split_emoji"]

FILE = "emoji.npz"
"""Beside this file: images, uint8 (1861, 32, 32, 3), and labels, int64 (1861,)."""
GROUPS = (
    "Smileys & Emotion",
    "People & Body",
    "Animals & Nature",
    "Food & Drink",
    "Travel & Places",
    "Activities",
    "Objects",
    "Symbols",
    "Flags",
)
"""The names of the classes, in order."""
HELD_OUT = 10
"""One picture in so many of each class is kept from training."""


@cache
def load_emoji() -> tuple[np.ndarray, np.ndarray]:
    """All 1,861 pictures: uint8 images (N, 3, 32, 32) and int64 labels (N,) in 0..8."""
    with np.load(Path(__file__).with_name(FILE), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2)), labels.astype(np.int64)


@cache
def split_emoji(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The images and labels of the split "train" or "test", in the order of Unicode."""
    images, labels = load_emoji()
    held_out = test_rows(labels, len(GROUPS), lambda size: size // HELD_OUT)
    chosen = held_out if split == "test" else ~held_out
    return images[chosen], labels[chosen]


class Emoji:
    """Pictures of emoji on white, (3, 32, 32) in [-1, 1], with their nine classes.

    Every epoch shows each picture once; batch `step` depends on (seed, step) alone.
    """

    sample_shape = (3, 32, 32)
    conditions = ConditionShapes(num_classes=len(GROUPS))
    checksum = ""

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu", split: str = "train") -> None:
        images, labels = split_emoji(split)
        self._pixels, self._labels = (torch.from_numpy(array).to(device) for array in (images, labels))
        self._seed, self._device, self._split = seed, device, split
        self._weighted: WeightedOrder | None = None

    def __len__(self) -> int:
        return len(self._labels)

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """The pictures of iteration `step`, (size, 3, 32, 32) in [-1, 1], and their classes."""
        if self._weighted is not None:
            return self._at(self._weighted.indices(step, size)[rows])
        return self._at(shuffled_indices(self._seed, step, size, len(self))[rows])

    def weighted(self, weights: Weights) -> tuple[Emoji, ClassDraws]:
        """The same pictures with class weights, and how they are drawn."""
        order = WeightedOrder(weights, self._labels, len(GROUPS), self._seed, GROUPS)
        other = copy.copy(self)
        other._weighted = order
        return other, order.draws

    def held_out(self, size: int) -> Batch | None:
        """Up to `size` pictures of the test split, classes mixed; None for the test split itself."""
        if self._split == "test":
            return None
        unseen = Emoji(0, self._device, "test")
        return unseen.batch(0, min(size, len(unseen)))

    def _at(self, indices: Tensor) -> Batch:
        chosen = to_device(indices, self._pixels.device)
        return Batch(self._pixels[chosen].float() / 127.5 - 1, Condition(label=self._labels[chosen]))


@register("data", "emoji")
class EmojiConfig(EmbeddedConfig):
    """Emoji, 3 x 32 x 32, which come with the package."""

    dataset: ClassVar[Any] = Emoji
    class_names: ClassVar[tuple[str, ...]] = GROUPS
