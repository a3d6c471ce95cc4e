"""Samples on disk while they are made, so that an interrupted command continues where it was.

FOLDER/.NAME.unfinished/values          the samples so far, one after the other
FOLDER/.NAME.unfinished/progress.json   what was asked for, and how many samples are safe on disk

NAME is the output that the samples are for. Nothing is held in memory but one batch.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.system.files import parse_json, write_atomically

__all__ = ["SampleStore", "open_store", "unfinished"]

SECONDS_BETWEEN = 5.0
"""Seconds between two times that the samples so far are made safe."""
BLOCK = 1 << 22
"""Bytes that are read at once."""


class SampleStore:
    """The samples of one request; made by `open_store`.

    Args:
        folder: the folder of the store.
        asked: what was asked for, as JSON holds it.
        shape: the shape of one sample.
        dtype: the type of its values.

    Attributes:
        done: number of samples that are in the store.
        seconds: time that they took, over all starts.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], shape: Sequence[int], dtype: Any) -> None:
        self._folder, self._asked = folder, dict(asked)
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self.done, self.seconds, self._checksum = 0, 0.0, 0
        self._size = self.dtype.itemsize * math.prod(self.shape)
        self._read_progress()
        self._file = (folder / "values").open("r+b")
        self._file.truncate(self.done * self._size)
        self._file.seek(self.done * self._size)
        self._began = self._saved_at = time.monotonic()

    def _read_progress(self) -> None:
        """Find the safe samples of an earlier start with the same request; otherwise begin anew."""
        (self._folder / "values").touch()
        try:
            found = parse_json((self._folder / "progress.json").read_text(encoding="utf-8"))
            done, seconds, checksum = int(found["done"]), float(found["seconds"]), int(found["checksum"])
            is_same = found["asked"] == self._asked
        except (OSError, ValueError, KeyError, TypeError):
            return
        if is_same and done >= 0 and self._crc_of(done) == checksum:
            self.done, self.seconds, self._checksum = done, seconds, checksum

    def _crc_of(self, count: int) -> int | None:
        """Return the CRC of the first `count` samples on disk; None if there are fewer."""
        checksum, left = 0, count * self._size
        with (self._folder / "values").open("rb") as file:
            while left and (block := file.read(min(left, BLOCK))):
                checksum, left = zlib.crc32(block, checksum), left - len(block)
        return None if left else checksum

    def append(self, samples: np.ndarray) -> None:
        """Add samples (B, *shape).

        Raises:
            OSError: if the disk is full.
        """
        values = np.ascontiguousarray(samples, dtype=self.dtype).tobytes()
        self._file.write(values)
        self._checksum = zlib.crc32(values, self._checksum)
        self.done += len(samples)
        if time.monotonic() - self._saved_at >= SECONDS_BETWEEN:
            self.save()

    def save(self) -> None:
        """Make the samples so far safe."""
        self._file.flush()
        os.fsync(self._file.fileno())
        now = time.monotonic()
        self.seconds, self._began, self._saved_at = self.seconds + now - self._began, now, now
        known = {"asked": self._asked, "done": self.done, "seconds": self.seconds}
        write_atomically(self._folder / "progress.json", json.dumps(known | {"checksum": self._checksum}))

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield all samples in order, in arrays (B, *shape) of a few megabytes."""
        count, left = max(1, BLOCK // self._size), self.done
        with (self._folder / "values").open("rb") as file:
            while left:
                part = min(count, left)
                yield np.frombuffer(file.read(part * self._size), self.dtype).reshape(part, *self.shape)
                left -= part

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def unfinished(out: Path) -> Path:
    """Return the folder of the samples so far of an output; it exists while they are unfinished."""
    return out.with_name(f".{out.name}.unfinished")


@contextmanager
def open_store(
    out: Path, asked: Mapping[str, Any], shape: Sequence[int], dtype: Any
) -> Iterator[SampleStore]:
    """Open the store of an output; it continues an interrupted one with the same request.

    The store is removed if the block ends without an error; otherwise it keeps the samples so far.

    Raises:
        ValueError: if another process is making the same output.
    """
    from filelock import FileLock, Timeout

    folder = unfinished(out)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            store = SampleStore(folder, asked, shape, dtype)
            try:
                yield store
            except BaseException:
                _kept(store, folder)
                raise
            store.close()
            shutil.rmtree(folder, ignore_errors=True)
    except Timeout:
        raise ValueError(
            f"out is '{out}', which another process is making; wait, or choose another name"
        ) from None


def _kept(store: SampleStore, folder: Path) -> None:
    """Keep the samples so far; a store without samples is removed."""
    try:
        with suppress(OSError):  # the disk is full; those of the last time are safe
            store.save()
    finally:
        store.close()
    if not store.done:
        shutil.rmtree(folder, ignore_errors=True)
