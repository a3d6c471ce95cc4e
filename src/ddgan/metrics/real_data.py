"""The real side of a comparison: the samples of a dataset, as arrays."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.data.batch import DataConfig
from ddgan.data.digits import SingleDigits, StackedDigits, split_digits
from ddgan.data.embedded import is_embedded
from ddgan.data.emoji import Emoji, split_emoji
from ddgan.data.holding_out import image_keys
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers.stacked import PREFIX
from ddgan.data.sources import data_named, open_data
from ddgan.system.images import to_uint8
from ddgan.system.memory import check_allocation

__all__ = ["HELD_OUT", "RealData", "Rows", "open_real"]

HELD_OUT = "held_out"
"""The split of the images that a run, or the preparation of its data, held out from training."""

FEWEST_ENDLESS = 10_000
"""Minimum number of real samples drawn from endless data."""


class Rows:
    """Some rows of an array (N, ...), read from it when they are used.

    Args:
        array: the array, perhaps mapped from a file.
        rows: their indices, int64 (M,).
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self._array, self._rows = array, rows
        self.shape: tuple[int, ...] = (len(rows), *array.shape[1:])
        self.ndim = array.ndim

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        first, *others = index if isinstance(index, tuple) else (index,)
        return self._array[(self._rows[first], *others)]


@dataclass(frozen=True)
class RealData:
    """Real images, or points.

    Attributes:
        name: what a person calls the data.
        split: which part.
        images: uint8 (N, C, H, W), perhaps mapped from a file, or `Rows` of such; points are float32.
        labels: int64 (N,), or None.
        num_classes: 0 without labels.
        stacked: whether each channel is a digit, and the label is 100 R + 10 G + B.
        checksum: of the images and labels.
        class_names: names of the classes, if they have any.
        notes: what was not read, or changed, when the images were prepared.
    """

    name: str
    split: str
    images: Any
    labels: np.ndarray | None
    num_classes: int
    stacked: bool
    checksum: str
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int = 1024) -> Iterator[Tensor]:
        """Yield all images in batches."""
        for first in range(0, len(self), size):
            yield torch.from_numpy(np.array(self.images[first : first + size]))

    @cached_property
    def keys(self) -> np.ndarray:
        """Keys of all images, uint64 (N,), equal for equal images."""
        return np.concatenate([image_keys(batch.numpy()) for batch in self.batches()])

    def part(self, rows: np.ndarray, split: str) -> RealData:
        """Return some of the images as a split of this name; `rows` are their indices, int64 (M,)."""
        labels = None if self.labels is None else self.labels[rows]
        checksum = hashlib.sha256(self.checksum.encode() + rows.tobytes()).hexdigest()
        return replace(self, split=split, images=Rows(self.images, rows), labels=labels, checksum=checksum)

    def class_shares(self) -> Tensor:
        """Return the share of each class, float64 (K,)."""
        assert self.labels is not None
        counts = torch.bincount(torch.from_numpy(self.labels), minlength=self.num_classes)
        return counts.double() / len(self)


def open_real(
    data: str | DataConfig,
    split: str | None = None,
    num_samples: int = 0,
    sample_shape: tuple[int, ...] | None = None,
    *,
    num_held_out: int = 0,
    checksum: str = "",
    progress: bool = False,
) -> RealData:
    """Open real data for comparison with samples of `sample_shape`.

    From endless data, as many are drawn as there are samples, but at least 10,000.

    Args:
        data: what `--data` takes, or the settings of data.
        split: a part of it; by default the one to train on, without images held out by its preparation or by
            `num_held_out`. HELD_OUT is those, and the split "test" of embedded data.
        num_samples: how many samples are compared with it.
        sample_shape: of those.
        num_held_out: number of images that a run held out (training.held_out).
        checksum: required checksum of the dataset, which a run recorded; empty for any.
        progress: show a progress bar.

    Raises:
        ValueError: if there is no such data or split, or it has other shapes or contents.
    """
    config = data_named(data)
    if split == HELD_OUT and is_embedded(config):
        split = "test"
    dataset = open_data(
        config,
        seed=1,  # not the order of training
        sample_shape=sample_shape,
        num_held_out=num_held_out,
        split=None if split == HELD_OUT else split,
        checksum=checksum,
        progress=progress,
    )
    if isinstance(dataset, ImageDataset):
        info = dataset.info
        whole = RealData(
            name=config.name,
            split=info["split"],
            images=dataset.images,
            labels=dataset.labels,
            num_classes=dataset.conditions.num_classes,
            stacked=str(info.get("source", "")).startswith(PREFIX),
            checksum=info["checksum"],
            class_names=tuple(info["class_names"]) if info["class_names"] else None,
            notes=tuple(dataset.notes),
        )
        if split == HELD_OUT:
            if not len(dataset.held_out_rows):
                raise ValueError(f"'{config.name}' has no images held out from training")
            return whole.part(dataset.held_out_rows, HELD_OUT)
        if split == "all" or not len(dataset.held_out_rows):
            return whole
        return whole.part(dataset.trained_rows, whole.split)
    split = split or "train"
    classes: np.ndarray | None
    if isinstance(dataset, SingleDigits):
        pixels, classes = split_digits(split)
        images = pixels[:, None]
    elif isinstance(dataset, Emoji):
        images, classes = split_emoji(split)
    else:
        count = max(num_samples, FEWEST_ENDLESS)
        check_allocation(
            8 * count * math.prod(dataset.sample_shape),  # drawn as integers
            f"n is {num_samples:,}: so many real samples",
            "use fewer samples",
            torch.device("cpu"),
        )
        batch = dataset.held_out(num_held_out or count) if split == HELD_OUT else dataset.batch(0, count)
        if batch is None:
            raise ValueError(f"'{config.name}' has no samples held out from training")
        is_image = batch.x.ndim == 4
        images = to_uint8(batch.x).transpose(0, 3, 1, 2) if is_image else batch.x.float().cpu().numpy()
        classes = None if batch.label is None else batch.label.cpu().numpy()
    digest = hashlib.sha256(images.tobytes())
    if classes is not None:
        digest.update(classes.tobytes())
    stacked = isinstance(dataset, StackedDigits) and not isinstance(dataset, SingleDigits)
    return RealData(
        config.name,
        split,
        images,
        classes,
        dataset.conditions.num_classes,
        stacked,
        digest.hexdigest(),
        class_names=getattr(config, "class_names", ()) or None,
    )
