"""The meaning of folders around image files: wrapper, splits, classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from ddgan.data.readers.labels import merged_names
from ddgan.data.readers.splits import ALIASES, choose_split

__all__ = ["Layout", "layout_of"]

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Layout:
    """The selected images and their classes.

    Attributes:
        split: their split; "all" if there are no splits.
        class_names: names of the classes, if there are any.
        labels: path -> class of each selected image, in the given order.
    """

    split: str
    class_names: tuple[str, ...] | None
    labels: dict[str, int | None]


def layout_of(source: str, names: list[str], split: str = "") -> Layout:
    """Return the layout of image files with these paths.

    A single folder around everything, as archives often have, is ignored. If all folders have names such as
    train, test or val, they are splits. The first folder below is the class. There are no classes if images
    lie outside folders, or all in one. The classes of all splits are numbered together, so a class has the
    same number in each. They are in natural order: 1, 2, 10.

    Raises:
        ValueError: if there is no such split, or splits are mixed with other folders.
    """
    parts = _unwrapped({name: PurePosixPath(name).parts for name in names})
    if _are_splits(source, parts):
        by_split = ((ALIASES[parts[name][0].lower()], name) for name in names)
        split, taken = choose_split(source, split, by_split)
        parts = _unwrapped({name: path[1:] for name, path in parts.items()})
    else:
        split, taken = choose_split(source, split, ((None, name) for name in names))
    if not taken or any(len(parts[name]) < 2 for name in taken):
        return Layout(split, None, dict.fromkeys(taken))
    classes = merged_names([[path[0] for path in parts.values() if len(path) > 1]])
    number = {name: label for label, name in enumerate(classes)}
    return Layout(split, classes, {name: number[parts[name][0]] for name in taken})


def _unwrapped(parts: dict[str, Parts]) -> dict[str, Parts]:
    """Remove single folders around all paths; a folder named train is a split, not a wrapper."""
    while parts and all(len(path) > 1 for path in parts.values()):
        tops = {path[0] for path in parts.values()}
        if len(tops) > 1 or tops == {"train"}:
            break
        parts = {name: path[1:] for name, path in parts.items()}
    return parts


def _are_splits(source: str, parts: dict[str, Parts]) -> bool:
    tops = {path[0] if len(path) > 1 else "" for path in parts.values()}
    named = {top for top in tops if top.lower() in ALIASES}
    kinds = {ALIASES[top.lower()] for top in named}
    if "train" in kinds and len(kinds) > 1 and named != tops:
        raise ValueError(
            f"'{source}' has the split folders {', '.join(sorted(named))} beside other images; name one of "
            "the folders as the source"
        )
    return named == tops and ("train" in kinds or len(tops) > 1)
