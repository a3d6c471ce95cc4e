"""Data from Python: arrays, tensors, and objects that return an image for an index.

Floating-point images are in [0, 1] if no value is negative, else in [-1, 1]; they are rounded to uint8. All
values of an array are considered, but only a few images of a dataset, read first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ddgan.data.decode import decode
from ddgan.data.readers.arrays import ArrayReader, is_channels_first
from ddgan.data.readers.columns import find_columns
from ddgan.data.readers.reader import Item, Reader
from ddgan.system.text import one_line

__all__ = ["mended_in_python", "read_object"]

SOURCE = "data"
"""Name of the data in errors, that of the argument."""
LOOKED_AT = 32
"""Number of images of a dataset that are read twice at first."""
TOLERANCE = 1e-3
"""Values outside their range by at most this much are clipped."""
REMEDIES = {
    "--size N": "set data.size, or prepare the files with ddgan prepare --size N and pass that folder",
    "--skip-bad": "use torch.utils.data.Subset with the indices of the others",
    "--labels none": "set data.labels to none",
}
"""Option of `ddgan prepare` -> its equivalent in Python."""


def mended_in_python(option: str) -> str:
    """Return the equivalent in Python of this option of `ddgan prepare`."""
    return REMEDIES[option]


def read_object(
    data: Any, image_column: str = "", label_column: str = "", *, with_labels: bool = True
) -> Reader:
    """Return a reader of data from Python; its `identity` describes the data in words.

    Args:
        data: an array or a tensor of images, a tuple of one and its labels, or a dataset with a length whose
            items are images, (image, label) or mappings.
        image_column: key of the images in mappings; empty for the usual names.
        label_column: the same for the labels.
        with_labels: whether to read labels, if there are any.

    Raises:
        ValueError: if it is none of these, or its values or labels cannot be used.
    """
    if isinstance(data, np.ndarray | Tensor):
        return _array_reader(data, None)
    if isinstance(data, tuple):
        if len(data) == 2 and isinstance(data[0], np.ndarray | Tensor):
            return _array_reader(data[0], data[1] if with_labels else None)
        raise ValueError(
            f"{SOURCE} is a tuple of {len(data)}; it must be (images, labels), with images an array or a "
            "tensor"
        )
    return DatasetReader(data, image_column or None, label_column or None, with_labels)


# --- Arrays -----------------------------------------------------------------------------------------


class Range(NamedTuple):
    """The values of black and white in floating-point images."""

    black: float
    white: float

    def __str__(self) -> str:
        return f"[{self.black:g}, {self.white:g}]"

    def to_uint8(self, pixels: np.ndarray) -> np.ndarray:
        """Round to the nearest of 256 levels.

        Raises:
            ValueError: if a value is out of range, or NaN.
        """
        low, high = float(pixels.min()), float(pixels.max())
        if not (low >= self.black - TOLERANCE and high <= self.white + TOLERANCE):
            raise ValueError(
                f"its values are in {low:.4g}..{high:.4g}, but those of the images read first in {self}; "
                "give all images in one range, or as uint8"
            )
        scaled = (pixels.astype(np.float32) - self.black) * (255 / (self.white - self.black))
        levels: np.ndarray = np.rint(scaled.clip(0, 255)).astype(np.uint8)
        return levels


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


def _array_reader(images: np.ndarray | Tensor, labels: Any) -> ArrayReader:
    what, array = ("tensor" if isinstance(images, Tensor) else "array"), as_numpy(images)
    numbers, names = (None, None) if labels is None else class_numbers(labels)
    is_float = np.issubdtype(array.dtype, np.floating)
    rows = FloatRows(array) if is_float and array.size and array.ndim in (3, 4) else array
    reader = ArrayReader(SOURCE, rows, numbers, [])
    reader.class_names = names
    layout = {2: "(N, H, W)", 3: "(N, C, H, W)" if reader.channels_first else "(N, H, W, C)"}
    within = f" in {rows.range}" if isinstance(rows, FloatRows) else ""
    reader.identity = f"{what} of {array.dtype}{within}, {layout[len(reader.image_shape)]}"
    return reader


def as_numpy(values: Any) -> np.ndarray:
    """Convert an array, a tensor on any device or a list to an array."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        values = (values.float() if values.dtype == torch.bfloat16 else values).numpy()
    array: np.ndarray = np.asarray(values)
    return array


