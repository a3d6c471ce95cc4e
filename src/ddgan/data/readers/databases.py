"""Images in LMDB, in the layouts of LSUN and of the published CelebA-HQ data (extra `data`)."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.readers.columns import required
from ddgan.data.readers.reader import MAX_BYTES, TOO_LARGE, Item, JoinedReader, Reader, reading
from ddgan.data.readers.splits import choose_split, refuse_split, split_in

__all__ = ["LMDBReader", "lmdbs_in", "read_lmdbs"]

NO_LMDB = "not a valid LMDB"
NO_IMAGES = (b"length", b"num-samples", b"num_samples", b"__len__", b"__keys__", b"keys", b"metadata")
"""Keys of entries that several programs write beside the images."""
STRETCH = 64 << 20
"""Maximum number of bytes of a database in memory."""


def lmdbs_in(path: Path) -> list[Path]:
    """Return the LMDB environments of a folder: itself, or those in it, as train.lmdb, validation.lmdb."""
    if (path / "data.mdb").is_file():
        return [path]
    return sorted(folder for folder in path.iterdir() if (folder / "data.mdb").is_file())


def read_lmdbs(path: Path, found: list[Path], split: str = "") -> Reader:
    """Open the LMDB of a split; `found` is `lmdbs_in(path)`."""
    if found == [path]:
        refuse_split(str(path), split)
        return LMDBReader(path)
    split, chosen = choose_split(str(path), split, ((split_in(file.name), file) for file in found))
    if split != "all" and len(chosen) > 1:
        raise ValueError(f"'{path}' has several LMDBs of the split {split}; name one of them as the source")
    readers: list[Reader] = [LMDBReader(file) for file in chosen]
    reader = readers[0] if len(readers) == 1 else JoinedReader(readers)
    reader.split = split
    return reader


class LMDBReader(Reader):
    """Values of an LMDB in two layouts.

    Encoded image files in the order of the keys (LSUN), or raw RGB bytes of square images under decimal
    keys (the published CelebA-HQ data).
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lmdb = path, required("lmdb")
        self._file = path / "data.mdb" if path.is_dir() else path
        with self._transaction() as transaction:
            others = sum(transaction.get(key) is not None for key in NO_IMAGES)
            self._count: int = transaction.stat()["entries"] - others
            first = next((entry for entry in transaction.cursor() if bytes(entry[0]) not in NO_IMAGES), None)
        if first is None:
            raise ValueError(f"'{path}' is empty")
        self._raw_side = _raw_side(*first)

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        """Open the database for reading.

        Raises:
            ValueError: if it is damaged.
        """
        subdir = self._path.is_dir()
        with (
            reading(self._path, NO_LMDB),
            self._lmdb.open(
                str(self._path), readonly=True, lock=False, readahead=False, subdir=subdir
            ) as environment,
        ):
            wanted = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            size = self._file.stat().st_size
            if size < wanted:  # reading beyond the end would kill the process
                raise EOFError(f"it has {size:,} of {wanted:,} bytes")
            with environment.begin() as transaction:
                yield transaction

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        if self._raw_side:
            yield from self._raw_items()
            return
        last: bytes | None = b""
        while last is not None:
            last = yield from self._files_after(last)

    def _files_after(self, last: bytes) -> Generator[Item, None, bytes | None]:
        """Yield the next stretch of image files; return its last key, or None at the end.

        Pages stay mapped while the database is open, so it is closed after each stretch.
        """
        taken = 0
        with self._transaction() as transaction:
            cursor = transaction.cursor()
            for key, value in cursor.iternext() if cursor.set_range(last or b"\0") else ():
                if key == last or bytes(key) in NO_IMAGES:
                    continue
                problem = TOO_LARGE if len(value) > MAX_BYTES else ""
                yield Item(self._name(key), b"" if problem else bytes(value), None, problem)
                taken += len(value)
                if taken >= STRETCH:
                    return bytes(key)
        return None

    def _raw_items(self) -> Iterator[Item]:
        with self._transaction() as transaction:
            given = map(bytes, transaction.cursor().iternext(values=False))
            keys = sorted((key for key in given if key not in NO_IMAGES), key=_number)
        count = max(STRETCH // (3 * self._raw_side**2), 1)
        for first in range(0, len(keys), count):
            with self._transaction() as transaction:
                for key in keys[first : first + count]:
                    yield self._raw_item(key, transaction.get(key))

    def _name(self, key: bytes) -> str:
        return f"{self._path}[{bytes(key).decode(errors='replace')}]"

    def _raw_item(self, key: bytes, value: bytes) -> Item:
        side = self._raw_side
        if len(value) != 3 * side * side:
            problem = f"it has {len(value)} bytes, but {side} x {side} RGB has {3 * side * side}"
            return Item(self._name(key), b"", None, problem)
        return Item(self._name(key), np.frombuffer(value, np.uint8).reshape(side, side, 3))

    def files(self) -> list[Path]:
        return [self._file]


def _number(key: bytes) -> tuple[int, bytes]:
    return (int(key), b"") if key.isdigit() else (1 << 62, key)


def _raw_side(key: bytes, value: bytes) -> int:
    """Return the side of a square RGB image if this entry is raw pixels, else 0."""
    side = math.isqrt(len(value) // 3)
    beginnings = (b"\x89PNG", b"RIFF", b"\xff\xd8", b"BM", b"II", b"MM", b"GIF8")
    is_raw = bytes(key).isdigit() and side > 0 and 3 * side * side == len(value)
    return side if is_raw and not bytes(value[:4]).startswith(beginnings) else 0
