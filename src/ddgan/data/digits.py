"""Stacked digits: the paper's StackedMNIST experiment at 8 x 8 pixels, with no download.

scikit-learn carries 1,797 scanned handwritten digits (UCI, 8 x 8, 17 grey levels). Three drawn at
random become the red, green and blue of one image, so that the data has 1,000 modes: 000..999.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from ddgan.data.batch import EVERY, Batch
from ddgan.system.devices import to_device
from ddgan.system.randomness import generator_for

HELD_OUT_PER_CLASS = 36
"""Digits of each class kept from training, to judge classifiers and generators by."""


@cache
def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """All 1,797 single digits: uint8 images (N, 8, 8) and int64 labels (N,)."""
    from sklearn.datasets import load_digits as load

    bunch = load()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return images, bunch.target.astype(np.int64)


@cache
def split_digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The "train" or "test" single digits: a fixed random choice of 36 of each class is the test split."""
    images, labels = load_digits()
    order = np.random.default_rng(0).permutation(len(labels))
    held_out = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        held_out[order[labels[order] == digit][:HELD_OUT_PER_CLASS]] = True
    chosen = held_out if split == "test" else ~held_out
    return images[chosen], labels[chosen]


class StackedDigits:
    """Endless random triples of digits as RGB images, (3, 8, 8) in [-1, 1]; the class is 100 R + 10 G + B.

    Batch `step` depends on (seed, step) alone.
    """

    state_shape: tuple[int, ...] = (3, 8, 8)
    num_classes = 1000

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu", split: str = "train") -> None:
        images, labels = split_digits(split)
        self.labels = torch.from_numpy(labels).to(device)
        self._digits = torch.from_numpy(images).to(device).float() / 127.5 - 1
        self._places = torch.tensor([100, 10, 1][-self.state_shape[0] :], device=device)
        self._seed, self._device, self._split = seed, device, split

    def triples(self, step: int, size: int) -> Tensor:
        """Which three digits each image of the batch is made of, int64 (size, 3)."""
        rng = generator_for(self._seed, "stacked digits", step)
        return torch.randint(len(self._digits), (size, self.state_shape[0]), generator=rng)

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """The images of iteration `step`, (size, 3, 8, 8) in [-1, 1], and their numbers."""
        chosen = to_device(self.triples(step, size)[rows], self._digits.device)
        return Batch(self._digits[chosen], (self.labels[chosen] * self._places).sum(dim=1))

    def held_out(self, size: int) -> Batch | None:
        """Images made of the test split's digits; None for the test split itself."""
        if self._split == "test":
            return None
        return type(self)(self._seed, self._device, "test").batch(0, size)


class SingleDigits(StackedDigits):
    """The same digits one by one, grey, (1, 8, 8) in [-1, 1], with their ten classes."""

    state_shape = (1, 8, 8)
    num_classes = 10
