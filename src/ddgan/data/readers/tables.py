"""Images in tables and databases: LMDB, parquet, and datasets of the Hugging Face Hub (extra `data`)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.readers.base import Item, Reader

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


# --- LMDB -------------------------------------------------------------------------------------------


def is_lmdb(path: Path) -> bool:
    """Whether a folder is an LMDB environment."""
    return path.is_dir() and (path / "data.mdb").is_file()


class LMDBReader(Reader):
    """Values of an LMDB in two layouts.

    Encoded image files in the order of the keys (LSUN), or raw RGB bytes of square images under decimal
    keys (the published preparation of CelebA-HQ).
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lmdb = path, required("lmdb")
        try:
            with self._open() as environment, environment.begin() as transaction:
                self._count = transaction.stat()["entries"]
                first = next(iter(transaction.cursor()), None)
        except self._lmdb.Error as error:
            raise ValueError(f"'{path}' is no whole LMDB: {error}") from None
        if first is None:
            raise ValueError(f"'{path}' is empty")
        self._raw_side = _raw_side(*first)

    def _open(self) -> Any:
        return self._lmdb.open(
            str(self._path), readonly=True, lock=False, readahead=False, subdir=self._path.is_dir()
        )

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        with self._open() as environment, environment.begin() as transaction:
            if self._raw_side:
                keys = sorted(
                    (bytes(key) for key in transaction.cursor().iternext(values=False)), key=_number
                )
                for key in keys:
                    yield self._raw_item(key, transaction.get(key))
            else:
                for key, value in transaction.cursor():
                    yield Item(self._name(key), bytes(value))

    def _name(self, key: bytes) -> str:
        return f"{self._path}[{bytes(key).decode(errors='replace')}]"

    def _raw_item(self, key: bytes, value: bytes) -> Item:
        side = self._raw_side
        if len(value) != 3 * side * side:
            problem = f"it has {len(value)} bytes, where {side} x {side} RGB has {3 * side * side}"
            return Item(self._name(key), b"", None, problem)
        return Item(self._name(key), np.frombuffer(value, np.uint8).reshape(side, side, 3))

    def files(self) -> list[Path]:
        return [self._path / "data.mdb" if self._path.is_dir() else self._path]


def _number(key: bytes) -> tuple[int, bytes]:
    return (int(key), b"") if key.isdigit() else (1 << 62, key)


def _raw_side(key: bytes, value: bytes) -> int:
    """The side of a square RGB image if this entry is raw pixels, else 0."""
    side = math.isqrt(len(value) // 3)
    is_file = bytes(value[:4]) in (b"\x89PNG", b"RIFF") or bytes(value[:2]) in (
        b"\xff\xd8",
        b"BM",
        b"II",
        b"MM",
    )
    raw = bytes(key).isdigit() and side > 0 and 3 * side * side == len(value)
    return side if raw and not is_file else 0


# --- parquet ----------------------------------------------------------------------------------------


def parquet_files(path: Path, split: str) -> list[Path]:
    """The parquet files of a split: those that are named for it, or lie in a folder that is."""
    if path.is_file():
        return [path]
    found = sorted(path.rglob("*.parquet"))
    splits = {file: _split_of(file.relative_to(path)) for file in found}
    if split == "all" or not any(splits.values()):
        return found
    return [file for file in found if splits[file] == split]


def _split_of(file: Path) -> str | None:
    """The split that a file's name, or else the nearest folder above it, begins with."""
    for part in (file.name, *reversed(file.parts[:-1])):
        for split in ("train", "test", "validation"):
            if part.startswith(split):
                return split
    return None


class ParquetReader(Reader):
    """Rows of parquet files in the Hub's layout: the image is {bytes, path}, or bytes, the label a number."""

    def __init__(self, path: Path, split: str, image_column: str | None, label_column: str | None) -> None:
        self._files = parquet_files(path, split)
        if not self._files:
            raise ValueError(f"'{path}' has no parquet files of the split {split}")
        self._parquet = required("pyarrow.parquet")
        try:
            opened = [self._parquet.ParquetFile(file) for file in self._files]
        except Exception as error:
            raise ValueError(f"'{path}' has no whole parquet files: {error}") from None
        schema = opened[0].schema_arrow
        self._image, self._label = find_columns(str(path), schema.names, image_column, label_column)
        self._count = sum(file.metadata.num_rows for file in opened)
        self.class_names = _class_names(schema.metadata, self._label)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        columns = [self._image] + ([self._label] if self._label else [])
        for path in self._files:
            row = 0
            for batch in self._parquet.ParquetFile(path).iter_batches(256, columns=columns):
                for values in batch.to_pylist():
                    yield _row_item(f"{path}[{row}]", values[self._image], values.get(self._label))
                    row += 1

    def files(self) -> list[Path]:
        return self._files


def find_columns(
    source: str, names: list[str], image: str | None, label: str | None
) -> tuple[str, str | None]:
    """The columns of images and labels: those asked for, or the customary names."""
    for asked, option in ((image, "image_column"), (label, "label_column")):
        if asked is not None and asked not in names:
            raise ValueError(f"{option} is '{asked}', but '{source}' has the columns {', '.join(names)}")
    image = image or next((name for name in IMAGE_COLUMNS if name in names), None)
    if image is None:
        raise ValueError(
            f"'{source}' has the columns {', '.join(names)}; name the images with --image_column"
        )
    return image, label or next((name for name in LABEL_COLUMNS if name in names), None)


def _class_names(metadata: dict[bytes, bytes] | None, label: str | None) -> tuple[str, ...] | None:
    """The names of classes that the Hub keeps in a parquet file's metadata."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(features[label]["names"])
    except (KeyError, TypeError, ValueError):
        return None


def _row_item(name: str, image: Any, label: Any) -> Item:
    label = int(label) if isinstance(label, int) and label >= 0 else None
    content = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(content, bytes) or not content:
        return Item(name, b"", label, "it has no bytes of an image")
    return Item(name, content, label)


# --- Hugging Face Hub -------------------------------------------------------------------------------

HUB_PREFIX = "hf:"


class HubReader(Reader):
    """A dataset of the Hugging Face Hub, hf:OWNER/NAME, streamed; a local folder of one works too."""

    def __init__(self, name: str, split: str, image_column: str | None, label_column: str | None) -> None:
        datasets = required("datasets")
        try:
            rows = datasets.load_dataset(name, split=split, streaming=True)
            if rows.features is None:
                rows = rows._resolve_features()
        except Exception as error:  # the network, the Hub and the data may all object
            raise ValueError(f"'{HUB_PREFIX}{name}' cannot be opened: {error}") from None
        self._name = HUB_PREFIX + name
        self._image, self._label = find_columns(self._name, list(rows.features), image_column, label_column)
        self._rows = rows.cast_column(self._image, datasets.Image(decode=False))
        feature = rows.features.get(self._label) if self._label else None
        names = getattr(feature, "names", None)
        self.class_names = tuple(names) if names else None
        info = rows.info.splits or {}
        self._count = info[split].num_examples if split in info else 0
        self.identity = f"{name}:{split}:{datasets.load_dataset_builder(name).hash}"

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for row, values in enumerate(self._rows):
            yield _row_item(f"{self._name}[{row}]", values[self._image], values.get(self._label))

    def files(self) -> list[Path]:
        return []
