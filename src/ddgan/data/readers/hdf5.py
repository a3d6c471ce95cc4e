"""Named arrays in HDF5 files (extra `data`)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.readers.arrays import read_arrays
from ddgan.data.readers.columns import required
from ddgan.data.readers.reader import Reader, Wanted, reading

__all__ = ["is_hdf5_name", "read_hdf5"]

NO_HDF5 = "not a valid HDF5 file"
BLOCK_BYTES = 8 << 20
"""Approximate size of the rows in memory."""
MAX_CHUNK_BYTES = 1 << 28
"""Maximum size of a compressed chunk, unpacked; the library unpacks whole chunks."""


def is_hdf5_name(name: str) -> bool:
    """Whether a file is named like HDF5."""
    return Path(name).suffix.lower() in (".h5", ".hdf5")


class HDF5Rows:
    """The rows of an array in an HDF5 file, which is closed between blocks.

    Attributes:
        shape: shape of the array.
        dtype: dtype of its values.
    """

    def __init__(self, path: Path, array: Any) -> None:
        self._path, self._name = path, array.name
        self.shape, self.dtype = tuple(array.shape), array.dtype

    def __len__(self) -> int:
        return int(self.shape[0])

    def __iter__(self) -> Iterator[np.ndarray]:
        size = max(self.dtype.itemsize * math.prod(self.shape[1:]), 1)
        count = max(BLOCK_BYTES // size, 1)
        for first in range(0, len(self), count):
            with reading(self._path, NO_HDF5), required("h5py").File(self._path, "r") as file:
                block = np.asarray(file[self._name][first : first + count])
            yield from block


def read_hdf5(path: Path, split: str = "", wanted: Wanted | None = None) -> Reader:
    """Open the arrays of an HDF5 file by name; those in other files are refused, and links are not followed.

    Raises:
        ValueError: if it is damaged, or has no images.
    """
    h5py = required("h5py")
    found = dict[str, HDF5Rows | np.ndarray]()

    def visit(name: str, entry: Any) -> None:  # follows no links, so no other file is opened
        if not isinstance(entry, h5py.Dataset) or not entry.shape:
            return
        if entry.external or entry.is_virtual:
            raise ValueError(f"the array {name} is in other files; copy it into this one")
        if h5py.check_string_dtype(entry.dtype) and entry.ndim == 1:
            found[name] = np.array(entry.asstr("utf-8", "replace")[()], object)
            return
        chunk = math.prod(entry.chunks or ()) * entry.dtype.itemsize
        if chunk > MAX_CHUNK_BYTES:
            raise ValueError(
                f"the array {name} has chunks of {chunk:,} bytes; the limit is {MAX_CHUNK_BYTES:,}"
            )
        found[name] = HDF5Rows(path, entry)

    with reading(path, NO_HDF5), h5py.File(path, "r") as file:
        file.visititems(visit)
    return read_arrays(path, found, split, wanted or Wanted())
