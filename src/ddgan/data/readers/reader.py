"""What a reader of images is, and what all of them need."""

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
"""A file that is larger, or unpacks to more, is not read as an image."""
TOO_LARGE = f"it has more than {MAX_BYTES:,} bytes"


@dataclass(frozen=True)
class Item:
    """One image of a source, not yet decoded.

    Attributes:
        name: what a person finds it by: a path, a member of an archive, a row.
        content: the bytes of an image file, or pixels (H, W) or (H, W, C).
        label: its class, if the source has classes.
        problem: why it cannot be had; then `content` is empty.
    """

    name: str
    content: bytes | np.ndarray
    label: int | None = None
    problem: str = ""


class Reader(ABC):
    """A source of images in a fixed order.

    Attributes:
        class_names: the names of the classes 0, 1, ..., if the source names them.
        identity: what the contents of `files` do not tell of the source, for the cache's key.
        split: which part of the source this is; "all" where it has no parts.
        ignored: how many files of a folder are not supported images, by their ending.
    """

    class_names: tuple[str, ...] | None = None
    identity: str = ""
    split: str = "all"
    ignored: Mapping[str, int] = MappingProxyType({})

    @abstractmethod
    def __len__(self) -> int:
        """How many items there are; 0 if that is not known before they are read."""

    @abstractmethod
    def __iter__(self) -> Iterator[Item]:
        """The items, in the same order each time.

        Raises:
            ValueError: if the source turns out to be damaged, naming the file.
        """

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        """The labels (N,) of items that were read, by their place in `class_names`."""
        return labels

    @abstractmethod
    def files(self) -> list[Path]:
        """What it reads: the cache is keyed by the contents of these files."""


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
    """The items of one reader after those of another, as a split "all"."""

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
    """While a library reads a file, its errors become a ValueError that names the file.

    Args:
        name: the file.
        what: what it turns out not to be, as in "not a whole LMDB".
    """
    try:
        yield
    except Exception as error:  # damaged files raise what they like
        reason = one_line(error) or type(error).__name__
        raise ValueError(f"'{name}' is {what}: {reason}") from None


def is_image_name(name: str) -> bool:
    """Whether a path or member name looks like an image and not like a hidden file."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts if part != "..")
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden
