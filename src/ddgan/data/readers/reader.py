"""The base class of readers of images, and shared helpers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np

from ddgan.system.text import one_line

__all__ = [
    "MAX_BYTES",
    "TOO_LARGE",
    "FirstItems",
    "Item",
    "JoinedReader",
    "Reader",
    "is_image_name",
    "reading",
]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
MAX_BYTES = 1 << 28
"""Maximum size of an image file, unpacked."""
TOO_LARGE = f"it has more than {MAX_BYTES:,} bytes"


@dataclass(frozen=True)
class Item:
    """One image of a source, not yet decoded.

    Attributes:
        name: its location for users: a path, a member of an archive, a row.
        content: the bytes of an image file, or pixels (H, W) or (H, W, C).
        label: its class, if the source has classes.
        problem: the reason why it cannot be read; then `content` is empty.
    """

    name: str
    content: bytes | np.ndarray
    label: int | None = None
    problem: str = ""


class Reader(ABC):
    """A source of images in a fixed order.

    Attributes:
        class_names: the names of the classes 0, 1, ..., if the source names them.
        identity: part of the cache's key, for anything that the contents of `files` do not determine.
        split: the split of the source; "all" if it has no splits.
        ignored: number of files in a folder that are not supported images, by suffix.
    """

    class_names: tuple[str, ...] | None = None
    identity: str = ""
    split: str = "all"
    ignored: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items; 0 if it is unknown before they are read."""

    @abstractmethod
    def __iter__(self) -> Iterator[Item]:
        """Yield the items, in the same order each time.

        Raises:
            ValueError: if the source is damaged, naming the file.
        """

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        """Convert labels (N,) of read items to indices into `class_names`."""
        return labels

    @abstractmethod
    def files(self) -> list[Path]:
        """Return the files of the source; the cache is keyed by their contents."""


class FirstItems(Reader):
    """The first `count` items of a reader."""

    def __init__(self, reader: Reader, count: int) -> None:
        self._reader, self._count = reader, count
        self.identity, self.split, self.ignored = reader.identity, reader.split, reader.ignored

    @property
    def class_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._reader.class_names

    def __len__(self) -> int:
        return min(len(self._reader), self._count)

    def __iter__(self) -> Iterator[Item]:
        yield from islice(self._reader, self._count)

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        return self._reader.numbered(labels)

    def files(self) -> list[Path]:
        return self._reader.files()


class JoinedReader(Reader):
    """The items of several readers one after another, as the split "all"."""

    def __init__(self, readers: list[Reader]) -> None:
        self._readers, self.class_names = readers, readers[0].class_names
        self.identity = " ".join(reader.identity for reader in readers)

    def __len__(self) -> int:
        counts = [len(reader) for reader in self._readers]
        return sum(counts) if all(counts) else 0

    def __iter__(self) -> Iterator[Item]:
        for reader in self._readers:
            yield from reader

    def files(self) -> list[Path]:
        return [file for reader in self._readers for file in reader.files()]


@contextmanager
def reading(name: object, what: str) -> Iterator[None]:
    """Convert errors of a library that reads a file to a ValueError that names the file.

    Args:
        name: the file.
        what: predicate of the message, as in "not a valid LMDB".
    """
    try:
        yield
    except Exception as error:  # damaged files can raise any exception
        reason = one_line(error) or type(error).__name__
        raise ValueError(f"'{name}' is {what}: {reason}") from None


def is_image_name(name: str) -> bool:
    """Whether a path or member name has an image suffix and is not hidden."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts if part != "..")
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden
