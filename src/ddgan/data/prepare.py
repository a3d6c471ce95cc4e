"""Preparing: any source of images, decoded once into a memory-mapped dataset."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from joblib import cpu_count

from ddgan.data.cache import dataset_folder, fingerprint_of, only_one
from ddgan.data.dataset import FORMAT, IMAGES_NAME, INFO_NAME, LABELS_NAME, ImageDataset, is_prepared
from ddgan.data.decode import Preparation
from ddgan.data.parallel import CHUNK, Decoded, advancing, decode_all
from ddgan.data.readers import PREFIXES, Reader, open_reader
from ddgan.files import folder_made_atomically
from ddgan.progress import progress_bar

MOST_NAMED = 5
MOST_CLASSES = 1_000_000
"""Larger labels are numbers of something else."""


@dataclass(frozen=True)
class Selection:
    """Which part of a source is taken.

    Args:
        split: train, test, validation or all, for sources that have splits.
        labels: "auto" keeps the classes that the source has; "none" leaves them out.
        image_column: column of the images in parquet and Hub sources; empty for the customary names.
        label_column: column of the labels; empty for the customary names.
    """

    split: str = "train"
    labels: Literal["auto", "none"] = "auto"
    image_column: str = ""
    label_column: str = ""

    def __post_init__(self) -> None:
        if self.labels not in ("auto", "none"):
            raise ValueError(f"labels is '{self.labels}'; it must be auto or none")

    def open(self, source: str) -> Reader:
        """The reader of this part of `source`."""
        return open_reader(source, self.split, self.image_column or None, self.label_column or None)


def prepare(
    source: str,
    out: str | Path | None = None,
    options: Preparation | None = None,
    selection: Selection | None = None,
    *,
    workers: int = 0,
    skip_bad: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Path:
    """Prepare `source` for training; returns the folder of the dataset.

    Args:
        source: what `open_reader` takes: a path, hf:OWNER/NAME or stackedmnist:FOLDER.
        out: the folder to make; by default one in the cache, which is found again the next time.
        options: size, channels and how to get there.
        selection: split, labels, columns.
        workers: processes that decode; 0 takes one per core.
        skip_bad: leave out images that cannot be used, and list them, instead of stopping.
        overwrite: replace the dataset that is in `out`.
        progress: show a progress bar.

    Raises:
        ValueError: if the source or an image cannot be used, in one line that names it.
    """
    options, selection = options or Preparation(), selection or Selection()
    if workers < 0:
        raise ValueError(f"workers is {workers}; it must be 0 or more")
    reader = selection.open(source)
    fingerprint = fingerprint_of(reader.files(), _root(source), reader.identity)
    asked = dataclasses.asdict(options) | dataclasses.asdict(selection) | {"skip_bad": skip_bad}
    path = Path(out) if out else dataset_folder(source, fingerprint, asked | {"format": FORMAT})
    if out:
        _check_out(path, overwrite)
    facts = {"source": source, "split": selection.split, "fingerprint": fingerprint, "options": asked}
    with only_one(path):
        if not out and _is_whole(path):
            return path
        with folder_made_atomically(path) as partial:
            with progress_bar("preparing", len(reader) or None, enabled=progress) as advance:
                few = 0 < len(reader) <= 8 * CHUNK  # not worth starting processes
                decoded = decode_all(reader, options, 1 if few else workers or cpu_count())
                _write(partial, advancing(decoded, advance), reader, selection, skip_bad, facts)
            if fingerprint_of(reader.files(), _root(source), reader.identity) != fingerprint:
                raise ValueError(f"'{source}' changed while it was read; prepare it again")
    return path


def _is_whole(path: Path) -> bool:
    try:
        ImageDataset(path)
    except ValueError:
        return False
    return True


def _root(source: str) -> Path:
    for prefix in PREFIXES:
        source = source.removeprefix(prefix)
    path = Path(source).expanduser()
    return path if path.is_dir() else path.parent


def _check_out(path: Path, overwrite: bool) -> None:
    """Complain where a dataset cannot be put; nothing is removed before the new one is whole."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"out is '{path}', which is a file; name a folder")
    there = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if there and not overwrite:
        raise ValueError(f"out is '{path}', which exists; choose another name or pass --overwrite")
    if there and not is_prepared(path):
        raise ValueError(f"out is '{path}', which holds no prepared dataset; choose another name")
    if there - {INFO_NAME, IMAGES_NAME, LABELS_NAME}:
        raise ValueError(f"out is '{path}', which holds other files too; choose another name")


