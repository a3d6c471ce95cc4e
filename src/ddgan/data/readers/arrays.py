"""Pixels in arrays: .npy, .npz and HDF5, and the IDX files of MNIST."""

from __future__ import annotations

import dataclasses
import glob
import gzip
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, cast

import numpy as np

from ddgan.data.readers.columns import unread, without_labels
from ddgan.data.readers.labels import class_numbers, merged_names, one_hot_numbers
from ddgan.data.readers.reader import Item, JoinedReader, Reader, Wanted, reading
from ddgan.data.readers.splits import ALIASES, choose_split, refuse_split, remedy, split_in
from ddgan.data.readers.stored import MAX_VALUES, StoredArray, stored_npy, stored_npz

__all__ = [
    "CONVERT",
    "READ_TYPES",
    "ArrayReader",
    "Rows",
    "channels_last",
    "idx_folder",
    "is_idx_name",
    "read_arrays",
    "read_idx_images",
    "read_numpy",
]

IMAGE_KEYS = ("images", "image", "x", "data", "imgs", "img", "samples", "arr_0")
LABEL_KEYS = ("labels", "label", "y", "targets", "target", "arr_1")
READ_TYPES = (np.uint8, np.uint16, np.bool_)
CONVERT = (
    "convert them to uint8 in 0..255 (or uint16), or state the values of black and white by the setting range"
)
MOST_LABEL_BYTES = 1 << 12
"""Maximum size of one label as text."""
MOST_CLASSES = 1 << 20
"""Maximum length of a one-hot label."""


class Rows(Protocol):
    """A sequence of images: an array in memory or in a file, or an object that makes rows on demand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[np.ndarray]: ...


class OneImage:
    """An array that is a single image, as rows of one."""

    def __init__(self, pixels: Rows) -> None:
        self._pixels, self.shape, self.dtype = pixels, (1, *pixels.shape), pixels.dtype

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[np.ndarray]:
        yield np.stack(list(self._pixels))


class ArrayReader(Reader):
    """Rows of an array (N, H, W), (N, H, W, C) or (N, C, H, W), or one image, optionally with labels.

    Attributes:
        source: the file, for errors.
        labels: int64 (N,), or None.
        layout: the axes of the array, such as NCHW, see `layout_of_array`.
    """

    def __init__(
        self,
        source: Path | str,
        images: Rows,
        labels: Rows | None = None,
        files: list[Path] | None = None,
        wanted: Wanted | None = None,
        drop: str = "",
    ) -> None:
        wanted, shape = wanted or Wanted(), images.shape
        if shape and labels is not None and len(shape) == 3 and labels.shape[:1] == shape[:1]:
            self.layout, certain = "NHW" if wanted.layout == "auto" else wanted.layout, True
        else:
            self.layout, certain = layout_of_array(source, shape, wanted.layout)
        if "N" not in self.layout:
            images = OneImage(images)
        if 0 in shape or math.prod(images.shape[1:]) > MAX_VALUES:
            raise ValueError(
                f"'{source}' has images of shape {shape}; it must be (N, H, W), (N, H, W, C) or "
                f"(N, C, H, W), with 1 to {MAX_VALUES:,} values per image"
            )
        is_read = images.dtype in READ_TYPES or (wanted.any_type and images.dtype.kind in "biuf")
        if not is_read:
            raise ValueError(f"'{source}' has images of type {images.dtype}; {CONVERT}")
        self.labels: np.ndarray | None = None
        if labels is not None and wanted.labels:
            self.labels, self.class_names = _checked_labels(
                source, labels, len(images), drop or without_labels(str(source))
            )
        if not certain:
            self.notes = (_reading(source, shape, self.layout),)
        self._images, self.source = images, str(source)
        self._files = [Path(source)] if files is None else files

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Item]:
        layout = self.layout.removeprefix("N")
        for index, image in enumerate(self._images):
            label = None if self.labels is None else int(self.labels[index])
            yield Item(f"{self.source}[{index}]", channels_last(np.asarray(image), layout), label)

    def rename(self, names: tuple[str, ...]) -> None:
        """Renumber the classes as indices into `names`, if they have names."""
        if self.labels is not None and self.class_names:
            self.labels = np.array([names.index(name) for name in self.class_names])[self.labels]
            self.class_names = names

    def files(self) -> list[Path]:
        return self._files


# --- Layouts ----------------------------------------------------------------------------------------


def layout_of_image(shape: tuple[int, ...]) -> tuple[str, bool]:
    """Return the layout of one image, HW, HWC or CHW, and whether its shape leaves no doubt.

    An axis of at most four is the channels, the last one if both could be. If neither is, the two equal axes
    are height and width.
    """
    if len(shape) == 2:
        return "HW", True
    first, middle, last = shape
    if min(first, last) <= 4:
        is_first = last > 4
        is_square_otherwise = middle == last != first if not is_first else middle == first != last
        return ("CHW" if is_first else "HWC"), is_first or not (first <= 4 and is_square_otherwise)
    return ("CHW" if middle == last != first else "HWC"), False


def channels_last(image: np.ndarray, layout: str = "auto") -> np.ndarray:
    """Return an image (H, W), (H, W, C) or (C, H, W) as (H, W) or (H, W, C)."""
    layout = layout.removeprefix("N")
    if layout == "auto" or len(layout) != image.ndim:
        layout = layout_of_image(image.shape)[0]
    return np.moveaxis(image, 0, 2) if layout == "CHW" else image


def layout_of_array(source: Path | str, shape: tuple[int, ...], asked: str = "auto") -> tuple[str, bool]:
    """Return the axes of an array of images, such as NCHW, and whether its shape leaves no doubt.

    An array of three axes is grey images (N, H, W), or one image if its last axis can only be channels.

    Raises:
        ValueError: if it cannot have images, or not in the layout that was asked for.
    """
    if asked != "auto":
        if len(asked) != len(shape):
            raise ValueError(
                f"layout is {asked}, but '{source}' has shape {shape}, which has {len(shape)} axes; name one "
                "letter per axis"
            )
        return asked, True
    if len(shape) == 4:
        layout, certain = layout_of_image(shape[1:])
        return f"N{layout}", certain
    if len(shape) == 3:
        if shape[2] in (1, 3, 4) and min(shape[:2]) > 4:
            return "HWC", False
        return "NHW", shape[0] not in (3, 4)
    raise ValueError(
        f"'{source}' has images of shape {shape}; it must be (N, H, W), (N, H, W, C) or (N, C, H, W), or one "
        "image (H, W, C)"
    )


def _reading(source: Path | str, shape: tuple[int, ...], layout: str) -> str:
    """Say how an array was read whose shape has more than one reading."""
    sizes = dict(zip(layout, shape, strict=True))
    count = sizes.get("N", 1)
    other = {"NHWC": "NCHW", "NCHW": "NHWC", "HWC": "NHW", "NHW": "CHW"}.get(layout, "NHWC")
    return (
        f"'{source}' has shape {shape}, read as {layout}: {count:,} {'image' if count == 1 else 'images'} of "
        f"{sizes['H']} x {sizes['W']} with {sizes.get('C', 1)} channels; if that is wrong, set layout, such "
        f"as {other}"
    )


# --- Labels -----------------------------------------------------------------------------------------


def _checked_labels(
    source: Path | str, labels: Rows, count: int, drop: str
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return labels as int64 (N,), and the names of the classes; `drop` says how to drop them."""
    numbers, names = _numbers(f"'{source}'", labels, count, drop)
    if numbers.shape != (count,) or not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(
            f"'{source}' has labels of shape {labels.shape} and type {labels.dtype}; there must be {count} "
            f"integers, one per image; to drop labels, {drop}"
        )
    if numbers.min() < 0:
        raise ValueError(f"'{source}' has a label {numbers.min()}; labels must be 0 or more")
    return numbers.astype(np.int64), names


