"""Arrays in files, read from front to back with only one row in memory."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from ddgan.data.readers.reader import reading

__all__ = ["MAX_VALUES", "StoredArray", "npy_header", "stored_npy", "stored_npz"]

BUFFER = 1 << 20
MAX_VALUES = 400_000_000
"""Maximum number of values in a row: 100 million pixels with four channels."""
CUT_SHORT = "truncated or damaged"


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, in C order.

    Args:
        name: the file, for errors.
        shape: (N, ...).
        dtype: dtype of the values.
        open: opens the file again, at the first value.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    open: Callable[[], IO[bytes]]

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the rows.

        Raises:
            ValueError: if the file is damaged, or has fewer or more values than its shape.
        """
        size = self.dtype.itemsize * math.prod(self.shape[1:])
        with reading(self.name, CUT_SHORT), self.open() as raw:
            file = io.BufferedReader(cast(io.RawIOBase, raw), BUFFER)
            for index in range(self.shape[0]):
                row = file.read(size)
                if len(row) < size:
                    raise EOFError(f"it ends in row {index} of {self.shape[0]}")
                yield np.frombuffer(row, self.dtype).reshape(self.shape[1:])
            if file.read(1):
                raise EOFError(f"it has more than the {self.shape[0]} rows of its header")

    def whole(self) -> np.ndarray:
        """Read the whole array, for small arrays."""
        return np.array(list(self), self.dtype).reshape(self.shape)


def npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, Fortran order and dtype of the .npy at the file's position, which moves to the values.

    Raises:
        ValueError: if it is not a .npy.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)


def stored_npy(path: Path) -> StoredArray | np.ndarray:
    """Open the array in a .npy; one in Fortran order has no contiguous rows and is mapped instead."""

    def opened() -> IO[bytes]:
        file = path.open("rb")
        npy_header(file)
        return file

    with path.open("rb") as file:
        shape, is_fortran, dtype = npy_header(file)
        _check_size(shape, dtype, path.stat().st_size - file.tell())
    if is_fortran:
        mapped: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped
    return StoredArray(str(path), shape, dtype, opened)


def stored_npz(path: Path) -> dict[str, StoredArray]:
    """Open the arrays in a .npz by name, without reading their values."""
    with zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
        return {info.filename[:-4]: _stored_member(path, archive, info) for info in members}


def _stored_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> StoredArray:
    def opened() -> IO[bytes]:
        with zipfile.ZipFile(path) as again:  # the member keeps the file open
            file = again.open(info.filename)
            npy_header(file)
            return file

    with archive.open(info) as file:
        shape, is_fortran, dtype = npy_header(file)
        _check_size(shape, dtype, info.file_size - file.tell())
    if is_fortran and len(shape) > 1:
        raise ValueError(f"{info.filename} is in Fortran order; save it with np.ascontiguousarray")
    return StoredArray(f"{path}:{info.filename}", shape, dtype, opened)


def _check_size(shape: tuple[int, ...], dtype: np.dtype[Any], size: int) -> None:
    """Check that a file has the size of its array; pickled arrays have no fixed size."""
    wanted = dtype.itemsize * math.prod(shape)
    if size != wanted and not dtype.hasobject:
        raise ValueError(f"it has {size:,} bytes of values, but shape {shape} needs {wanted:,} bytes")
