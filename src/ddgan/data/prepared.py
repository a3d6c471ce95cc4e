"""A prepared dataset: a memory-mapped uint8 array with labels, and an order of images per epoch.

NAME/images.bin     uint8, (N, C, H, W), row after row
NAME/labels.npy     int64 (N,), if the images have classes
NAME/held_out.npy   int64 (M,), sorted indices of the images that are held out from training, if any are
NAME/dataset.json   what it was made from, counts, options, checksum; written last
"""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.data.batch import EVERY, Batch, shuffled_indices
from ddgan.data.weighting import ClassDraws, WeightedOrder, Weights
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.system.devices import to_device
from ddgan.system.files import parse_json
from ddgan.system.randomness import generator_for

__all__ = ["ImageDataset", "is_prepared", "read_info"]

IMAGES_NAME, LABELS_NAME, INFO_NAME = "images.bin", "labels.npy", "dataset.json"
HELD_OUT_NAME = "held_out.npy"
FORMAT = 1
SHARE_OF_DEVICE = 0.4
"""A dataset is placed on a GPU if it takes at most this share of its free memory."""


def is_prepared(path: Path) -> bool:
    """Whether a folder is a prepared dataset, complete or not."""
    if not path.is_dir() or (path / IMAGES_NAME).is_file():
        return path.is_dir()
    if not (path / INFO_NAME).is_file():  # a pipe would wait for a writer
        return False
    try:  # other programs also write a dataset.json
        return '"format"' in (path / INFO_NAME).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False


