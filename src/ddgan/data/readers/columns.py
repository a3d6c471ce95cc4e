"""Rows of tables: which columns are images and labels, and what is in them (parquet and the Hub)."""

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
    """An optional package; a missing one is an error that says how to get it."""
    try:
        return import_module(name)
    except ImportError:
        raise ValueError(
            f"this needs the package {name}; install it with: pip install 'ddgan[data]'"
        ) from None


def find_columns(
    source: str, names: list[str], image: str | None, label: str | None, mended: str = ""
) -> tuple[str, str | None]:
    """The columns of images and labels: those asked for, or the customary names.

    `mended` says how to name another column; by default it is the command that does.

    Raises:
        ValueError: if there are none of these names.
    """
    for asked, option in ((image, "image_column"), (label, "label_column")):
        if asked is not None and asked not in names:
            raise ValueError(f"{option} is '{asked}', but '{source}' has the columns {', '.join(names)}")
    image = image or next((name for name in IMAGE_COLUMNS if name in names), None)
    if image is None:
        raise ValueError(
            f"'{source}' has the columns {', '.join(names)}; name the images with: "
            f"{mended or remedy(source, '--image_column NAME')}"
        )
    return image, label or next((name for name in LABEL_COLUMNS if name in names), None)


def row_item(name: str, row: Mapping[str, Any], image: str, label: str | None) -> Item:
    """The image of a row, which is {bytes, path} or bytes, and its label, a number from 0."""
    given = row[label] if label else None
    number = int(given) if isinstance(given, int) and given >= 0 else None
    cell = row[image]
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not isinstance(content, bytes) or not content:
        return Item(name, b"", number, "it has no bytes of an image")
    if len(content) > MAX_BYTES:
        return Item(name, b"", number, TOO_LARGE)
    return Item(name, content, number)
