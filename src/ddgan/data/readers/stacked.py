"""StackedMNIST (paper section 6, Table 3): three MNIST digits as the channels of one image, 1,000 modes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ddgan.data.readers.arrays import ArrayReader
from ddgan.data.readers.base import Item, Reader

PREFIX = "stackedmnist:"
NUM_TRIPLES = {"train": 120_000, "test": 20_000}
SEED = 2021
"""Part of the data: with another seed it would be another dataset."""
PADDING = 2


class StackedReader(Reader):
    """A fixed choice of triples of single digits, padded by 2 to 32 x 32; label 100 R + 10 G + B."""

    def __init__(self, digits: ArrayReader, split: str) -> None:
        if split not in NUM_TRIPLES:
            raise ValueError(f"StackedMNIST has the splits train and test, not {split}")
        self._digits, self.identity = digits, f"stacked {split} {SEED}"
        items = list(digits)
        if any(item.label is None or item.label > 9 for item in items):
            raise ValueError(
                "StackedMNIST needs single digits with labels 0..9; are the label files beside them?"
            )
        images = np.stack([np.asarray(item.content) for item in items])
        if images.shape[1:] != (28, 28):
            raise ValueError(f"StackedMNIST needs digits of 28 x 28 pixels, not {images.shape[1:]}")
        self._images = np.pad(images, ((0, 0), (PADDING, PADDING), (PADDING, PADDING)))
        self._labels = np.array([item.label for item in items])
        rng = np.random.Generator(np.random.PCG64(SEED + (split == "test")))
        self._triples = rng.integers(len(images), size=(NUM_TRIPLES[split], 3))
        self.class_names = tuple(f"{number:03d}" for number in range(1000))

    def __len__(self) -> int:
        return len(self._triples)

    def __iter__(self) -> Iterator[Item]:
        for index, triple in enumerate(self._triples):
            label = int(self._labels[triple] @ np.array([100, 10, 1]))
            yield Item(f"stackedmnist[{index}]", np.stack(self._images[triple], axis=-1), label)

    def files(self) -> list[Path]:
        return self._digits.files()
