"""Pixels in arrays: .npy and .npz, and the IDX files of MNIST."""

from __future__ import annotations

import gzip
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np

from ddgan.data.readers.reader import Item, JoinedReader, Reader, reading
from ddgan.data.readers.splits import choose_split, refuse_split, split_in
from ddgan.data.readers.stored import MAX_VALUES, StoredArray, stored_npy, stored_npz

__all__ = ["ArrayReader", "is_idx_name", "read_idx_images", "read_numpy"]

IMAGE_KEYS = ("images", "x", "data", "arr_0")
LABEL_KEYS = ("labels", "label", "y")


class Rows(Protocol):
    """A sequence of images: an array in memory or in a file, or an object that makes rows on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


class ArrayReader(Reader):
    """Rows of an array (N, H, W), (N, H, W, C) or (N, C, H, W), optionally with labels (N,).

    The axis of at most four channels distinguishes the last two; channels last takes precedence.

    Attributes:
        labels: int64 (N,), or None.
        image_shape: (H, W) or (H, W, C).
        channels_first: whether the array is (N, C, H, W).
    """

    def __init__(
        self,
        source: Path | str,
        images: Rows,
        labels: np.ndarray | None = None,
        files: list[Path] | None = None,
    ) -> None:
        shape = images.shape
        if len(shape) not in (3, 4) or 0 in shape or math.prod(shape[1:]) > MAX_VALUES:
            raise ValueError(
                f"'{source}' has images of shape {shape}; it must be (N, H, W), (N, H, W, C) or "
                f"(N, C, H, W), with 1 to {MAX_VALUES:,} values per image"
            )
        if images.dtype not in (np.uint8, np.uint16, np.bool_):
            raise ValueError(
                f"'{source}' has images of type {images.dtype}; convert them to uint8 in 0..255 (or uint16)"
            )
        self.labels = None if labels is None else _checked_labels(source, labels, shape[0])
        self.channels_first = is_channels_first(shape[1:])
        self.image_shape = (*shape[2:], shape[1]) if self.channels_first else shape[1:]
        self._images, self._source = images, source
        self._files = [Path(source)] if files is None else files

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Item]:
        for index, image in enumerate(self._images):
            label = None if self.labels is None else int(self.labels[index])
            pixels = np.moveaxis(image, 0, 2) if self.channels_first else image
            yield Item(f"{self._source}[{index}]", np.asarray(pixels), label)

    def files(self) -> list[Path]:
        return self._files


def is_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether an image of this shape is (C, H, W): its first axis can be channels, its last cannot."""
    return len(shape) == 3 and shape[2] > 4 and shape[0] <= 4


def _checked_labels(source: Path | str, labels: np.ndarray, count: int) -> np.ndarray:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"'{source}' has labels of shape {labels.shape} and type {labels.dtype}; "
            f"there must be {count} integers, one per image"
        )
    if labels.min() < 0:
        raise ValueError(f"'{source}' has a label {labels.min()}; labels must be 0 or more")
    return labels.astype(np.int64)


def read_numpy(path: Path, split: str = "") -> ArrayReader:
    """Open a .npy of images, or a .npz with `images` and optionally `labels`."""
    refuse_split(str(path), split)
    if path.suffix == ".npy":
        with reading(path, "not a valid .npy"):
            images = stored_npy(path)
        return ArrayReader(path, images)
    with reading(path, "not a valid .npz"):
        arrays = stored_npz(path)
    image_key, label_key = (
        next((key for key in keys if key in arrays), None) for keys in (IMAGE_KEYS, LABEL_KEYS)
    )
    if image_key is None:
        raise ValueError(
            f"'{path}' has the arrays {', '.join(arrays)}; one must be named {' or '.join(IMAGE_KEYS)}"
        )
    labels = None if label_key is None else _small(arrays[label_key], len(arrays[image_key]))
    return ArrayReader(path, arrays[image_key], labels)


def _small(labels: StoredArray, count: int) -> np.ndarray:
    """Read labels if there is one per image; others will be refused by their shape, so are not read."""
    is_one_each = labels.shape == (count,) and not labels.dtype.hasobject
    return labels.whole() if is_one_each else np.broadcast_to(np.zeros((), np.float32), labels.shape)


# --- IDX --------------------------------------------------------------------------------------------


def is_idx_name(name: str) -> bool:
    """Whether a file is named like IDX images: ...-images-idx3-ubyte, gzipped or not."""
    return "images" in name and ("idx3" in name or "idx4" in name)


def stored_idx(path: Path) -> StoredArray:
    """Open the uint8 array in an IDX file, gzipped or not (as the MNIST files are).

    Raises:
        ValueError: if it is not an IDX file, or its size does not match its header.
    """
    with reading(path, "not a valid IDX file of unsigned bytes"):
        with path.open("rb") as start:
            is_zipped = start.read(2) == b"\x1f\x8b"
        with _opened_idx(path, is_zipped) as file:
            shape = _idx_shape(file)
            wanted = file.tell() + math.prod(shape)
        if not is_zipped and path.stat().st_size != wanted:  # for gzip, reading checks it
            raise ValueError(f"it has {path.stat().st_size:,} bytes, but its header has shape {shape}")

    def opened() -> IO[bytes]:
        file = _opened_idx(path, is_zipped)
        _idx_shape(file)
        return file

    return StoredArray(str(path), shape, np.dtype(np.uint8), opened)


def _opened_idx(path: Path, is_zipped: bool) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path)) if is_zipped else path.open("rb")


def _idx_shape(file: IO[bytes]) -> tuple[int, ...]:
    """Read the shape from an IDX header; the file is then at the values."""
    start = file.read(4)
    if len(start) < 4 or start[:3] != b"\0\0\x08":
        raise ValueError("its header is not IDX")
    shape = file.read(4 * start[3])
    if len(shape) < 4 * start[3]:
        raise ValueError("it is truncated")
    return tuple(np.frombuffer(shape, ">u4").tolist())


def read_idx_images(path: Path, split: str = "") -> Reader:
    """Open IDX images with the labels beside them; a folder has `train-...` and `t10k-...` files."""
    if path.is_file():
        refuse_split(str(path), split)
        return _idx_reader(path)
    found = sorted(file for file in path.iterdir() if is_idx_name(file.name))
    split, files = choose_split(str(path), split, ((_idx_split(file.name), file) for file in found))
    readers = [_idx_reader(file) for file in files]
    if len({reader.labels is None for reader in readers}) > 1:  # only some files have labels
        for reader in readers:
            reader.labels = None
    whole: Reader = readers[0] if len(readers) == 1 else JoinedReader(list(readers))
    whole.split = split
    return whole


def _idx_split(name: str) -> str | None:
    return "test" if name.startswith("t10k") else split_in(name)


def _idx_reader(path: Path) -> ArrayReader:
    images, labels, used = stored_idx(path), None, [path]
    name = re.sub(r"idx\d", "idx1", path.name.replace("images", "labels")).removesuffix(".gz")
    beside = next((file for end in ("", ".gz") if (file := path.with_name(name + end)).is_file()), None)
    if beside is not None:
        labels = _small(stored_idx(beside), len(images))
        used.append(beside)
    return ArrayReader(path, images, labels, used)