class ImageDataset:
    """An open prepared dataset.

    Args:
        path: its folder.
        device: where training wants the batches; on a GPU the whole set is placed there when it fits.
        seed: of the order.
        num_held_out: how many images, a fixed random choice, no batch ever has, if none were held out when
            it was prepared.

    Attributes:
        info: what dataset.json says.
        images: uint8 (N, C, H, W), mapped from the file.
        labels: int64 (N,), or None.
        sample_shape: (C, H, W).
        held_out_rows: indices of the images that no batch has, int64.
        trained_rows: indices of all others, int64, sorted.

    Raises:
        ValueError: if it is cut short, of another version, or not a prepared dataset, or images would be held
            out twice.
    """

    def __init__(
        self, path: Path, seed: int = 0, device: torch.device | str = "cpu", num_held_out: int = 0
    ) -> None:
        self.path, self.info = path, read_info(path)
        shape = tuple(self.info["shape"])
        size = (path / IMAGES_NAME).stat().st_size if (path / IMAGES_NAME).is_file() else 0
        if size != int(np.prod(shape, dtype=object)):
            raise ValueError(f"'{path / IMAGES_NAME}' is cut short: {size} bytes; prepare the dataset again")
        self.images = np.memmap(path / IMAGES_NAME, np.uint8, "r", shape=shape)
        self.labels = self._read_labels()
        self.sample_shape = shape[1:]
        self._seed, self._device = seed, torch.device(device)
        if num_held_out >= len(self):
            raise ValueError(
                f"training.held_out is {num_held_out}, but '{path}' has {len(self)} images; hold out fewer"
            )
        recorded = int(self.info.get("num_held_out", 0))
        if recorded and num_held_out:
            raise ValueError(
                f"training.held_out is {num_held_out}, but '{path}' was prepared with {recorded} images held "
                "out; set it to 0"
            )
        if recorded:
            self._held_out, self._trained = self._read_held_out(recorded)
        else:
            self._held_out, self._trained = _split(len(self), num_held_out)
        self.held_out_rows, self.trained_rows = self._held_out.numpy(), self._trained.numpy()
        self._weighted: WeightedOrder | None = None
        self._pixels = _as_tensor(self.images)
        self._classes = None if self.labels is None else torch.from_numpy(self.labels)
        if self._device.type == "cuda" and size <= SHARE_OF_DEVICE * torch.cuda.mem_get_info(self._device)[0]:
            self._pixels = self._pixels.to(self._device)

    def _read_array(self, name: str) -> np.ndarray:
        try:
            array: np.ndarray = np.load(self.path / name, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(
                f"'{self.path / name}' cannot be read: {error}; prepare the dataset again"
            ) from None
        return array

    def _read_held_out(self, count: int) -> tuple[Tensor, Tensor]:
        """Return the indices that were held out when the dataset was prepared, and all others."""
        rows, is_held_out = self._read_array(HELD_OUT_NAME), np.zeros(len(self), dtype=bool)
        if rows.shape == (count,) and rows.dtype == np.int64 and 0 <= rows.min() <= rows.max() < len(self):
            is_held_out[rows] = True
        if is_held_out.sum() != count or is_held_out.all():
            raise ValueError(f"'{self.path / HELD_OUT_NAME}' does not fit its dataset; prepare it again")
        return torch.from_numpy(rows), torch.from_numpy(np.flatnonzero(~is_held_out))

    def _read_labels(self) -> np.ndarray | None:
        if not self.info["num_classes"]:
            return None
        labels = self._read_array(LABELS_NAME)
        if labels.shape != (len(self),) or labels.min() < 0 or labels.max() >= self.info["num_classes"]:
            raise ValueError(f"'{self.path / LABELS_NAME}' does not fit its dataset; prepare it again")
        return labels

    def __len__(self) -> int:
        return int(self.info["shape"][0])

    @property
    def notes(self) -> list[str]:
        """Lines about what was not read when it was prepared, and what was changed."""
        notes = list(self.info.get("notes", []))
        if skipped := self.info.get("skipped"):
            first = f"'{skipped[0]['name']}', {skipped[0]['problem']}"
            others = f"{len(skipped):,} images that cannot be used, the first: {first}"
            notes.append(f"skipped {others if len(skipped) > 1 else f'1 image that cannot be used: {first}'}")
        if ignored := self.info.get("left_aside"):
            total, endings = sum(ignored.values()), sorted(ignored.items())
            counts = ", ".join(f"{count:,} {ending}" for ending, count in endings)
            notes.append(
                f"ignored 1 file that is not a supported image ({endings[0][0]})"
                if total == 1
                else f"ignored {total:,} files that are not supported images ({counts})"
            )
        return notes

    @property
    def conditions(self) -> ConditionShapes:
        """The number of classes, if there are labels."""
        return ConditionShapes(num_classes=int(self.info["num_classes"]))

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 without labels."""
        return self.conditions.num_classes

    @property
    def checksum(self) -> str:
        """SHA-256 of the images, labels and indices held out, recorded when they were written."""
        return str(self.info["checksum"])

    def indices(self, step: int, size: int) -> Tensor:
        """Return the indices of the images in batch `step`, int64 (size,), see `shuffled_indices`."""
        if self._weighted is not None:
            return self._trained[self._weighted.indices(step, size)]
        return self._trained[shuffled_indices(self._seed, step, size, len(self._trained))]

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """Return batch `step` of `size` images, or the given rows of it, on the device."""
        return self._at(self.indices(step, size)[rows])

    def held_out(self, size: int) -> Batch | None:
        """Return up to `size` held-out images, or None."""
        return self._at(self._held_out[:size]) if len(self._held_out) else None

    def _at(self, indices: Tensor) -> Batch:
        pixels = self._pixels[to_device(indices, self._pixels.device)]
        labels = None if self._classes is None else to_device(self._classes[indices], self._device)
        pixels = to_device(pixels, self._device)
        condition = None if labels is None else Condition(label=labels)
        return Batch(pixels.float().div_(127.5).sub_(1), condition)

    def weighted(self, weights: Weights) -> tuple[ImageDataset, ClassDraws]:
        """Return the same dataset with class weights, and how it draws; it must have labels."""
        assert self._classes is not None
        names = self.info["class_names"] or ()
        order = WeightedOrder(weights, self._classes[self._trained], self.num_classes, self._seed, names)
        other = copy.copy(self)
        other._weighted = order
        return other, order.draws

    def checksum_now(self) -> str:
        """Compute the checksum of the current images and labels, to compare with `checksum`."""
        digest = hashlib.sha256()
        with (self.path / IMAGES_NAME).open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        if self.info.get("num_held_out", 0):
            digest.update(self.held_out_rows.tobytes())
        return digest.hexdigest()


def read_info(path: Path) -> dict[str, Any]:
    """Read and check dataset.json.

    Raises:
        ValueError: if it is missing, damaged or of another version.
    """
    damaged = ValueError(f"'{path / INFO_NAME}' is damaged; prepare the dataset again")
    try:
        info = parse_json((path / INFO_NAME).read_text(encoding="utf-8"))
    except OSError:
        raise ValueError(
            f"'{path}' is not a whole dataset: it has no {INFO_NAME}; prepare it again"
        ) from None
    except ValueError:
        raise damaged from None
    if not isinstance(info, dict):
        raise damaged
    if info.get("format") != FORMAT:
        raise ValueError(
            f"'{path}' was prepared by another version (format {info.get('format')}, this one reads "
            f"{FORMAT}); prepare it again"
        )
    if not info.keys() >= {"shape", "num_classes", "class_names", "checksum", "split"}:
        raise damaged
    shape = info["shape"]
    is_shape = isinstance(shape, list) and len(shape) == 4 and all(isinstance(size, int) for size in shape)
    if not is_shape or min(shape) < 1 or not isinstance(info.get("num_held_out", 0), int):
        raise damaged
    return info


def _split(count: int, num_held_out: int) -> tuple[Tensor, Tensor]:
    """Return the held-out indices and the training indices, the latter in order."""
    if not num_held_out:
        return torch.zeros(0, dtype=torch.int64), torch.arange(count)
    shuffled = torch.randperm(count, generator=generator_for(0, "held out"))
    return shuffled[:num_held_out], shuffled[num_held_out:].sort().values


def _as_tensor(array: np.memmap) -> Tensor:
    """Return a tensor that shares the memory of the mapped file; it must not be written to."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns that the array is read-only
        return torch.from_numpy(array)
