"""Data from Python: arrays, tensors, and objects that return an image for an index.

Floating-point images are in [0, 1] if no value is negative, else in [-1, 1]; they are rounded to uint8. All
values of an array are considered, but only a few images of a dataset, read first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddgan.data.decode import TOLERANCE, Range, decode
from ddgan.data.readers.arrays import CONVERT, READ_TYPES, ArrayReader, channels_last
from ddgan.data.readers.columns import find_columns, unread
from ddgan.data.readers.labels import WITHOUT_LABELS, LabelNumbers
from ddgan.data.readers.reader import Item, Reader, Wanted
from ddgan.system.text import one_line

__all__ = ["mended_in_python", "read_object"]

SOURCE = "data"
"""Name of the data in errors, that of the argument."""
LOOKED_AT = 32
"""Number of images of a dataset that are read twice at first."""
REMEDIES = {
    "--size N": "set data.size, or prepare the files with ddgan prepare --size N and pass that folder",
    "--resize fit": "set data.resize to fit",
    "--skip-bad": "use torch.utils.data.Subset with the indices of the others",
    WITHOUT_LABELS: "set data.labels to none",
}
"""Option of `ddgan prepare` -> its equivalent in Python."""


def mended_in_python(option: str) -> str:
    """Return the equivalent in Python of this option of `ddgan prepare`."""
    if option.startswith("--range "):
        return f"set data.range to [{', '.join(option.split()[1:])}]"
    return REMEDIES[option]


def read_object(data: Any, wanted: Wanted | None = None) -> Reader:
    """Return a reader of data from Python; its `identity` describes the data in words.

    Args:
        data: an array or a tensor of images, a tuple of one and its labels, or a dataset with a length whose
            items are images, (image, label) or mappings.
        wanted: how to read it.

    Raises:
        ValueError: if it is none of these, or its values or labels cannot be used.
    """
    wanted = wanted or Wanted()
    if isinstance(data, np.ndarray | Tensor):
        return _array_reader(data, None, wanted)
    if isinstance(data, tuple):
        if len(data) == 2 and isinstance(data[0], np.ndarray | Tensor):
            return _array_reader(data[0], data[1] if wanted.labels else None, wanted)
        raise ValueError(
            f"{SOURCE} is a tuple of {len(data)}; it must be (images, labels), with images an array or a "
            "tensor"
        )
    return DatasetReader(data, wanted)


# --- Arrays -----------------------------------------------------------------------------------------


def range_of(low: float, high: float) -> Range:
    """Return [0, 1] if no value is negative, else [-1, 1].

    Raises:
        ValueError: if values from `low` to `high` are in neither, or are NaN.
    """
    if low != low or high != high:
        raise ValueError(f"{SOURCE} has NaN values; remove or replace these images")
    for found in (Range(0, 1), Range(-1, 1)):
        if low >= found.black - TOLERANCE and high <= found.white + TOLERANCE:
            return found
    raise ValueError(
        f"{SOURCE} has floating-point values in {low:.4g}..{high:.4g}; scale them to [0, 1] or [-1, 1], or "
        "give uint8 in 0..255"
    )


class FloatRows:
    """The images of a floating-point array, converted to uint8 one by one.

    Attributes:
        shape: shape of the array.
        range: its values of black and white.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, rows: np.ndarray) -> None:
        self._rows, self.shape = rows, rows.shape
        lows_highs = [(float(row.min()), float(row.max())) for row in rows]
        lows, highs = np.array(lows_highs).T
        self.range = range_of(float(lows.min()), float(highs.max()))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.range.to_uint8, self._rows)


def _array_reader(images: np.ndarray | Tensor, labels: Any, wanted: Wanted) -> ArrayReader:
    what, array = ("tensor" if isinstance(images, Tensor) else "array"), as_numpy(images)
    is_float = np.issubdtype(array.dtype, np.floating) and not wanted.any_type
    rows = FloatRows(array) if is_float and array.size and array.ndim in (3, 4) else array
    reader = ArrayReader(
        SOURCE, rows, None if labels is None else as_numpy(labels), [], wanted, REMEDIES[WITHOUT_LABELS]
    )
    within = f" in {rows.range}" if isinstance(rows, FloatRows) else ""
    reader.identity = f"{what} of {array.dtype}{within}, ({', '.join(reader.layout)})"
    return reader


