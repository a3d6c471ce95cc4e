"""Labels in a file among the images: dataset.json (StyleGAN, EDM), metadata.csv, .jsonl, .parquet (Hub)."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from ddgan.data.readers.columns import LABEL_COLUMNS, required, unread, without_labels
from ddgan.data.readers.labels import LabelNumbers
from ddgan.data.readers.layout import Layout
from ddgan.data.readers.reader import MAX_BYTES, Wanted, reading

__all__ = ["MetadataFile", "is_metadata", "read_metadata", "renumbered", "with_metadata"]

DATASET = "dataset.json"
NAMES = (DATASET, "metadata.csv", "metadata.jsonl", "metadata.parquet")
MOST_TABLE_BYTES = 1 << 30
"""Maximum size of an unpacked metadata.parquet."""


class MetadataFile(NamedTuple):
    """What such a file says.

    Attributes:
        name: its path among the images.
        labels: path of an image -> its label, as in the file.
        folders_are_classes: whether folders may be classes if there are no labels.
        notes: what was not read.
    """

    name: str
    labels: dict[str, Any]
    folders_are_classes: bool = True
    notes: tuple[str, ...] = ()


def is_metadata(name: str) -> bool:
    """Whether a file at this path can have the labels of images."""
    return PurePosixPath(name).name in NAMES


def read_metadata(source: str, name: str, content: bytes, wanted: Wanted) -> MetadataFile | None:
    """Read such a file; None if it is another program's.

    Raises:
        ValueError: if it is damaged, too large, or has no column that was asked for.
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"'{source}' has a {name} of more than {MAX_BYTES:,} bytes")
    with reading(f"{source}/{name}", f"not a valid {PurePosixPath(name).suffix} file"):
        if PurePosixPath(name).name == DATASET:
            return _dataset_json(name, json.loads(content))
        rows, names = _rows(name, content)
    return _table(source, name, rows, names, wanted)


def _dataset_json(name: str, values: Any) -> MetadataFile | None:
    if not isinstance(values, dict) or "labels" not in values:
        return None
    entries = values["labels"]
    if entries is None:
        note = f"{name} has no labels, and its folders are not classes"
        return MetadataFile(name, {}, False, (note,))
    pairs = entries.items() if isinstance(entries, dict) else entries
    labels = {_path(name, file): label for file, label in pairs}
    return MetadataFile(name, labels, False, unread(f"entries of {name}", values, "labels"))


def _path(name: str, file: Any) -> str:
    """Return the path of an image named in a metadata file, which is relative to that file."""
    if not isinstance(file, str):
        raise TypeError("it has a file name that is not text")
    return (PurePosixPath(name).parent / file.replace("\\", "/")).as_posix()


def _rows(name: str, content: bytes) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows and the columns of a table."""
    if name.endswith(".parquet"):
        parquet = required("pyarrow.parquet")
        with parquet.ParquetFile(io.BytesIO(content)) as opened:
            groups = (opened.metadata.row_group(index) for index in range(opened.metadata.num_row_groups))
            if sum(group.total_byte_size for group in groups) > MOST_TABLE_BYTES:
                raise ValueError(f"it has more than {MOST_TABLE_BYTES:,} bytes")
            names = list(opened.schema_arrow.names)
            return opened.read().to_pylist(), names
    text = content.decode("utf-8-sig")
    if name.endswith(".csv"):
        table = csv.DictReader(io.StringIO(text, newline=""))
        rows = list(table)
        return rows, list(table.fieldnames or ())
    rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise TypeError("it has a line that is not a mapping")
    return rows, list(dict.fromkeys(name for row in rows for name in row))


def _table(
    source: str, name: str, rows: list[dict[str, Any]], names: list[str], wanted: Wanted
) -> MetadataFile:
    files = [column for column in names if column == "file_name" or column.endswith("_file_name")]
    if not files:
        note = f"{name} was not read, as it has no column file_name but {', '.join(names) or 'nothing'}"
        return MetadataFile(name, {}, notes=(note,))
    label = wanted.label_column
    if label is not None and label not in names:
        raise ValueError(f"label_column is '{label}', but '{name}' has the columns {', '.join(names)}")
    label = label or next((column for column in LABEL_COLUMNS if column in names), None)
    notes = unread(f"columns of {name}", names, files[0], label)
    if label is None:
        return MetadataFile(name, {}, notes=notes)
    with reading(f"{source}/{name}", "damaged"):
        labels = {_path(name, row[files[0]]): row.get(label) for row in rows}
    return MetadataFile(name, _typed(labels) if name.endswith(".csv") else labels, notes=notes)


def _typed(labels: dict[str, Any]) -> dict[str, Any]:
    """Convert the text of a .csv: whole numbers if all labels are, and no label where it is empty."""
    given = {file: label or None for file, label in labels.items()}
    texts = [label for label in given.values() if label is not None]
    if all(re.fullmatch(r"-?[0-9]{1,18}", text) for text in texts):
        return {file: None if label is None else int(label) for file, label in given.items()}
    return given


def with_metadata(
    source: str, layout: Layout, images: Iterable[str], found: list[MetadataFile], wanted: Wanted
) -> tuple[Layout, tuple[str, ...]]:
    """Return the layout with the classes that metadata files give, and notes.

    Args:
        source: the source, for errors.
        layout: the selected images.
        images: those of all splits.
        found: the metadata files.
        wanted: how to read the source.

    Raises:
        ValueError: if a label is not an integer, a string or one-hot.
    """
    notes = tuple(note for file in found for note in file.notes)
    labels: dict[str, Any] = {}
    for file in found:
        labels |= file.labels
    if not labels or not wanted.labels:
        if all(file.folders_are_classes for file in found):
            return layout, notes
        return Layout(layout.split, None, dict.fromkeys(layout.labels)), notes
    named = " and ".join(file.name for file in found if file.labels)
    if layout.class_names is not None and any(file.folders_are_classes for file in found if file.labels):
        notes += (f"classes are the labels in {named}, not the folders",)
    if missing := labels.keys() - set(images):
        notes += (f"{named} names {len(missing):,} files that are not there, such as {min(missing)}",)
    renamed = renumbered(source, layout, labels)
    if renamed.labels and all(label is None for label in renamed.labels.values()):
        notes += (f"no image has a label from 0 in {named}, so there are no classes",)
    return renamed, notes


def renumbered(source: str, layout: Layout, labels: Mapping[str, Any]) -> Layout:
    """Return the layout with these labels of images instead of its classes."""
    numbers = LabelNumbers(without_labels(source))
    found = {name: numbers.number(f"'{name}'", label) for name, label in labels.items()}
    places = numbers.numbered(np.arange(len(numbers.class_names or ())))

    def number(name: str) -> int | None:
        known = found.get(name)
        return int(places[known]) if known is not None and known < len(places) else known

    return Layout(layout.split, numbers.class_names, {name: number(name) for name in layout.labels})