@dataclass
class _Tally:
    """What is learned while the images pass."""

    shape: tuple[int, ...] | None = None
    first_name: str = ""
    labels: list[int | None] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)

    def problem_of(self, item: Decoded) -> str:
        """Why an image cannot be stored, or nothing."""
        if item.pixels is None:
            return item.problem
        if self.shape is not None and item.pixels.shape != self.shape:
            return (
                f"it is {_size(item.pixels.shape)}, and '{self.first_name}' is {_size(self.shape)}; "
                "pass --size to make all equal"
            )
        return ""


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[2]} x {shape[1]} with {shape[0]} channels"


def _write(
    folder: Path,
    decoded: Iterable[Decoded],
    reader: Reader,
    selection: Selection,
    skip_bad: bool,
    facts: dict[str, Any],
) -> None:
    tally = _Tally()
    with (folder / IMAGES_NAME).open("wb", buffering=1 << 20) as file:
        for item in decoded:
            if problem := tally.problem_of(item):
                if not skip_bad:
                    raise ValueError(
                        f"'{item.name}' cannot be used: {problem} (--skip-bad leaves such images out)"
                    )
                tally.skipped.append({"name": item.name, "problem": problem})
                continue
            assert item.pixels is not None
            if tally.shape is None:
                tally.shape, tally.first_name = item.pixels.shape, item.name
            data = item.pixels.tobytes()
            file.write(data)
            tally.digest.update(data)
            tally.labels.append(item.label)
    if tally.shape is None:
        named = "; ".join(f"'{bad['name']}': {bad['problem']}" for bad in tally.skipped[:MOST_NAMED])
        raise ValueError(f"'{facts['source']}' has no usable image ({named or 'it is empty'})")
    labels = tally.labels
    known = sum(label is not None for label in labels)
    if selection.labels == "auto" and selection.label_column and not known:
        raise ValueError(f"label_column is '{selection.label_column}', which holds no whole numbers from 0")
    if selection.labels == "auto" and 0 < known < len(labels):
        raise ValueError(
            f"'{facts['source']}' has {len(labels) - known} images without a class from 0; pass --labels "
            "none to leave all classes out"
        )
    has_labels = selection.labels == "auto" and known > 0
    classes: dict[str, Any] = {"num_classes": 0, "class_names": None, "per_class": None}
    if has_labels:
        array = np.array(labels, dtype=np.int64)
        tally.digest.update(array.tobytes())
        np.save(folder / LABELS_NAME, array)
        classes = _classes(array, reader.class_names, facts["source"])
    info = {
        "format": FORMAT,
        "shape": [len(labels), *tally.shape],
        **classes,
        **facts,
        "checksum": tally.digest.hexdigest(),
        "num_skipped": len(tally.skipped),
        "skipped": tally.skipped,
    }
    (folder / INFO_NAME).write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def _classes(labels: np.ndarray, names: tuple[str, ...] | None, source: str) -> dict[str, Any]:
    if not names and labels.max() >= MOST_CLASSES:
        raise ValueError(
            f"'{source}' has a label {labels.max()}, which is no class; name another --label_column, or pass "
            "--labels none"
        )
    count = len(names) if names else int(labels.max()) + 1
    if labels.max() >= count:
        raise ValueError(f"'{source}' has a label {labels.max()}, but names only {count} classes")
    per_class = np.bincount(labels, minlength=count).tolist()
    return {"num_classes": count, "class_names": list(names) if names else None, "per_class": per_class}
