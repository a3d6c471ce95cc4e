"""Images in parquet files, in the layout of the Hugging Face Hub (extra `data`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.readers.columns import find_columns, required, row_item, unread, without_labels
from ddgan.data.readers.labels import LabelNumbers
from ddgan.data.readers.metadata import is_metadata
from ddgan.data.readers.reader import Item, Reader, Wanted, reading
from ddgan.data.readers.splits import choose_split, refuse_split, split_in
from ddgan.system.files import parse_json

__all__ = ["ParquetReader", "parquets_in"]

BLOCK_BYTES = 8 << 20
"""Approximate size of a table's part in memory."""
MOST_ROWS = 256
NO_PARQUET = "not a valid parquet file"


def parquets_in(folder: Path) -> list[Path]:
    """Return the parquet files with images below a folder; a metadata.parquet has none."""
    return sorted(file for file in folder.rglob("*.parquet") if file.is_file() and not is_metadata(file.name))


class ParquetReader(Reader):
    """Rows of parquet files: the image is {bytes, path} or bytes, the label an integer, a string or one-hot.

    The name of a file, or of a folder above it, gives its split.
    """

    def __init__(self, path: Path, split: str = "", wanted: Wanted | None = None) -> None:
        self._parquet, wanted = required("pyarrow.parquet"), wanted or Wanted()
        if path.is_file():
            refuse_split(str(path), split)
            self._files = found = [path]
        else:
            found = parquets_in(path)
            by_split = ((_split_of(file.relative_to(path)), file) for file in found)
            self.split, self._files = choose_split(str(path), split, by_split)
        self._count = 0
        for file in self._files:
            with reading(file, NO_PARQUET), self._parquet.ParquetFile(file) as opened:
                schema, self._count = opened.schema_arrow, self._count + opened.metadata.num_rows
            columns = find_columns(str(file), schema.names, wanted)
            found_here = (*columns, _class_names(schema.metadata, columns[1]))
            if file == self._files[0]:
                self._image, self.label_column, self._names = found_here
                self.notes = unread(f"columns of '{path}'", schema.names, *columns)
            elif found_here != (self._image, self.label_column, self._names):
                raise ValueError(
                    f"'{file}' and '{self._files[0]}' have different columns or classes; name one of them as "
                    "the source"
                )
        self.label_column = self.label_column if wanted.labels else None
        is_text = self.label_column is not None and _is_text(schema.field(self.label_column).type)
        texts = {text for file in found for text in self._texts(file)} if is_text else set()
        self._numbers = LabelNumbers(without_labels(str(path)), self._names, texts)

    def _texts(self, file: Path) -> set[str]:
        """Return the string labels in a file, also of another split, as the classes of all are numbered."""
        with reading(file, NO_PARQUET), self._parquet.ParquetFile(file) as opened:
            if self.label_column not in opened.schema_arrow.names:
                return set()
            batches = opened.iter_batches(columns=[self.label_column])
            return {
                text for batch in batches for text in batch.column(0).unique().to_pylist() if text is not None
            }

    @property
    def class_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._numbers.class_names

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        return self._numbers.numbered(labels)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for file in self._files:
            for index, row in enumerate(self._rows(file)):
                yield row_item(f"{file}[{index}]", row, self._image, self.label_column, self._numbers)

    def _rows(self, file: Path) -> Iterator[dict[str, Any]]:
        columns = [self._image] + ([self.label_column] if self.label_column else [])
        lean = {"buffer_size": 1 << 20, "pre_buffer": False}  # otherwise whole row groups are read ahead
        with reading(file, NO_PARQUET), self._parquet.ParquetFile(file, **lean) as opened:
            for batch in opened.iter_batches(_rows_at_a_time(opened.metadata), columns=columns):
                yield from batch.to_pylist()

    def files(self) -> list[Path]:
        return self._files


def _split_of(file: Path) -> str | None:
    """Return the split named by a file, or else by the nearest folder above it."""
    names = (file.name, *reversed(file.parts[:-1]))
    return next((split for split in map(split_in, names) if split), None)


def _rows_at_a_time(metadata: Any) -> int:
    groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
    size: int = sum(group.total_byte_size for group in groups) // max(metadata.num_rows, 1)
    return min(max(BLOCK_BYTES // max(size, 1), 1), MOST_ROWS)


def _class_names(metadata: dict[bytes, bytes] | None, label: str | None) -> tuple[str, ...] | None:
    """Return the class names that the Hub stores in a parquet file's metadata."""
    try:
        features = parse_json((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return None


def _is_text(kind: Any) -> bool:
    """Whether a column is of strings, or of categories that are strings."""
    types = required("pyarrow.types")
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))
