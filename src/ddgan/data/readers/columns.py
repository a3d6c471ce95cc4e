"""Rows of tables: finding the columns of images and labels, and reading them (parquet and the Hub)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ddgan.data.readers.reader import MAX_BYTES, TOO_LARGE, Item
from ddgan.data.readers.splits import remedy

__all__ = ["find_columns", "required", "row_item"]

IMAGE_COLUMNS = ("image", "img", "images", "picture")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


def required(name: str) -> Any:
    """Import an optional package; the error for a missing one says how to install it."""
    try:
        return import_module(name)
    except ImportError:
        raise ValueError(
            f"this needs the package {name}; install it with: pip install 'ddgan[data]'"
        ) from None


def find_columns(
    source: str, names: list[str], image: str | None, label: str | None, mended: str = ""
) -> tuple[str, str | None]:
    """Return the columns of images and labels: those requested, or the usual names.

    `mended` is the remedy in errors, by default a command.

    Raises:
        ValueError: if there are no such columns.
    """
    for asked, option in ((image, "image_column"), (label, "label_column")):
        if asked is not None and asked not in names:
            raise ValueError(f"{option} is '{asked}', but '{source}' has the columns {', '.join(names)}")
    image = image or next((name for name in IMAGE_COLUMNS if name in names), None)
    if image is None:
        raise ValueError(
            f"'{source}' has the columns {', '.join(names)}; name the one with images: "
            f"{mended or remedy(source, '--image_column NAME')}"
        )
    return image, label or next((name for name in LABEL_COLUMNS if name in names), None)


def row_item(name: str, row: Mapping[str, Any], image: str, label: str | None) -> Item:
    """Return the image of a row ({bytes, path} or bytes) and its label, an integer from 0."""
    given = row[label] if label else None
    number = int(given) if isinstance(given, int) and given >= 0 else None
    cell = row[image]
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes) or not content:
        return Item(name, b"", number, "it has no image bytes")
    if len(content) > MAX_BYTES:
        return Item(name, b"", number, TOO_LARGE)
    return Item(name, content, number)
