"""CIFAR-10 as python batches, in a folder or in the published tar; one batch is in memory at a time."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.readers.pickles import load_arrays_only
from ddgan.data.readers.reader import Item, Reader, reading
from ddgan.data.readers.splits import choose_split

__all__ = ["CIFARReader", "is_cifar"]

FOLDER = "cifar-10-batches-py"
BATCHES = [*(("train", f"data_batch_{i}") for i in range(1, 6)), ("test", "test_batch")]
META = "batches.meta"
MAX_BATCH_BYTES = 64 << 20
"""Maximum size of a batch; a real one has half of it."""


def is_cifar(path: Path) -> bool:
    """Whether a folder or a tar has CIFAR-10 python batches."""
    if path.is_dir():
        return (path / "data_batch_1").is_file() or (path / FOLDER / "data_batch_1").is_file()
    return path.name.startswith("cifar-10-python") and tarfile.is_tarfile(path)


class CIFARReader(Reader):
    """Batches of 3 x 32 x 32 pixels with labels, read one by one, again for each pass."""

    def __init__(self, path: Path, split: str = "") -> None:
        self._path, self._is_tar = path, path.is_file()
        if not self._is_tar and not (path / "data_batch_1").is_file():
            self._path = path / FOLDER
        self.split, self._names = choose_split(str(path), split, BATCHES)
        self._count = sum(len(labels) for _, labels in self._batches())
        meta = self._load(META) or {}
        names = meta.get(b"label_names", [])
        self.class_names = tuple(name.decode() for name in names if isinstance(name, bytes)) or None

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        index = 0
        for images, labels in self._batches():
            for image, label in zip(images, labels, strict=True):
                yield Item(f"{self._path}[{index}]", image, int(label))
                index += 1

    def files(self) -> list[Path]:
        if self._is_tar:
            return [self._path]
        return [self._path / name for name in (*self._names, META) if (self._path / name).is_file()]

    def _batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield images (N, 32, 32, 3) and labels (N,) of each batch.

        Raises:
            ValueError: if one is missing or damaged, or has other contents.
        """
        for name in self._names:
            batch = self._load(name)
            if batch is None:
                raise ValueError(f"'{self._path}' is not a complete CIFAR-10: it has no {name}")
            with reading(self._name(name), "not a valid CIFAR batch"):
                pixels = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
                labels = np.asarray(batch[b"labels"])
                if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer):
                    raise TypeError(f"it has labels of shape {labels.shape} and type {labels.dtype}")
                if not 0 <= labels.min() <= labels.max() <= 9:
                    raise TypeError("it has labels outside 0..9")
            yield pixels.transpose(0, 2, 3, 1), labels

    def _load(self, name: str) -> dict[bytes, Any] | None:
        """Read the dictionary of a batch; None if there is no such file."""
        with reading(self._name(name), "not a CIFAR batch"):
            data = self._member(name) if self._is_tar else self._file(name)
            if data is None:
                return None
            if len(data) > MAX_BATCH_BYTES:
                raise TypeError(f"it has more than {MAX_BATCH_BYTES:,} bytes")
            batch = load_arrays_only(io.BytesIO(data))
            if not isinstance(batch, dict):
                raise TypeError(f"it has a {type(batch).__name__}")
        return batch

    def _file(self, name: str) -> bytes | None:
        if not (self._path / name).is_file():
            return None
        with (self._path / name).open("rb") as file:
            return file.read(MAX_BATCH_BYTES + 1)

    def _member(self, name: str) -> bytes | None:
        """Read the file of this name from the tar, in any of its folders."""
        with tarfile.open(self._path) as archive:
            for member in archive:
                if member.isfile() and Path(member.name).name == name:
                    file = archive.extractfile(member)
                    return None if file is None else file.read(MAX_BATCH_BYTES + 1)
        return None

    def _name(self, name: str) -> str:
        return f"{self._path}{':' if self._is_tar else '/'}{name}"