def class_numbers(labels: Any) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Convert labels (N,), integers or strings, or one-hot (N, K), to integers, with the classes' names.

    Strings are numbered in sorted order. Anything else is returned unchanged.
    """
    array = as_numpy(labels)
    if array.ndim == 1 and (
        array.dtype.kind in "US" or (array.dtype == object and all(isinstance(one, str) for one in array))
    ):
        names, numbers = np.unique(array.astype(str), return_inverse=True)
        return numbers.astype(np.int64), tuple(map(str, names))
    if array.ndim == 2 and array.shape[1] > 1 and array.dtype.kind in "biuf":
        if not is_one_hot(array):
            raise ValueError(
                f"{SOURCE} has labels of shape {array.shape} that are not one-hot (a single 1 in each row); "
                "give an integer for each image"
            )
        return array.argmax(axis=1).astype(np.int64), tuple(map(str, range(array.shape[1])))
    return (array.astype(np.int64) if array.dtype == np.bool_ else array), None


def is_one_hot(rows: np.ndarray) -> bool:
    """Whether each row (..., K) has a single 1 and is 0 elsewhere."""
    return bool((((rows == 0) | (rows == 1)).all(axis=-1) & (rows.sum(axis=-1) == 1)).all())


# --- Datasets ---------------------------------------------------------------------------------------


class DatasetReader(Reader):
    """A map-style dataset of PyTorch or Hugging Face, a list of images, or similar.

    Some images are read twice at first and must be equal.
    """

    def __init__(self, data: Any, image_key: str | None, label_key: str | None, with_labels: bool) -> None:
        _check_kind(data)
        self._data, self._count, self._with_labels = data, len(data), with_labels
        if not self._count:
            raise ValueError(f"{SOURCE} has no images: its length is 0")
        self._texts: dict[str, int] = {}
        self._range: Range | None = None
        self._label_kind: str | None = None
        self._image_key = self._label_key = None
        self._class_names: tuple[str, ...] | None = None
        first = self._at(0)
        if isinstance(first, Mapping):
            self._image_key, self._label_key = find_columns(
                SOURCE, list(map(str, first)), image_key, label_key, "data.image_column"
            )
            features = getattr(data, "features", None)
            named = getattr(features.get(self._label_key), "names", None) if features else None
            self._class_names = tuple(named) if named else None
        self._look_at_some()

    def _look_at_some(self) -> None:
        """Read some images twice, and find the range of floating-point images."""
        lows, highs, types = list[float](), list[float](), set[str]()
        for index in np.unique(np.linspace(0, self._count - 1, LOOKED_AT).astype(int)):
            (image, label), (again, label_again) = self._image_at(int(index)), self._image_at(int(index))
            pixels, pixels_again = _pixels(index, image), _pixels(index, again)
            if not np.array_equal(pixels, pixels_again, equal_nan=True) or not _equal(label, label_again):
                raise ValueError(
                    f"{SOURCE}[{index}] differs when read twice; remove random transforms from the dataset, "
                    "and use the settings under augmentation"
                )
            types.add("PIL images" if isinstance(image, Image.Image) else str(pixels.dtype))
            if np.issubdtype(pixels.dtype, np.floating):
                lows.append(float(pixels.min()))
                highs.append(float(pixels.max()))
        if lows:
            self._range = range_of(float(np.min(lows)), float(np.max(highs)))
        within = f" in {self._range}" if self._range else ""
        self.identity = f"{_name(self._data)} of {' and '.join(sorted(types))}{within}"

    @property
    def class_names(self) -> tuple[str, ...] | None:  # type: ignore[override]
        """The names of the classes; for strings, complete only after all are read."""
        return tuple(sorted(self._texts)) or self._class_names

    def numbered(self, labels: np.ndarray) -> np.ndarray:
        """Renumber string labels, which were numbered as read, in sorted order."""
        if not self._texts:
            return labels
        numbers = {text: number for number, text in enumerate(sorted(self._texts))}
        numbered: np.ndarray = np.array([numbers[text] for text in self._texts])[labels]
        return numbered

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for index in range(self._count):
            name = f"{SOURCE}[{index}]"
            image, label = self._image_at(index)
            number = self._number(name, label)
            pixels = _pixels(index, image)
            try:
                yield Item(name, self._as_integers(pixels), number)
            except ValueError as error:
                yield Item(name, b"", number, str(error))

    def _as_integers(self, pixels: np.ndarray) -> np.ndarray:
        if not np.issubdtype(pixels.dtype, np.floating):
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
            label = None if self._label_key is None else item.get(self._label_key)
            return item.get(self._image_key), label
        if isinstance(item, tuple | list):
            if len(item) not in (1, 2):
                raise ValueError(
                    f"{SOURCE}[{index}] is {len(item)} values; it must be an image, (image, label), or a "
                    "mapping with the keys image and label"
                )
            return item[0], item[1] if len(item) == 2 else None
        return item, None

    def _number(self, name: str, label: Any) -> int | None:
        """Return the number of a label; None for a negative one."""
        if label is None or not self._with_labels:
            return None
        found, value = self._read_label(name, label)
        if self._label_kind not in (None, found):
            raise ValueError(
                f"{name} has a label that is {found}, but earlier labels are {self._label_kind}; use one kind"
            )
        self._label_kind = found
        if isinstance(value, str):
            return self._texts.setdefault(value, len(self._texts))
        return value if value >= 0 else None

    def _read_label(self, name: str, label: Any) -> tuple[str, int | str]:
        """Return the kind of a label and its value."""
        if isinstance(label, str):
            return "a string", label
        array = as_numpy(label)
        if array.ndim == 0 and array.dtype.kind in "biu":
            return "an integer", int(array)
        if array.ndim == 1 and len(array) > 1 and array.dtype.kind in "biuf" and is_one_hot(array):
            self._class_names = tuple(map(str, range(len(array))))
            return f"one-hot of {len(array)}", int(array.argmax())
        raise ValueError(
            f"{name} has the label {one_line(label)[:60]}; a label must be an integer from 0, "
            "a string or one-hot; to drop labels, set data.labels to none"
        )


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


def _pixels(index: int, image: Any) -> np.ndarray:
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
    if pixels.dtype.kind != "f" and pixels.dtype not in (np.uint8, np.uint16, np.bool_):
        raise ValueError(
            f"{name} has an image of type {pixels.dtype}; convert it to uint8 in 0..255 (or uint16)"
        )
    return np.moveaxis(pixels, 0, 2) if is_channels_first(pixels.shape) else pixels


def _equal(label: Any, other: Any) -> bool:
    return bool(np.array_equal(as_numpy(label), as_numpy(other)))


def _name(data: Any) -> str:
    kind = type(data)
    origin = {"datasets": "Hugging Face ", "torch": "torch "}.get(kind.__module__.split(".")[0], "")
    return f"{origin}{kind.__name__}"
