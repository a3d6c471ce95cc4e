"""Images in parquet files, in the layout of the Hugging Face Hub (extra `data`)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ddgan.data.readers.columns import find_columns, required, row_item
from ddgan.data.readers.reader import Item, Reader, reading
from ddgan.data.readers.splits import choose_split, refuse_split, split_in

__all__ = ["ParquetReader"]

BLOCK_BYTES = 8 << 20
"""Approximate size of a table's part in memory."""
MOST_ROWS = 256
NO_PARQUET = "not a valid parquet file"


class ParquetReader(Reader):
    """Rows of parquet files: the image is {bytes, path} or bytes, the label a number.

    The name of a file, or of a folder above it, gives its split.
    """

    def __init__(
        self, path: Path, split: str = "", image_column: str | None = None, label_column: str | None = None
    ) -> None:
        self._parquet = required("pyarrow.parquet")
        if path.is_file():
            refuse_split(str(path), split)
            self._files = [path]
        else:
            found = sorted(path.rglob("*.parquet"))
            by_split = ((_split_of(file.relative_to(path)), file) for file in found)
            self.split, self._files = choose_split(str(path), split, by_split)
        self._count = 0
        for file in self._files:
            with reading(file, NO_PARQUET), self._parquet.ParquetFile(file) as opened:
                schema, self._count = opened.schema_arrow, self._count + opened.metadata.num_rows
            columns = find_columns(str(file), schema.names, image_column, label_column)
            found_here = (*columns, _class_names(schema.metadata, columns[1]))
            if file == self._files[0]:
                self._image, self._label, self.class_names = found_here
            elif found_here != (self._image, self._label, self.class_names):
                raise ValueError(
                    f"'{file}' and '{self._files[0]}' have different columns or classes; name one of them as "
                    "the source"
                )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for file in self._files:
            for index, row in enumerate(self._rows(file)):
                yield row_item(f"{file}[{index}]", row, self._image, self._label)

    def _rows(self, file: Path) -> Iterator[dict[str, Any]]:
        columns = [self._image] + ([self._label] if self._label else [])
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
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return None
