"""Preparing: decoding any source of images once into a memory-mapped dataset."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal

from ddgan.config.settings import Interval, settings
from ddgan.data.cache import dataset_folder, fingerprint_of, only_one
from ddgan.data.decode import Preparation
from ddgan.data.parallel import CHUNK, advancing, decode_all
from ddgan.data.prepared import (
    FORMAT,
    HELD_OUT_NAME,
    IMAGES_NAME,
    INFO_NAME,
    LABELS_NAME,
    ImageDataset,
    is_prepared,
)
from ddgan.data.readers import PREFIXES, FirstItems, Reader, Wanted, open_reader
from ddgan.data.readers.splits import remedy
from ddgan.data.writing import write_dataset
from ddgan.system.files import folder_made_atomically
from ddgan.system.progress import progress_bar

__all__ = ["Selection", "open_selected", "prepare", "wanted_of"]


@settings
class Selection:
    """The part of a source to use.

    Args:
        split: train, test, validation or all, or any split of a Hub dataset; empty uses train, or everything
            if the source has no splits.
        hold_out: share of these images to hold out from training, for memorisation scores; images with equal
            pixels stay together.
        labels: "auto" keeps the classes of the source; "none" drops them.
        image_column: column or array of the images, in tables, .npz and HDF5; empty for the usual names.
        label_column: column or array of the labels, also in metadata files; empty for the usual names.
        layout: the axes of arrays: N images, C channels, H rows, W columns; "auto" finds them from the shape.
        limit: use only the first images of the source, in its order; 0 for all.
    """

    split: str = ""
    hold_out: Annotated[float, Interval(ge=0, le=0.9)] = 0.0
    labels: Literal["auto", "none"] = "auto"
    image_column: str = ""
    label_column: str = ""
    layout: Literal["auto", "NHW", "NHWC", "NCHW", "HW", "HWC", "CHW"] = "auto"
    limit: Annotated[int, Interval(ge=0, le=10**12)] = 0


def wanted_of(selection: Selection, options: Preparation) -> Wanted:
    """Return how to read a source with these options."""
    return Wanted(
        selection.image_column or None,
        selection.label_column or None,
        labels=selection.labels == "auto",
        layout=selection.layout,
        any_type=bool(options.range),
    )


def open_selected(source: str, selection: Selection, options: Preparation | None = None) -> Reader:
    """Return a reader of this part of `source`."""
    reader = open_reader(source, selection.split, wanted_of(selection, options or Preparation()))
    return FirstItems(reader, selection.limit) if selection.limit else reader


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
    """Prepare `source` for training; return the folder of the dataset.

    Args:
        source: as for `open_reader`: a path, hf:OWNER/NAME[:CONFIG] or stackedmnist:FOLDER.
        out: the folder to make; by default one in the cache, reused the next time.
        options: size, channels and resizing.
        selection: split, labels, columns.
        workers: number of decoding threads; 0 for one per core.
        skip_bad: skip and list unusable images instead of stopping.
        overwrite: replace the dataset in `out`.
        progress: show a progress bar.

    Raises:
        ValueError: if the source or an image cannot be used, in one line that names it.
    """
    options, selection = options or Preparation(), selection or Selection()
    if workers < 0:
        raise ValueError(f"workers is {workers}; it must be 0 or more")
    reader = open_selected(source, selection, options)
    given = " ".join([*_flags(options), *_flags(selection), *(["--skip-bad"] if skip_bad else [])])
    selection = dataclasses.replace(selection, split=reader.split)
    fingerprint = fingerprint_of(reader.files(), _root(source), reader.identity)
    asked = dataclasses.asdict(options) | dataclasses.asdict(selection) | {"skip_bad": skip_bad}
    path = Path(out) if out else dataset_folder(source, fingerprint, asked | {"format": FORMAT})
    if out:
        _check_out(path, overwrite)
    metadata = {"source": source, "split": selection.split, "fingerprint": fingerprint, "options": asked}
    metadata["left_aside"] = dict(reader.ignored)
    with only_one(path):
        if out:
            _check_out(path, overwrite)  # again, now under the lock
        elif _is_whole(path):
            return path
        with folder_made_atomically(path) as partial:
            with progress_bar("preparing", len(reader) or None, enabled=progress) as advance:
                few = 0 < len(reader) <= 8 * CHUNK  # too few for threads
                decoded = decode_all(reader, options, 1 if few else workers or cores())
                keep = selection.labels == "auto"
                write_dataset(
                    partial,
                    advancing(decoded, advance),
                    reader,
                    metadata,
                    with_labels=keep,
                    needs_labels=keep and bool(selection.label_column),
                    skip_bad=skip_bad,
                    mended=lambda option: remedy(source, option, given),
                    options=options,
                    hold_out=selection.hold_out,
                )
            if fingerprint_of(reader.files(), _root(source), reader.identity) != fingerprint:
                raise ValueError(f"'{source}' changed while it was being read; prepare it again")
    return path


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "process_cpu_count"):  # Python 3.13 and newer; users can set it
        return os.process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _flags(options: Preparation | Selection) -> list[str]:
    """Return the settings that differ from their defaults as options of the command."""
    chosen = (
        (field.name, field.default, getattr(options, field.name)) for field in dataclasses.fields(options)
    )
    return [f"--{name} {_words(value)}" for name, default, value in chosen if value != default]


def _words(value: Any) -> str:
    """Write a setting as the command line takes it."""
    values = value if isinstance(value, tuple) else (value,)
    return " ".join(shlex.quote(f"{one:.15g}" if isinstance(one, float) else str(one)) for one in values)


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
    """Check that a dataset can be written to `path`; nothing is removed before the new one is complete."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"out is '{path}', which is a file; name a folder")
    there = {entry.name for entry in path.iterdir()} if path.is_dir() else set()
    if there and not overwrite:
        raise ValueError(f"out is '{path}', which exists; choose another name or pass --overwrite")
    if there and not is_prepared(path):
        raise ValueError(f"out is '{path}', which is not a prepared dataset; choose another name")
    if there - {INFO_NAME, IMAGES_NAME, LABELS_NAME, HELD_OUT_NAME}:
        raise ValueError(f"out is '{path}', which also has other files; choose another name")
