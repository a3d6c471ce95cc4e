"""CIFAR-10 and CIFAR-100 as python or binary batches, in a folder or in the published tar.

One batch is in memory at a time.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.readers.pickles import load_arrays_only
from ddgan.data.readers.reader import Item, Reader, Wanted, reading
from ddgan.data.readers.splits import choose_split

__all__ = ["CIFARReader", "is_cifar"]

MAX_BATCH_BYTES = 256 << 20
"""Maximum size of a batch; the largest real one, the training images of CIFAR-100, has 155 MB."""
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Form:
    """A published form of CIFAR.

    Attributes:
        folder: the folder in its archive.
        archive: how the names of its archives begin.
        batches: the split and the file of each batch.
        labels: kind of labels -> the file or key with the names of their classes; the first is the default.
        num_classes: the number of classes of each kind of labels.
        meta: the pickle with the names of the classes; binary forms have none, and a text file per kind.
    """

    folder: str
    archive: str
    batches: tuple[tuple[str, str], ...]
    labels: dict[str, str]
    num_classes: tuple[int, ...]
    meta: str = ""


def _batches(suffix: str = "") -> tuple[tuple[str, str], ...]:
    return (*(("train", f"data_batch_{i}{suffix}") for i in range(1, 6)), ("test", f"test_batch{suffix}"))


FORMS = (
    Form(
        "cifar-10-batches-py", "cifar-10-python", _batches(), {"labels": "label_names"}, (10,), "batches.meta"
    ),
    Form(
        "cifar-100-python",
        "cifar-100-python",
        (("train", "train"), ("test", "test")),
        {"fine_labels": "fine_label_names", "coarse_labels": "coarse_label_names"},
        (100, 20),
        "meta",
    ),
    Form("cifar-10-batches-bin", "cifar-10-binary", _batches(".bin"), {"labels": "batches.meta.txt"}, (10,)),
    Form(
        "cifar-100-binary",
        "cifar-100-binary",
        (("train", "train.bin"), ("test", "test.bin")),
        {"fine_labels": "fine_label_names.txt", "coarse_labels": "coarse_label_names.txt"},
        (100, 20),
    ),
)


def is_cifar(path: Path) -> bool:
    """Whether a folder or a tar has CIFAR batches."""
    return _found(path) is not None


def _found(path: Path) -> tuple[Path, Form] | None:
    """Return where the batches are, and in which form."""
    for form in FORMS:
        if path.is_dir():
            needed = [form.batches[0][1], *([form.meta] if form.meta == "meta" else [])]
            for folder in (path, path / form.folder):
                if all((folder / name).is_file() for name in needed):
                    return folder, form
        elif path.name.startswith(form.archive) and tarfile.is_tarfile(path):
            return path, form
    return None


class CIFARReader(Reader):
    """Batches of 3 x 32 x 32 pixels with labels, read one by one, again for each pass."""

    def __init__(self, path: Path, split: str = "", wanted: Wanted | None = None) -> None:
        wanted, found = wanted or Wanted(), _found(path)
        assert found is not None, "is_cifar was not asked"
        self._path, self._form = found
        self._is_tar = path.is_file()
        kinds = list(self._form.labels)
        self._kind = wanted.label_column or kinds[0]
        if self._kind not in kinds:
            raise ValueError(f"label_column is '{self._kind}', but '{path}' has {' and '.join(kinds)}")
        self.split, self._names = choose_split(str(path), split, self._form.batches)
        self._count = sum(len(labels) for _, labels in self._batches())
        self.class_names = self._class_names()
        if others := [kind for kind in kinds if kind != self._kind]:
            self.notes = (f"labels that were not read: {others[0]} (to read them, set label_column)",)

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
        names = (*self._names, self._form.meta or self._form.labels[self._kind])
        return [self._path / name for name in names if (self._path / name).is_file()]

    def _class_names(self) -> tuple[str, ...] | None:
        named = self._form.labels[self._kind]
        if self._form.meta:
            meta = self._load(self._form.meta) or {}
            names = meta.get(named.encode(), [])
            return tuple(name.decode() for name in names if isinstance(name, bytes)) or None
        lines = (self._contents(named) or b"").decode("utf-8", "replace").splitlines()
        return tuple(line.strip() for line in lines if line.strip()) or None

    def _batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield images (N, 32, 32, 3) and labels (N,) of each batch.

        Raises:
            ValueError: if one is missing or damaged, or has other contents.
        """
        most = self._form.num_classes[list(self._form.labels).index(self._kind)] - 1
        for name in self._names:
            batch = self._load(name) if self._form.meta else self._records(name)
            if batch is None:
                raise ValueError(f"'{self._path}' is not a complete CIFAR: it has no {name}")
            with reading(self._name(name), "not a valid CIFAR batch"):
                pixels = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
                labels = np.asarray(batch[self._kind.encode()])
                if labels.shape != (len(pixels),) or not np.issubdtype(labels.dtype, np.integer):
                    raise TypeError(f"it has labels of shape {labels.shape} and type {labels.dtype}")
                if not 0 <= labels.min() <= labels.max() <= most:
                    raise TypeError(f"it has labels outside 0..{most}")
            yield pixels.transpose(0, 2, 3, 1), labels

    def _records(self, name: str) -> dict[bytes, Any] | None:
        """Read a binary batch: for each image its labels, a byte each, and its pixels; CIFAR-100 has the
        coarse label first.
        """
        data = self._contents(name)
        if data is None:
            return None
        kinds = list(self._form.labels)[::-1]
        with reading(self._name(name), "not a valid CIFAR batch"):
            if not data or len(data) % (len(kinds) + PIXELS):
                raise ValueError(f"it has {len(data):,} bytes, not {len(kinds) + PIXELS:,} for each image")
            rows = np.frombuffer(data, np.uint8).reshape(-1, len(kinds) + PIXELS)
        labels = {kind.encode(): rows[:, column] for column, kind in enumerate(kinds)}
        return {b"data": rows[:, len(kinds) :], **labels}

    def _load(self, name: str) -> dict[bytes, Any] | None:
        """Read the dictionary of a batch; None if there is no such file."""
        data = self._contents(name)
        if data is None:
            return None
        with reading(self._name(name), "not a CIFAR batch"):
            batch = load_arrays_only(io.BytesIO(data))
            if not isinstance(batch, dict):
                raise TypeError(f"it has a {type(batch).__name__}")
        return batch

    def _contents(self, name: str) -> bytes | None:
        """Read a file; None if there is none."""
        with reading(self._name(name), "not a CIFAR batch"):
            data = self._member(name) if self._is_tar else self._file(name)
            if data is not None and len(data) > MAX_BATCH_BYTES:
                raise TypeError(f"it has more than {MAX_BATCH_BYTES:,} bytes")
        return data

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
