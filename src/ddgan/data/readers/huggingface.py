"""Datasets of the Hugging Face Hub, streamed: hf:OWNER/NAME or hf:OWNER/NAME:CONFIG (extra `data`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ddgan.data.readers.columns import find_columns, required, row_item
from ddgan.data.readers.reader import MAX_BYTES, Item, Reader, reading
from ddgan.data.readers.splits import ALIASES, choose_split

__all__ = ["PREFIX", "HubReader"]

PREFIX = "hf:"


class HubReader(Reader):
    """A dataset of the Hub, or a local copy of one.

    The split can be any split of the dataset; train, test and validation also find their usual aliases.
    """

    def __init__(
        self, name: str, split: str = "", image_column: str | None = None, label_column: str | None = None
    ) -> None:
        self._datasets, self._name = required("datasets"), PREFIX + name
        repo, config = _name_and_config(name)
        with reading(self._name, "not a readable dataset; it must be hf:OWNER/NAME or hf:OWNER/NAME:CONFIG"):
            found = self._datasets.load_dataset(repo, config, streaming=True)
            version = self._datasets.load_dataset_builder(repo, config).hash
        wanted = split if split in found else ALIASES.get(split, split)
        names = ((known if known == wanted else ALIASES.get(known, known), known) for known in found)
        self.split, chosen = choose_split(self._name, wanted, names)
        self._parts = [self._described(found[part]) for part in chosen]
        features = self._parts[0].features
        self._image, self._label = find_columns(self._name, list(features), image_column, label_column)
        self.class_names = tuple(getattr(features.get(self._label), "names", None) or ()) or None
        splits = self._parts[0].info.splits or {}
        counts = [splits[part].num_examples if part in splits else 0 for part in chosen]
        self._count = sum(counts) if all(counts) else 0
        self.identity = f"{name}:{'+'.join(chosen)}:{version}"
        self._files = sorted(file for file in Path(repo).rglob("*") if file.is_file())

    def _described(self, rows: Any) -> Any:
        """Return the rows of a split with known columns."""
        with reading(self._name, "not a dataset with readable columns"):
            return rows if rows.features is not None else rows._resolve_features()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        index = 0
        for part in self._parts:
            with reading(self._name, "not a dataset that can be read to the end"):
                for row in part.cast_column(self._image, self._datasets.Image(decode=False)):
                    row[self._image] = _with_bytes(row[self._image])
                    yield row_item(f"{self._name}[{index}]", row, self._image, self._label)
                    index += 1

    def files(self) -> list[Path]:
        return self._files


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
