"""What a reader of images is, and what all of them need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
SPLITS = ("train", "test", "validation", "all")


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
    """

    class_names: tuple[str, ...] | None = None
    identity: str = ""

    @abstractmethod
    def __len__(self) -> int:
        """How many items there are; 0 if that is not known before they are read."""

    @abstractmethod
    def __iter__(self) -> Iterator[Item]:
        """The items, in the same order each time."""

    @abstractmethod
    def files(self) -> list[Path]:
        """What it reads: the cache is keyed by the contents of these files."""


def is_image_name(name: str) -> bool:
    """Whether a path or member name looks like an image and not like a hidden file."""
    path = PurePosixPath(name)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts if part != "..")
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden


def classes_of(names: list[str]) -> tuple[tuple[str, ...] | None, list[int | None]]:
    """Class names and labels of relative paths: the first folder is the class.

    Images that all lie in one folder, or some of them beside the folders, have no classes. A single
    folder around everything, as archives often have it, does not count.
    """
    parts = [PurePosixPath(name).parts for name in names]
    while parts and all(len(p) > 1 for p in parts) and len({p[0] for p in parts}) == 1:
        parts = [p[1:] for p in parts]
    if not parts or any(len(p) < 2 for p in parts):
        return None, [None] * len(names)
    classes = tuple(sorted({p[0] for p in parts}))
    number = {name: label for label, name in enumerate(classes)}
    return classes, [number[p[0]] for p in parts]
