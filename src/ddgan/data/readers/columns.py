"""Rows of tables: finding the columns of images and labels, and reading them (parquet and the Hub)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from ddgan.data.readers.labels import WITHOUT_LABELS, LabelNumbers
from ddgan.data.readers.reader import MAX_BYTES, TOO_LARGE, Item, Wanted
from ddgan.data.readers.splits import remedy

__all__ = ["LABEL_COLUMNS", "find_columns", "required", "row_item", "unread", "without_labels"]

IMAGE_COLUMNS = ("image", "img", "images", "picture", "png", "jpg", "jpeg", "webp")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target", "cls")
MOST_NAMED = 10


def required(name: str) -> Any:
    """Import an optional package; the error for a missing one says how to install it."""
    try:
        return import_module(name)
    except ImportError:
        raise ValueError(
            f"this needs the package {name}; install it with: pip install 'ddgan[data]'"
        ) from None


def find_columns(source: str, names: list[str], wanted: Wanted, mended: str = "") -> tuple[str, str | None]:
    """Return the columns of images and labels: those requested, or the usual names.

    `mended` is the remedy in errors, by default a command.

    Raises:
        ValueError: if there are no such columns.
    """
    for asked, option in ((wanted.image_column, "image_column"), (wanted.label_column, "label_column")):
        if asked is not None and asked not in names:
            raise ValueError(f"{option} is '{asked}', but '{source}' has the columns {', '.join(names)}")
    image = wanted.image_column or next((name for name in IMAGE_COLUMNS if name in names), None)
    if image is None:
        raise ValueError(
            f"'{source}' has the columns {', '.join(names)}; name the one with images: "
            f"{mended or remedy(source, '--image_column NAME')}"
        )
    label = wanted.label_column or next((name for name in LABEL_COLUMNS if name in names), None)
    return image, label


def unread(what: str, names: Iterable[str], *used: str | None) -> tuple[str, ...]:
    """Return a note about columns, arrays and the like that were not read, or nothing.

    Args:
        what: what they are, as in "columns of 'x.parquet'".
        names: all of them.
        used: those that were read.
    """
    left = [str(name) for name in names if name not in used]
    if not left:
        return ()
    more = f" and {len(left) - MOST_NAMED} more" if len(left) > MOST_NAMED else ""
    return (f"{what} that were not read: {', '.join(left[:MOST_NAMED])}{more}",)


def without_labels(source: str) -> str:
    """Return the command that drops the labels of a source."""
    return f"use {remedy(source, WITHOUT_LABELS)}"


def row_item(name: str, row: Mapping[str, Any], image: str, label: str | None, numbers: LabelNumbers) -> Item:
    """Return the image of a row ({bytes, path} or bytes) and its label, numbered by `numbers`."""
    number = numbers.number(name, row[label]) if label else None
    cell = row[image]
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes) or not content:
        return Item(name, b"", number, "it has no image bytes")
    if len(content) > MAX_BYTES:
        return Item(name, b"", number, TOO_LARGE)
    return Item(name, content, number)
