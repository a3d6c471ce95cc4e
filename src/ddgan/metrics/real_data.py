"""The real side of a comparison: the samples of a dataset, as arrays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ddgan.data.batch import DataConfig
from ddgan.data.digits import SingleDigits, StackedDigits, split_digits
from ddgan.data.emoji import Emoji, split_emoji
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers.stacked import PREFIX
from ddgan.data.sources import data_named, open_data
from ddgan.system.images import to_uint8

__all__ = ["RealData", "open_real"]

FEWEST_ENDLESS = 10_000
"""Minimum number of real samples drawn from endless data."""


@dataclass(frozen=True)
class RealData:
    """Real images, or points.

    Attributes:
        name: what a person calls the data.
        split: which part.
        images: uint8 (N, C, H, W), perhaps mapped from a file; points are float32 (N, ...).
        labels: int64 (N,), or None.
        num_classes: 0 without labels.
        stacked: whether each channel is a digit, and the label is 100 R + 10 G + B.
        checksum: of the images and labels.
    """

    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray | None
    num_classes: int
    stacked: bool
    checksum: str

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int = 1024) -> Iterator[Tensor]:
        """Yield all images in batches."""
        for first in range(0, len(self), size):
            yield torch.from_numpy(np.array(self.images[first : first + size]))

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
    checksum: str = "",
    progress: bool = False,
) -> RealData:
    """Open real data for comparison with samples of `sample_shape`.

    From endless data, as many are drawn as there are samples, but at least 10,000.

    Args:
        data: what `--data` takes, or the settings of data.
        split: a part of it; by default the one to train on.
        num_samples: how many samples are compared with it.
        sample_shape: of those.
        checksum: required checksum of the dataset, which a run recorded; empty for any.
        progress: show a progress bar.

    Raises:
        ValueError: if there is no such data or split, or it has other shapes or contents.
    """
    config = data_named(data)
    dataset = open_data(  # not in the order of training
        config, seed=1, sample_shape=sample_shape, split=split, checksum=checksum, progress=progress
    )
    if isinstance(dataset, ImageDataset):
        info = dataset.info
        return RealData(
            name=config.name,
            split=info["split"],
            images=dataset.images,
            labels=dataset.labels,
            num_classes=dataset.conditions.num_classes,
            stacked=str(info.get("source", "")).startswith(PREFIX),
            checksum=info["checksum"],
        )
    split = split or "train"
    classes: np.ndarray | None
    if isinstance(dataset, SingleDigits):
        pixels, classes = split_digits(split)
        images = pixels[:, None]
    elif isinstance(dataset, Emoji):
        images, classes = split_emoji(split)
    else:
        batch = dataset.batch(0, max(num_samples, FEWEST_ENDLESS))
        is_image = batch.x.ndim == 4
        images = to_uint8(batch.x).transpose(0, 3, 1, 2) if is_image else batch.x.float().cpu().numpy()
        classes = None if batch.label is None else batch.label.cpu().numpy()
    digest = hashlib.sha256(images.tobytes())
    if classes is not None:
        digest.update(classes.tobytes())
    stacked = isinstance(dataset, StackedDigits) and not isinstance(dataset, SingleDigits)
    return RealData(
        config.name, split, images, classes, dataset.conditions.num_classes, stacked, digest.hexdigest()
    )
