"""Pixels in arrays: .npy and .npz, IDX (MNIST), CIFAR-10 python batches. Nothing here runs a pickle."""

from __future__ import annotations

import gzip
import io
import pickle
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ddgan.data.readers.base import Item, Reader

IMAGE_KEYS = ("images", "x", "data", "arr_0")
LABEL_KEYS = ("labels", "label", "y")


class ArrayReader(Reader):
    """Rows of an array (N, H, W), (N, H, W, C) or (N, C, H, W), with labels (N,) or without.

    Which of the last two it is shows where the axis of at most four channels is; channels last wins.
    """

    def __init__(
        self,
        source: Path,
        images: np.ndarray,
        labels: np.ndarray | None = None,
        class_names: tuple[str, ...] | None = None,
        files: list[Path] | None = None,
    ) -> None:
        if images.ndim not in (3, 4) or 0 in images.shape:
            raise ValueError(
                f"'{source}' has images of shape {images.shape}; "
                "it must be (N, H, W), (N, H, W, C) or (N, C, H, W)"
            )
        if images.dtype not in (np.uint8, np.uint16, np.bool_):
            raise ValueError(
                f"'{source}' has images of type {images.dtype}; convert them to uint8 in 0..255 (or uint16)"
            )
        if labels is not None:
            labels = _checked_labels(source, labels, len(images))
        channels_first = images.ndim == 4 and images.shape[3] > 4 and images.shape[1] <= 4
        self._images = np.moveaxis(images, 1, 3) if channels_first else images
        self._labels = labels
        self._source, self._files = source, files or [source]
        self.class_names = class_names

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[Item]:
        for index, image in enumerate(self._images):
            label = None if self._labels is None else int(self._labels[index])
            yield Item(f"{self._source}[{index}]", np.asarray(image), label)

    def files(self) -> list[Path]:
        return self._files


def _checked_labels(source: Path, labels: np.ndarray, count: int) -> np.ndarray:
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(
            f"'{source}' has labels of shape {labels.shape} and type {labels.dtype}; "
            f"there must be {count} integers, one per image"
        )
    if labels.min() < 0:
        raise ValueError(f"'{source}' has a label {labels.min()}; labels count from 0")
    return labels.astype(np.int64)


def read_numpy(path: Path) -> ArrayReader:
    """A .npy of images, or a .npz with `images` and perhaps `labels`."""
    try:
        if path.suffix == ".npy":
            return ArrayReader(path, np.load(path, mmap_mode="r", allow_pickle=False))
        with np.load(path, allow_pickle=False) as file:
            images = next((key for key in IMAGE_KEYS if key in file), None)
            labels = next((key for key in LABEL_KEYS if key in file), None)
            if images is None:
                raise ValueError(
                    f"has the arrays {', '.join(file)}; one must be named {' or '.join(IMAGE_KEYS)}"
                )
            return ArrayReader(path, file[images], None if labels is None else file[labels])
    except (OSError, EOFError, ValueError) as error:
        if str(error).startswith(f"'{path}'"):
            raise
        raise ValueError(f"'{path}' cannot be read: {error}") from None
    except Exception as error:  # a damaged zip inside raises what it likes
        raise ValueError(f"'{path}' is damaged: {error}") from None


# --- statistics of features --------------------------------------------------------------------------


def read_statistics(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """mu and sigma of a .npz with these arrays, or of a .npy with a dictionary of them; None of other files.

    The dictionary in a .npy is a pickle; it is read without running any code from it.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in ("mu", "sigma") if name in file}
        else:
            found = _dictionary_of(path)
        return (found["mu"], found["sigma"]) if found.keys() >= {"mu", "sigma"} else None
    except Exception as error:  # damaged files raise what they like
        raise ValueError(f"'{path}' cannot be read: {error}") from None


def _dictionary_of(path: Path) -> dict[str, Any]:
    """The dictionary that np.save wrote, with text as keys; empty for other arrays."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        if shape != () or dtype != np.dtype(object):
            return {}
        content = _ArraysOnly(file, encoding="bytes").load().item()
    if not isinstance(content, dict):
        return {}
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in content.items()}


# --- IDX --------------------------------------------------------------------------------------------


