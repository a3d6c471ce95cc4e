"""The base class of readers of images, and shared helpers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from types import MappingProxyType

import numpy as np

from ddgan.data.readers.labels import merged_names
from ddgan.system.text import one_line

__all__ = [
    "MAX_BYTES",
    "TOO_LARGE",
    "FirstItems",
    "Item",
    "JoinedReader",
    "Reader",
    "Wanted",
    "endings_of",
    "is_hidden",
    "is_image_name",
    "reading",
]

IMAGE_SUFFIXES = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
MAX_BYTES = 1 << 28
"""Maximum size of an image file, unpacked."""
TOO_LARGE = f"it has more than {MAX_BYTES:,} bytes"


@dataclass(frozen=True)
class Wanted:
    """How to read a source, where its contents do not say it or say more than one thing.

    Attributes:
        image_column: the column, key or array of the images; None for the usual names.
        label_column: the same for the labels.
        labels: whether to read labels, if there are any.
        layout: the axes of arrays, such as NCHW; "auto" finds them from the shape.
        any_type: whether pixels of every numeric type are used, as their range is stated.
    """

    image_column: str | None = None
    label_column: str | None = None
    labels: bool = True
    layout: str = "auto"
    any_type: bool = False


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
        ignored: number of files in a folder or archive that are not supported images, by suffix.
        label_column: the column with the labels, in tables.
        notes: lines that say what was not read, or how it was read where that is not certain; complete
            after all items are read.
    """

    class_names: tuple[str, ...] | None = None
    identity: str = ""
    split: str = "all"
    ignored: Mapping[str, int] = MappingProxyType({})
    label_column: str | None = None
    notes: tuple[str, ...] = ()

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items; 0 if it is unknown before they are read."""

    @abstractmethod
    def __iter__(self) -> Iterator[Item]:
        """Yield the items, in the same order each time.

        Raises:
            ValueError: if the source is damaged, naming the file.
        """

    def note(self, line: str) -> None:
        """Add a note."""
        self.notes = (*self.notes, line)

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
        self.label_column = reader.label_column

    @property
    def class_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._reader.class_names

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._reader.notes

    def __len__(self) -> int:
        return min(len(self._reader), self._count)

    def __iter__(self) -> Iterator[Item]:
        yield from islice(self._reader, self._count)

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        return self._reader.numbered(labels)

    def files(self) -> list[Path]:
        return self._reader.files()


class JoinedReader(Reader):
    """The items of several readers one after another, as the split "all".

    Class names that differ are numbered together.
    """

    def __init__(self, readers: list[Reader]) -> None:
        self._readers, self._notes = readers, tuple[str, ...]()
        self.identity = " ".join(reader.identity for reader in readers)
        named = [reader.class_names or () for reader in readers]
        self.class_names = readers[0].class_names if len(set(named)) == 1 else merged_names(named)
        place = {name: number for number, name in enumerate(self.class_names or ())}
        self._numbers = [[place[name] for name in names] for names in named]
        self.ignored = sum((Counter(reader.ignored) for reader in readers), Counter[str]())

    @property
    def notes(self) -> tuple[str, ...]:  # type: ignore[override]
        found = (note for reader in self._readers for note in reader.notes)
        return (*self._notes, *dict.fromkeys(found))

    def note(self, line: str) -> None:
        self._notes = (*self._notes, line)

    def __len__(self) -> int:
        counts = [len(reader) for reader in self._readers]
        return sum(counts) if all(counts) else 0

    def __iter__(self) -> Iterator[Item]:
        for reader, numbers in zip(self._readers, self._numbers, strict=True):
            for item in reader:
                known = item.label is not None and item.label < len(numbers)
                yield replace(item, label=numbers[item.label]) if known and item.label is not None else item

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


def is_hidden(name: str) -> bool:
    """Whether a path or member name is hidden, or made by macOS beside the real ones."""
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts if part != "..")


def is_image_name(name: str) -> bool:
    """Whether a path or member name has an image suffix and is not hidden."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not is_hidden(name)


def endings_of(names: Iterable[str]) -> Counter[str]:
    """Count the files of each suffix."""
    return Counter(PurePosixPath(name).suffix.lower() or "no ending" for name in names)
