"""StackedMNIST (paper section 6, Table 3): three MNIST digits as the channels of one image, 1,000 modes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ddgan.data.readers.arrays import read_idx_images
from ddgan.data.readers.reader import Item, Reader
from ddgan.data.readers.splits import choose_split

__all__ = ["PREFIX", "StackedReader"]

PREFIX = "stackedmnist:"
NUM_TRIPLES = {"train": 120_000, "test": 20_000}
SEED = 2021
"""Part of the dataset's definition: another seed would give other data."""
SIDE, PADDING = 28, 2


class StackedReader(Reader):
    """A fixed choice of triples of single digits, padded by 2 to 32 x 32; label 100 R + 10 G + B."""

    def __init__(self, folder: Path, split: str = "") -> None:
        if split == "all":
            raise ValueError("StackedMNIST has the splits train and test, not all; name one of them")
        self.split, _ = choose_split("StackedMNIST", split, ((name, name) for name in NUM_TRIPLES))
        self._digits, self.identity = read_idx_images(folder, self.split), f"stacked {self.split} {SEED}"
        count = len(self._digits)
        self._images = np.zeros((count, SIDE + 2 * PADDING, SIDE + 2 * PADDING), np.uint8)
        self._labels = np.zeros(count, np.int64)
        for index, item in enumerate(self._digits):
            self._images[index, PADDING:-PADDING, PADDING:-PADDING], self._labels[index] = _digit(item)
        rng = np.random.Generator(np.random.PCG64(SEED + (self.split == "test")))
        self._triples = rng.integers(count, size=(NUM_TRIPLES[self.split], 3))
        self.class_names = tuple(f"{number:03d}" for number in range(1000))

    def __len__(self) -> int:
        return len(self._triples)

    def __iter__(self) -> Iterator[Item]:
        for index, triple in enumerate(self._triples):
            label = int(self._labels[triple] @ np.array([100, 10, 1]))
            yield Item(f"stackedmnist[{index}]", np.stack(self._images[triple], axis=-1), label)

    def files(self) -> list[Path]:
        return self._digits.files()


def _digit(item: Item) -> tuple[np.ndarray, int]:
    """Check an MNIST digit; return its pixels and its label."""
    pixels = np.asarray(item.content)
    if pixels.shape != (SIDE, SIDE):
        raise ValueError(f"StackedMNIST needs digits of 28 x 28 pixels, but '{item.name}' is {pixels.shape}")
    if item.label is None or item.label > 9:
        raise ValueError(
            f"StackedMNIST needs labels 0..9, but '{item.name}' has {item.label}; put the label files "
            "beside the images"
        )
    return pixels, item.label