def is_idx_name(name: str) -> bool:
    """Whether a file is named like IDX images: ...-images-idx3-ubyte, perhaps gzipped."""
    return "images" in name and ("idx3" in name or "idx4" in name)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in an IDX file, gzipped or not (as the MNIST files are)."""
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"'{path}' cannot be read: {error}") from None
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] != 8:
        raise ValueError(f"'{path}' is no IDX file of unsigned bytes")
    shape = np.frombuffer(data, ">u4", count=min(data[3], (len(data) - 4) // 4), offset=4)
    start = 4 + 4 * data[3]
    if len(shape) != data[3] or len(data) != start + int(np.prod(shape.astype(object))):
        raise ValueError(
            f"'{path}' is cut short: it has {len(data)} bytes, but says a shape of {shape.tolist()}"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape.astype(int))


def read_idx_images(path: Path, split: str) -> ArrayReader:
    """IDX images with the labels beside them; a folder holds `train-...` and `t10k-...` files."""
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if is_idx_name(file.name))
        wanted = {"train": ("train",), "test": ("t10k", "test"), "all": ("",)}.get(split, (split,))
        files = [file for file in found if file.name.startswith(wanted)]
        if not files:
            raise ValueError(f"'{path}' has no IDX images of the split {split}; it has {_names(found)}")
    else:
        files = [path]
    images, labels, used = [], [], list(files)
    for file in files:
        images.append(read_idx(file))
        beside = file.with_name(re.sub(r"idx\d", "idx1", file.name.replace("images", "labels")))
        if beside != file and beside.is_file():
            labels.append(read_idx(beside))
            used.append(beside)
    whole = np.concatenate(labels) if len(labels) == len(files) else None
    return ArrayReader(path, np.concatenate(images), whole, files=used)


def _names(files: list[Path]) -> str:
    return ", ".join(file.name for file in files) or "none"


# --- CIFAR-10 ---------------------------------------------------------------------------------------

CIFAR_FOLDER = "cifar-10-batches-py"
CIFAR_BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
CIFAR_BATCHES["all"] = CIFAR_BATCHES["train"] + CIFAR_BATCHES["test"]


class _ArraysOnly(pickle.Unpickler):
    """Reads the pickles of CIFAR: plain containers and numpy arrays; any other name is refused."""

    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which image data never needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_arrays_only(data: bytes, name: str) -> dict[bytes, Any]:
    """The dictionary in a CIFAR batch, read without running any code from it.

    Raises:
        ValueError: if it is damaged, or holds anything but containers and arrays.
    """
    try:
        batch = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a damaged pickle raises what it likes
        raise ValueError(f"'{name}' is no CIFAR batch: {error}") from None
    if not isinstance(batch, dict):
        raise ValueError(f"'{name}' is no CIFAR batch: it holds {type(batch).__name__}")
    return batch


def is_cifar(path: Path) -> bool:
    """Whether a folder, or a tar, holds CIFAR-10 python batches."""
    if path.is_dir():
        return (path / "data_batch_1").is_file() or (path / CIFAR_FOLDER / "data_batch_1").is_file()
    return path.name.startswith("cifar-10-python") and tarfile.is_tarfile(path)


def read_cifar(path: Path, split: str) -> ArrayReader:
    """CIFAR-10 python batches, in their folder or in the tar that they come in."""
    names = CIFAR_BATCHES.get(split)
    if names is None:
        raise ValueError(f"'{path}' is CIFAR-10, which has the splits train and test, not {split}")
    if path.is_dir():
        folder = path if (path / "data_batch_1").is_file() else path / CIFAR_FOLDER
        files = [folder / name for name in names]
        batches = [load_arrays_only(_bytes(file), str(file)) for file in files]
        meta = folder / "batches.meta"
        classes = _cifar_classes(_bytes(meta), str(meta)) if meta.is_file() else None
        files += [meta] if meta.is_file() else []
    else:
        files, content = [path], _members_of(path, [*names, "batches.meta"])
        meta_data = content.pop("batches.meta", None)
        batches = [load_arrays_only(data, f"{path}:{name}") for name, data in content.items()]
        classes = None if meta_data is None else _cifar_classes(meta_data, f"{path}:batches.meta")
        if len(batches) != len(names):
            raise ValueError(f"'{path}' lacks some of {', '.join(names)}")
    try:
        images = np.concatenate([np.asarray(batch[b"data"], np.uint8) for batch in batches])
        labels = np.concatenate([np.asarray(batch[b"labels"]) for batch in batches])
        pixels = images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"'{path}' is no whole CIFAR-10: {error}") from None
    return ArrayReader(path, pixels, labels, classes, files)


def _members_of(path: Path, names: list[str]) -> dict[str, bytes]:
    """The files of these names in a tar, wherever they lie in it, in the order of the names."""
    found = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = Path(member.name).name
                if name in names and member.isfile() and (file := archive.extractfile(member)):
                    found[name] = file.read()
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise ValueError(f"'{path}' is no whole CIFAR-10: {error}") from None
    return {name: found[name] for name in names if name in found}


def _cifar_classes(data: bytes, name: str) -> tuple[str, ...]:
    labels = load_arrays_only(data, name).get(b"label_names", [])
    return tuple(label.decode() for label in labels if isinstance(label, bytes))


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f"'{path}' cannot be read: {error.strerror}") from None