def as_numpy(values: Any) -> np.ndarray:
    """Convert an array, a tensor on any device or a list to an array."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    array: np.ndarray = np.asarray(values)
    return array


# --- Datasets ---------------------------------------------------------------------------------------


class DatasetReader(Reader):
    """A map-style dataset of PyTorch or Hugging Face, a list of images, or similar.

    Some images are read twice at first and must be equal.
    """

    def __init__(self, data: Any, wanted: Wanted) -> None:
        _check_kind(data)
        self._data, self._count, self._wanted = data, len(data), wanted
        if not self._count:
            raise ValueError(f"{SOURCE} has no images: its length is 0")
        self._range: Range | None = None
        self._image_key = self.label_column = None
        class_names = None
        first = self._at(0)
        if isinstance(first, Mapping):
            self._image_key, self.label_column = find_columns(
                SOURCE, list(map(str, first)), wanted, "data.image_column"
            )
            self.notes = unread("entries of each item", first, self._image_key, self.label_column)
            features = getattr(data, "features", None)
            class_names = getattr(features.get(self.label_column), "names", None) if features else None
        self._numbers = LabelNumbers(REMEDIES[WITHOUT_LABELS], class_names)
        self._look_at_some()

    def _look_at_some(self) -> None:
        """Read some images twice, and find the range of floating-point images."""
        lows, highs, types = list[float](), list[float](), set[str]()
        for index in np.unique(np.linspace(0, self._count - 1, LOOKED_AT).astype(int)):
            (image, label), (again, label_again) = self._image_at(int(index)), self._image_at(int(index))
            pixels, pixels_again = (_pixels(index, one, self._wanted) for one in (image, again))
            if not np.array_equal(pixels, pixels_again, equal_nan=True) or not _equal(label, label_again):
                raise ValueError(
                    f"{SOURCE}[{index}] differs when read twice; remove random transforms from the dataset, "
                    "and use the settings under augmentation"
                )
            types.add("PIL images" if isinstance(image, Image.Image) else str(pixels.dtype))
            if np.issubdtype(pixels.dtype, np.floating) and not self._wanted.any_type:
                lows.append(float(pixels.min()))
                highs.append(float(pixels.max()))
        if lows:
            self._range = range_of(float(np.min(lows)), float(np.max(highs)))
        within = f" in {self._range}" if self._range else ""
        self.identity = f"{_name(self._data)} of {' and '.join(sorted(types))}{within}"

    @property
    def class_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of the classes; for strings, complete only after all are read."""
        return self._numbers.class_names

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        return self._numbers.numbered(labels)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for index in range(self._count):
            name = f"{SOURCE}[{index}]"
            image, label = self._image_at(index)
            is_labelled = label is not None and self._wanted.labels
            number = self._numbers.number(name, _label(label)) if is_labelled else None
            pixels = _pixels(index, image, self._wanted)
            try:
                yield Item(name, self._as_integers(pixels), number)
            except ValueError as error:
                yield Item(name, b"", number, str(error))

    def _as_integers(self, pixels: np.ndarray) -> np.ndarray:
        if not np.issubdtype(pixels.dtype, np.floating) or self._wanted.any_type:
            return pixels
        if self._range is None:
            raise ValueError(
                "it has floating-point values, but the images read first have not; give one dtype"
            )
        return self._range.to_uint8(pixels)

    def files(self) -> list[Path]:
        return []

    def _at(self, index: int) -> Any:
        try:
            return self._data[index]
        except Exception as error:
            raise ValueError(
                f"{SOURCE}[{index}] cannot be read: {type(error).__name__}: {one_line(error)}"
            ) from error

    def _image_at(self, index: int) -> tuple[Any, Any]:
        """Return an image and its label or None."""
        item = self._at(index)
        if isinstance(item, Mapping):
            label = None if self.label_column is None else item.get(self.label_column)
            return item.get(self._image_key), label
        if isinstance(item, tuple | list):
            if len(item) not in (1, 2):
                raise ValueError(
                    f"{SOURCE}[{index}] is {len(item)} values; it must be an image, (image, label), or a "
                    "mapping with the keys image and label"
                )
            return item[0], item[1] if len(item) == 2 else None
        return item, None


def _check_kind(data: Any) -> None:
    """Check that data returns an item for an index."""
    from torch.utils.data import DataLoader, IterableDataset

    if isinstance(data, Mapping):
        raise ValueError(
            f"{SOURCE} is a {type(data).__name__} of {', '.join(map(str, data))}; pass one of them"
        )
    if isinstance(data, DataLoader):
        raise ValueError(f"{SOURCE} is a DataLoader, which has its own order; pass its dataset")
    has_both = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    if isinstance(data, IterableDataset) or not has_both or isinstance(data, bytes | str):
        raise ValueError(
            f"{SOURCE} is a {type(data).__name__}; it must be a path, an array, a tensor, (images, labels), "
            "or a dataset with __len__ and __getitem__ (for a stream, write the images to files and pass the "
            "folder)"
        )


def _label(label: Any) -> Any:
    return label if isinstance(label, str) else as_numpy(label)


def _pixels(index: int, image: Any, wanted: Wanted) -> np.ndarray:
    """Convert an image to (H, W) or (H, W, C)."""
    name = f"{SOURCE}[{index}]"
    if isinstance(image, Image.Image):
        try:
            return decode(image)
        except ValueError as error:
            raise ValueError(f"{name} cannot be used: {error}") from None
    if not isinstance(image, np.ndarray | Tensor):
        hint = (
            "; for a Hugging Face dataset, pass data.with_format('numpy')" if isinstance(image, list) else ""
        )
        raise ValueError(
            f"{name} has an image that is a {type(image).__name__}; it must be a PIL image, an array or a "
            f"tensor{hint}"
        )
    pixels = as_numpy(image)
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise ValueError(
            f"{name} has an image of shape {pixels.shape}; it must be (H, W), (H, W, C) or (C, H, W)"
        )
    is_read = (
        pixels.dtype.kind == "f"
        or pixels.dtype in READ_TYPES
        or (wanted.any_type and pixels.dtype.kind in "iu")
    )
    if not is_read:
        raise ValueError(f"{name} has an image of type {pixels.dtype}; {CONVERT}")
    return channels_last(pixels, wanted.layout)


def _equal(label: Any, other: Any) -> bool:
    return bool(np.array_equal(as_numpy(label), as_numpy(other)))


def _name(data: Any) -> str:
    kind = type(data)
    origin = {"datasets": "Hugging Face ", "torch": "torch "}.get(kind.__module__.split(".")[0], "")
    return f"{origin}{kind.__name__}"
