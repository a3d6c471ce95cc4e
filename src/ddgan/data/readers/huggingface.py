"""Datasets of the library `datasets`: of the Hub, streamed, as hf:OWNER/NAME or hf:OWNER/NAME:CONFIG, and
folders that `save_to_disk` wrote (extra `data`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.readers.columns import find_columns, required, row_item, unread, without_labels
from ddgan.data.readers.labels import LabelNumbers
from ddgan.data.readers.reader import MAX_BYTES, Item, Reader, Wanted, reading
from ddgan.data.readers.splits import ALIASES, choose_split

__all__ = ["PREFIX", "HubReader", "SavedReader", "is_saved"]

PREFIX = "hf:"
ALL = "all"
"""Name of the rows of a dataset without splits."""


class _Rows(Reader):
    """Rows of some splits of a dataset of the library `datasets`.

    The split can be any split of the dataset; train, test and validation also find their usual aliases.

    Args:
        name: name of the source, for errors.
        found: split -> its rows.
        split: the split to use.
        wanted: how to read it.
    """

    def __init__(self, name: str, found: Mapping[str, Any], split: str, wanted: Wanted) -> None:
        self._datasets, self._name = required("datasets"), name
        split_named = split if split in found else ALIASES.get(split, split)
        names = (
            (None if known == ALL else known if known == split_named else ALIASES.get(known, known), known)
            for known in found
        )
        self.split, self._chosen = choose_split(name, split_named, names)
        self._parts = [self._described(found[part]) for part in self._chosen]
        features = self._parts[0].features
        self._image, self.label_column = find_columns(name, list(features), wanted)
        self.notes = unread(f"columns of '{name}'", features, self._image, self.label_column)
        self.label_column = self.label_column if wanted.labels else None
        class_names = getattr(features.get(self.label_column), "names", None)
        texts = set[str]()
        if getattr(features.get(self.label_column), "dtype", "") == "string":
            texts = {text for rows in found.values() for text in _texts(rows, self.label_column)}
            if not texts and len(found) > 1:
                self.notes += ("classes are numbered by the labels of this split alone",)
        self._numbers = LabelNumbers(without_labels(name), class_names, texts)
        self._files = list[Path]()

    @property
    def class_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        return self._numbers.class_names

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        return self._numbers.numbered(labels)

    def _described(self, rows: Any) -> Any:
        """Return the rows of a split with known columns."""
        with reading(self._name, "not a dataset with readable columns"):
            return rows if rows.features is not None else rows._resolve_features()

    def __iter__(self) -> Iterator[Item]:
        index = 0
        for part in self._parts:
            with reading(self._name, "not a dataset that can be read to the end"):
                for row in part.cast_column(self._image, self._datasets.Image(decode=False)):
                    row[self._image] = _with_bytes(row[self._image])
                    yield row_item(
                        f"{self._name}[{index}]", row, self._image, self.label_column, self._numbers
                    )
                    index += 1

    def files(self) -> list[Path]:
        return self._files


class HubReader(_Rows):
    """A dataset of the Hub, streamed, or a local copy of one."""

    def __init__(self, name: str, split: str = "", wanted: Wanted | None = None) -> None:
        datasets, source = required("datasets"), PREFIX + name
        repo, config = _name_and_config(name)
        with reading(source, "not a readable dataset; it must be hf:OWNER/NAME or hf:OWNER/NAME:CONFIG"):
            found = datasets.load_dataset(repo, config, streaming=True)
            version = datasets.load_dataset_builder(repo, config).hash
        super().__init__(source, found, split, wanted or Wanted())
        splits = self._parts[0].info.splits or {}
        counts = [splits[part].num_examples if part in splits else 0 for part in self._chosen]
        self._count = sum(counts) if all(counts) else 0
        self.identity = f"{name}:{'+'.join(self._chosen)}:{version}"
        self._files = sorted(file for file in Path(repo).rglob("*") if file.is_file())

    def __len__(self) -> int:
        return self._count


class SavedReader(_Rows):
    """A folder that `save_to_disk` of the library `datasets` made, of one split or of several."""

    def __init__(self, folder: Path, split: str = "", wanted: Wanted | None = None) -> None:
        datasets = required("datasets")
        with reading(folder, "not a dataset that save_to_disk wrote"):
            found = datasets.load_from_disk(str(folder))
        splits = {ALL: found} if isinstance(found, datasets.Dataset) else found
        super().__init__(str(folder), splits, split, wanted or Wanted())
        self.identity = "+".join(self._chosen)
        self._files = sorted(file for file in folder.rglob("*") if file.is_file())

    def __len__(self) -> int:
        return sum(map(len, self._parts))


def is_saved(folder: Path) -> bool:
    """Whether `save_to_disk` of the library `datasets` made a folder."""
    if (folder / "dataset_dict.json").is_file():
        return True
    return (folder / "state.json").is_file() and (folder / "dataset_info.json").is_file()


def _texts(rows: Any, label: str | None) -> list[str]:
    """Return the string labels of rows on disk; those of a stream are known only after it was read."""
    return [text for text in rows.unique(label) if text is not None] if hasattr(rows, "unique") else []


def _name_and_config(name: str) -> tuple[str, str | None]:
    """Split OWNER/NAME:CONFIG into its parts; local folders may have a colon in their name."""
    repo, colon, config = name.rpartition(":")
    is_whole = not colon or not config or "/" in config or Path(name).exists()
    return (name, None) if is_whole else (repo, config)


def _with_bytes(image: Any) -> Any:
    """Read the bytes of an image that is only a path, as in datasets made of image files."""
    if not isinstance(image, dict) or image.get("bytes") or not image.get("path"):
        return image
    with required("datasets.utils.file_utils").xopen(image["path"], "rb") as file:
        return {"bytes": file.read(MAX_BYTES + 1)}
