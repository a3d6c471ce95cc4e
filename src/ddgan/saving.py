"""Samples as files: a PNG grid, a folder of PNG files, or one .npz; a JSON record beside each."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from ddgan import images
from ddgan.model import DDGAN
from ddgan.progress import progress_bar


def check_output(path: Path, overwrite: bool) -> Path:
    """Refuse an output that exists, before any work is done.

    Raises:
        ValueError: if `path` exists and may not be overwritten.
    """
    used = path.is_file() or (path.is_dir() and any(path.iterdir()))
    if used and not overwrite:
        raise ValueError(f"out is '{path}', which exists; choose another name or pass --overwrite")
    if path.is_dir() and path.suffix:
        raise ValueError(f"out is '{path}', which is a folder; choose another name")
    return path


def save_samples(
    model: DDGAN,
    n: int,
    seed: int,
    out: Path,
    batch_size: int | None = None,
    *,
    classes: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Sample and save; returns the record that is also written as JSON beside the output.

    Args:
        model: what to sample.
        n: how many.
        seed: of the samples.
        out: X.png (a grid), X.npz (`images`, uint8 (n, H, W, C); `points`, float32 (n, D), for points),
            or a folder (000000.png, 000001.png, ...).
        batch_size: samples at a time.
        classes: the class of all samples; by default sample i has class i modulo num_classes.
        progress: show a progress bar.

    Raises:
        ValueError: for points or more than four channels asked for as PNG.
    """
    as_points = len(model.state_shape) != 3
    if out.suffix != ".npz" and (as_points or model.state_shape[0] > 4):
        raise ValueError(f"samples of shape {model.state_shape} have no PNG form; give --out X.npz")
    start = time.perf_counter()
    with progress_bar("sampling", n, enabled=progress) as advance:
        batches = [
            batch.cpu().numpy() if as_points else images.to_uint8(batch)
            for batch in model.batches(n, seed, batch_size, advance, classes)
        ]
    seconds = time.perf_counter() - start
    samples = np.concatenate(batches)
    record = {
        "n": n,
        "seed": seed,
        "class": classes,
        "num_steps": model.diffusion.num_steps,
        "seconds": seconds,
        "images_per_second": n / seconds,
        "config": model.config.to_dict(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix == ".npz":
        arrays: dict[str, Any] = {"points" if as_points else "images": samples}
        np.savez(out, **arrays)
    elif out.suffix == ".png":
        columns = model.grid_columns() if classes is None else None
        images.save_png(images.grid(samples, columns, images.zoom_for(samples.shape[1])), out)
    else:
        out.mkdir(parents=True, exist_ok=True)
        for index, image in enumerate(samples):
            images.save_png(image, out / f"{index:06d}.png")
    beside = out / "samples.json" if out.is_dir() else out.with_name(out.name + ".json")
    beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record
