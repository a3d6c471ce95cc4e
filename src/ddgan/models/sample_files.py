"""Samples as files: a PNG grid, a folder of PNG files, or one .npz; a JSON record beside each."""

from __future__ import annotations

import json
import os
import time
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ddgan.models.model import TrainedModel
from ddgan.system import images
from ddgan.system.progress import progress_bar

__all__ = [
    "as_array",
    "check_form",
    "check_output",
    "check_pictures",
    "has_png_form",
    "save_grid",
    "save_samples",
    "write_arrays",
    "write_record",
]

RECORD_NAME = "samples.json"
"""The record beside the PNG files of a folder."""
NUMBERED = "[0-9]" * 6 + ".png"
FORMS = (".png", ".npz", "")
NAMES = {2: "points", 4: "images"}
"""Names of arrays in X.npz by number of dimensions; others are named samples."""


def check_output(path: Path, overwrite: bool) -> Path:
    """Check an output path before any work: it must be writable, and new unless `overwrite`.

    Raises:
        ValueError: if `path` exists and may not be overwritten, or cannot be written.
    """
    place = next(folder for folder in path.absolute().parents if folder.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ValueError(f"out is '{path}', but '{place}' is not a writable folder")
    used = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if used and not overwrite:
        raise ValueError(f"out is '{path}', which exists; choose another name or pass --overwrite")
    if path.is_dir() and path.suffix:
        raise ValueError(f"out is '{path}', which is a folder; choose another name")
    return path


def check_pictures(path: Path, overwrite: bool) -> Path:
    """Check an output of `write_arrays` as `check_output` does; refuse folders with other files.

    Raises:
        ValueError: as `check_output`, or if the suffix is invalid, or the folder has other files.
    """
    check_output(path, overwrite)
    if path.is_dir():
        found = sorted(file.name for file in path.iterdir())
        strange = [name for name in found if name != RECORD_NAME and not fnmatch(name, NUMBERED)]
        if strange or (found and RECORD_NAME not in found):
            why = f"it has a file '{strange[0]}'" if strange else f"it has no {RECORD_NAME}"
            raise ValueError(f"out is '{path}', which is not a folder of samples: {why}; choose another name")
    elif path.suffix not in FORMS or (path.is_file() and not path.suffix):
        raise ValueError(f"out is '{path}'; it must be X.png, X.npz or a folder without a suffix")
    return path


def save_samples(
    model: TrainedModel,
    n: int,
    seed: int,
    out: Path,
    batch_size: int | None = None,
    *,
    classes: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Sample and save; return the record that is also written as JSON beside the output.

    Args:
        model: the model to sample.
        n: number of samples.
        seed: seed of the samples.
        out: X.png (a grid), X.npz (`images`, uint8 (n, H, W, C); `points`, float32 (n, F); or `samples`,
            float32 (n, *sample_shape), for anything else), or a folder (000000.png, 000001.png, ...).
        batch_size: samples at a time.
        classes: the class of all samples; by default sample i has class i modulo num_classes.
        progress: show a progress bar.

    Raises:
        ValueError: if `out` needs PNG but samples are not images of one to four channels, or if a value is
            not finite.
    """
    check_form(model, out)
    start = time.perf_counter()
    with progress_bar("sampling", n, enabled=progress) as advance:
        drawn = model.batches(n, seed, batch_size, advance, classes)
        batches = [as_array(images.finite(batch)) for batch in drawn]
    seconds = time.perf_counter() - start
    record = {
        "n": n,
        "seed": seed,
        "class": classes,
        "nfe": model.nfe,
        "seconds": seconds,
        "images_per_second": n / seconds,
        "config": model.config.to_dict(),
    }
    columns = model.grid_columns() if classes is None else None
    write_arrays(np.concatenate(batches), out, columns)
    write_record(record, out)
    return record


def has_png_form(model: TrainedModel) -> bool:
    """Whether the model generates images of one to four channels."""
    return images.has_png_form(model.sample_shape)


def check_form(model: TrainedModel, out: Path) -> None:
    """Check before any work that samples can be written to `out`.

    Raises:
        ValueError: unless `out` is X.npz or samples are images of one to four channels.
    """
    if out.suffix != ".npz" and not has_png_form(model):
        raise ValueError(f"samples of shape {model.sample_shape} cannot be saved as PNG; give --out X.npz")


def as_array(samples: Tensor) -> np.ndarray:
    """Convert images (N, C, H, W) to uint8 (N, H, W, C); keep the values of anything else, as points."""
    return images.to_uint8(samples) if samples.ndim == 4 else samples.cpu().numpy()


def write_arrays(samples: np.ndarray, out: Path, columns: int | None = None) -> None:
    """Write arrays of `as_array` as X.npz, X.png (a grid of `columns`) or a folder of PNG files."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        arrays: dict[str, Any] = {NAMES.get(samples.ndim, "samples"): samples}
        np.savez(out, **arrays)
    elif out.suffix == ".png":
        images.save_png(images.grid(samples, columns, images.zoom_for(samples.shape[1])), out)
    else:
        out.mkdir(parents=True, exist_ok=True)
        if (out / RECORD_NAME).is_file():
            for old in out.glob(NUMBERED):  # the last time may have written more samples
                old.unlink()
        for index, image in enumerate(samples):
            images.save_png(image, out / f"{index:06d}.png")


def write_record(record: dict[str, Any], out: Path) -> None:
    """Write the record as JSON beside the output, or into its folder."""
    beside = out / RECORD_NAME if out.is_dir() else out.with_name(out.name + ".json")
    beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def save_grid(model: TrainedModel, path: Path, n: int = 64) -> None:
    """Write a PNG grid of the first n samples of seed 0."""
    write_arrays(as_array(model.sample(n)), path, model.grid_columns())