def _numbers(source: str, labels: Rows, count: int, drop: str) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Read labels if there is one per image; others will be refused by their shape, so are not read."""
    shape, dtype = labels.shape, labels.dtype
    if isinstance(labels, np.ndarray):
        return class_numbers(labels, source, drop)
    length = math.prod(shape[1:])
    is_one_each = shape[:1] == (count,) and len(shape) in (1, 2) and not dtype.hasobject
    if not is_one_each or length not in range(1, MOST_CLASSES + 1) or dtype.itemsize > MOST_LABEL_BYTES:
        return np.zeros(0), None
    if length > 1 and dtype.kind in "biuf":  # one row in memory
        return one_hot_numbers(labels, source, drop), tuple(map(str, range(length)))
    if length > 1:
        return np.zeros(0), None
    return class_numbers(np.array([row.reshape(()) for row in labels], dtype), source, drop)


# --- Arrays by name ---------------------------------------------------------------------------------


def read_numpy(path: Path, split: str = "", wanted: Wanted | None = None) -> Reader:
    """Open a .npy of images, or a .npz of named arrays."""
    wanted = wanted or Wanted()
    if path.suffix.lower() == ".npy":
        refuse_split(str(path), split)
        with reading(path, "not a valid .npy"):
            images = stored_npy(path)
        return ArrayReader(path, images, wanted=wanted)
    with reading(path, "not a valid .npz"):
        arrays = stored_npz(path)
    return read_arrays(path, arrays, split, wanted)


class Part(NamedTuple):
    """One of several named arrays.

    Attributes:
        key: its name.
        split: the split in its name, as in x_train, train_images or train/images.
        what: the rest of the name.
    """

    key: str
    split: str | None
    what: str


def _part(key: str) -> Part:
    words = [word for word in re.split(r"[_/.]", key.lower()) if word]
    splits = {ALIASES[word] for word in words if word in ALIASES}
    what = "_".join(word for word in words if word not in ALIASES)
    return Part(key, splits.pop(), what) if len(splits) == 1 else Part(key, None, "_".join(words))


def read_arrays(path: Path, arrays: Mapping[str, Rows], split: str, wanted: Wanted) -> Reader:
    """Open named arrays: images and labels by their usual names, of each split by its word in the name.

    Raises:
        ValueError: if no array has such a name, or there is no such split.
    """
    parts = [_part(key) for key in arrays]
    for asked, option in ((wanted.image_column, "image_column"), (wanted.label_column, "label_column")):
        if asked is not None and asked not in arrays:
            raise ValueError(f"{option} is '{asked}', but '{path}' has the arrays {', '.join(arrays)}")
    images = _by_split(parts, IMAGE_KEYS, wanted.image_column)
    if not arrays:
        raise ValueError(f"'{path}' has no arrays")
    if not images:
        raise ValueError(
            f"'{path}' has the arrays {', '.join(arrays)}; one must be named {' or '.join(IMAGE_KEYS)}, or "
            f"name it: {remedy(str(path), '--image_column NAME')}"
        )
    labels = _by_split(parts, LABEL_KEYS, wanted.label_column)
    if wanted.label_column is not None and len(images) == 1:
        labels = dict.fromkeys(images, wanted.label_column)
    labels = {
        name: key
        for name, key in labels.items()
        if name in images and key != images[name] and (key != "arr_1" or len(arrays[key].shape) <= 2)
    }
    split, chosen = choose_split(str(path), split, images.items())
    readers = {}
    for name, key in images.items():
        given = arrays[labels[name]] if name in labels else None
        source = str(path) if len(images) == 1 else f"{path}:{key}"
        readers[key] = ArrayReader(source, arrays[key], given, [path], wanted, without_labels(str(path)))
    names = merged_names(reader.class_names or () for reader in readers.values())
    for reader in readers.values():  # the classes of all splits are numbered together
        reader.rename(names)
    notes = unread(f"arrays of '{path}'", arrays, *images.values(), *labels.values())
    return joined([readers[key] for key in chosen], split, notes if wanted.labels else ())


def joined(readers: list[ArrayReader], split: str, notes: tuple[str, ...] = ()) -> Reader:
    """Join the readers of a split; labels that only some of them have are left out, with a note."""
    without = [reader for reader in readers if reader.labels is None]
    if 0 < len(without) < len(readers):
        notes += (f"labels were left out, as '{without[0].source}' has none",)
        for reader in readers:
            reader.labels = reader.class_names = None
    whole: Reader = JoinedReader(list(readers)) if len(readers) > 1 else readers[0]
    whole.split = split
    for line in notes:
        whole.note(line)
    return whole


def _by_split(parts: list[Part], usual: tuple[str, ...], asked: str | None) -> dict[str | None, str]:
    """Return split -> the array that was asked for, or else the first of the usual names."""
    if asked is not None:
        return {part.split: part.key for part in parts if part.key == asked}
    found: dict[str | None, str] = {}
    for name in reversed(usual):
        found |= {part.split: part.key for part in parts if part.what == name}
    return {part.split: part.key for part in parts if found.get(part.split) == part.key}


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


def idx_folder(path: Path) -> Path | None:
    """Return the folder with IDX images: this one, or one of those that torchvision makes (MNIST/raw)."""
    places = [path, path / "raw", *sorted(path.glob("*/raw"))]
    found = [place for place in places if place.is_dir() and _idx_files(place)]
    return found[0] if len(found) == 1 or found[:1] == [path] else None


def _idx_files(folder: Path) -> list[Path]:
    """Return the IDX images of a folder; torchvision keeps each file beside its gzipped original."""
    found = sorted(file for file in folder.iterdir() if is_idx_name(file.name) and file.is_file())
    return [file for file in found if file.suffix != ".gz" or file.with_suffix("") not in found]


def read_idx_images(path: Path, split: str = "", wanted: Wanted | None = None) -> Reader:
    """Open IDX images with the labels beside them; a folder has `train-...` and `t10k-...` files."""
    wanted = wanted or Wanted()
    if path.is_file():
        refuse_split(str(path), split)
        return _idx_reader(path, wanted)
    found = [(_idx_split(file.name), file) for file in _idx_files(path)]
    several = [name for name, count in Counter(name for name, _ in found).items() if name and count > 1]
    if several:
        raise ValueError(
            f"'{path}' has several IDX files of the split {several[0]}; name one of them as the source"
        )
    split, files = choose_split(str(path), split, found)
    return joined([_idx_reader(file, wanted) for file in files], split)


def _idx_split(name: str) -> str | None:
    return "test" if name.startswith("t10k") else split_in(name)


def _idx_reader(path: Path, wanted: Wanted) -> ArrayReader:
    images, labels, used = stored_idx(path), None, [path]
    name = re.sub(r"idx\d", "idx1", path.name.replace("images", "labels")).removesuffix(".gz")
    beside = next((file for end in ("", ".gz") if (file := path.with_name(name + end)).is_file()), None)
    if beside is not None:
        labels = stored_idx(beside)
        used.append(beside)
    if wanted.layout == "auto" and len(images.shape) == 3:  # never one image
        wanted = dataclasses.replace(wanted, layout="NHW")
    reader = ArrayReader(path, images, labels, used, wanted)
    stem = re.split("idx", name)[0]
    others = sorted(file.name for file in path.parent.glob(f"{glob.escape(stem)}*"))
    if beside is None and others and wanted.labels:
        reader.notes += (
            f"labels that were not read, as they are not an idx1-ubyte file: {', '.join(others)}",
        )
    return reader
