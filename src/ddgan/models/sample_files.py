"""Samples as files: a PNG grid, a folder of PNG files, or one .npz; a JSON record beside each.

Samples go to disk as they are made (see `sample_store`), so memory does not depend on their number, and an
interrupted command continues where it was. The output itself is complete or absent.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ddgan.models.model import TrainedModel
from ddgan.models.sample_store import open_store
from ddgan.models.weights_file import checksum_of
from ddgan.system import images
from ddgan.system.files import file_made_atomically, folder_made_atomically
from ddgan.system.outputs import MARK, check_output, is_marked, record_beside, write_record
from ddgan.system.progress import progress_bar

__all__ = [
    "Samples",
    "as_array",
    "check_form",
    "check_pictures",
    "has_png_form",
    "save_grid",
    "save_samples",
    "write_arrays",
]

RECORD_NAME = "samples.json"
"""The record beside the PNG files of a folder."""
NUMBERED = re.compile(r"[0-9]{6,}\.png")
FORMS = (".png", ".npz", "")
NAMES = {2: "points", 4: "images"}
"""Names of arrays in X.npz by number of dimensions; others are named samples."""
LARGEST_GRID = 2**27
"""Most pixels of a grid; viewers refuse larger pictures."""


class Samples:
    """Samples in a fixed order, as arrays of `as_array`.

    Args:
        shape: shape of all samples: uint8 images (N, H, W, C), or float32 (N, ...).
        dtype: type of their values.
        blocks: returns a new iterator over them, in arrays (B, ...).
    """

    def __init__(self, shape: Sequence[int], dtype: Any, blocks: Callable[[], Iterable[np.ndarray]]) -> None:
        self.shape, self.dtype, self.blocks = tuple(shape), np.dtype(dtype), blocks

    @classmethod
    def of(cls, array: np.ndarray) -> Samples:
        """Wrap one array."""
        return cls(array.shape, array.dtype, lambda: [array])

    def __iter__(self) -> Iterator[np.ndarray]:
        for block in self.blocks():
            yield from block


def check_pictures(path: Path, overwrite: bool) -> Path:
    """Check an output of `write_arrays` before any work; only samples that ddgan wrote may be replaced.

    Raises:
        ValueError: as `check_output`, or if the suffix is invalid, or the folder has other files.
    """
    if path.is_dir():
        check_output(path, overwrite)
        found = sorted(file.name for file in path.iterdir())
        strange = [name for name in found if name != RECORD_NAME and not NUMBERED.fullmatch(name)]
        if strange or (found and not is_marked(path / RECORD_NAME)):
            why = f"it has a file '{strange[0]}'" if strange else f"it has no {RECORD_NAME} of ddgan"
            raise ValueError(f"out is '{path}', which is not a folder of samples: {why}; choose another name")
        return path
    if path.suffix not in FORMS or (path.is_file() and not path.suffix):
        raise ValueError(f"out is '{path}'; it must be X.png, X.npz or a folder without a suffix")
    return check_output(path, overwrite, also=[record_beside(path)] if path.suffix else [])


def save_samples(
    model: TrainedModel,
    n: int,
    seed: int,
    out: Path,
    batch_size: int | None = None,
    *,
    classes: int | None = None,
    progress: bool = False,
    on_continue: Callable[[int], object] | None = None,
) -> dict[str, Any]:
    """Sample and save; return the record that is also written as JSON beside the output.

    If the same call was interrupted before, it continues after the samples that were made then.

    Args:
        model: the model to sample.
        n: number of samples.
        seed: seed of the samples.
        out: X.png (a grid), X.npz (`images`, uint8 (n, H, W, C); `points`, float32 (n, F); or `samples`,
            float32 (n, *sample_shape), for anything else), or a folder (000000.png, 000001.png, ...).
            Samples that ddgan wrote there before are replaced.
        batch_size: samples at a time.
        classes: the class of all samples; by default sample i has class i modulo num_classes.
        progress: show a progress bar.
        on_continue: called with the number of samples that an interrupted call has left.

    Raises:
        ValueError: if `out` needs PNG but samples are not images of one to four channels, if something else
            is there, or if a value is not finite.
    """
    check_pictures(out, overwrite=True)
    check_form(model, out)
    batch_size = model.default_batch_size() if batch_size is None else batch_size
    columns = model.grid_columns() if classes is None else None
    shape, dtype = array_form(model.sample_shape)
    if out.suffix == ".png":
        check_grid(n, shape, columns, out)
    record: dict[str, Any] = {"n": n, "seed": seed, "class": classes, "nfe": model.nfe}
    asked = record | {
        "model": checksum_of(model.config.to_dict(), model.generator.state_dict()),
        "batch_size": batch_size,
        "chain": model.chain_settings,
        "device": model.device.type,
        "precision": model.precision,
        "compiled": model.is_compiled,
    }
    with open_store(out, asked, shape, dtype) as store:
        if store.done and on_continue is not None:
            on_continue(store.done)
        with progress_bar("sampling", n, store.done, enabled=progress) as advance:
            for batch in model.batches(n, seed, batch_size, advance, classes, start=store.done):
                store.append(as_array(images.finite(batch)))
        store.save()
        record |= {"seconds": store.seconds, "images_per_second": n / max(store.seconds, 1e-9)}
        record |= {"config": model.config.to_dict()}
        write_arrays(Samples((n, *shape), dtype, store.blocks), out, columns, record)
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


def check_grid(n: int, shape: Sequence[int], columns: int | None, out: Path) -> None:
    """Check that a grid of n images (H, W, C) is a picture that can be opened.

    Raises:
        ValueError: if it has more than LARGEST_GRID pixels.
    """
    *_, height, width = images.grid_shape(n, shape, columns, images.zoom_for(shape[0]))
    if height * width > LARGEST_GRID:
        raise ValueError(
            f"out is '{out}', a grid of {n:,} images, which would have {width:,} x {height:,} pixels; "
            "choose X.npz or a folder, or fewer images"
        )


def array_form(sample_shape: Sequence[int]) -> tuple[tuple[int, ...], type]:
    """Return shape and type of one sample in `as_array`."""
    if len(sample_shape) == 3:
        return (*sample_shape[1:], sample_shape[0]), np.uint8
    return tuple(sample_shape), np.float32


def as_array(samples: Tensor) -> np.ndarray:
    """Convert images (N, C, H, W) to uint8 (N, H, W, C); keep the values of anything else, as points."""
    return images.to_uint8(samples) if samples.ndim == 4 else samples.cpu().numpy()


def write_arrays(samples: Samples, out: Path, columns: int | None, record: dict[str, Any]) -> None:
    """Write samples as X.npz, X.png (a grid of `columns`) or a folder of PNG files, with their record."""
    if out.suffix == ".npz":
        write_npz(samples, out)
    elif out.suffix == ".png":
        write_grid(np.concatenate(list(samples.blocks())), out, columns)
    else:
        with folder_made_atomically(out) as partial:
            for index, image in enumerate(samples):
                (partial / f"{index:06d}.png").write_bytes(images.to_png(image))
            write_record(partial / RECORD_NAME, record)
        return
    write_record(record_beside(out), record)


def write_grid(tiles: np.ndarray, out: Path, columns: int | None) -> None:
    """Write uint8 images (N, H, W, C) as one enlarged PNG grid of `columns`."""
    images.save_png(images.grid(tiles, columns, images.zoom_for(tiles.shape[1])), out)


def write_npz(samples: Samples, out: Path) -> None:
    """Write the samples as one array in X.npz, as `numpy.savez` does, in constant memory."""
    header = {"descr": samples.dtype.str, "fortran_order": False, "shape": samples.shape}
    name = NAMES.get(len(samples.shape), "samples")
    with file_made_atomically(out) as partial, zipfile.ZipFile(partial, "w") as archive:
        archive.comment = MARK.encode()
        entry = zipfile.ZipInfo(f"{name}.npy")  # dated 1980, so that equal samples are equal files
        with archive.open(entry, "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for block in samples.blocks():
                file.write(np.ascontiguousarray(block).tobytes())


def save_grid(model: TrainedModel, path: Path, n: int = 64) -> None:
    """Write a PNG grid of the first n samples of seed 0."""
    write_grid(as_array(model.sample(n)), path, model.grid_columns())
