"""The real side of a comparison: images of a data source as arrays, and their features, kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.data import ImageDataset, SingleDigits, StackedDigits, open_source
from ddgan.data.cache import cache_folder, only_one
from ddgan.data.digits import split_digits
from ddgan.data.readers.stacked import PREFIX
from ddgan.metrics.collect import FeatureCollector
from ddgan.metrics.features import Features
from ddgan.metrics.frechet import Statistics
from ddgan.system.files import folder_made_atomically
from ddgan.system.images import to_uint8
from ddgan.system.progress import progress_bar
from ddgan.system.randomness import generator_for

FEWEST_ENDLESS = 10_000
"""Real samples that are taken at least of a source that makes them without end."""
MOST_NEIGHBOURS = 50_000
"""Real features that are kept for scores by neighbours; the statistics are of all images."""
VERSION = 1
"""Of what is kept in the cache."""


@dataclass(frozen=True)
class RealData:
    """Real images.

    Attributes:
        source: the name that it was opened by.
        split: which part.
        images: uint8 (N, C, H, W), perhaps mapped from a file; points are float32 (N, F).
        labels: int64 (N,), or None.
        num_classes: 0 without labels.
        stacked: whether each channel is a digit, and the label is 100 R + 10 G + B.
        checksum: of the images and labels.
    """

    source: str
    split: str
    images: np.ndarray
    labels: np.ndarray | None
    num_classes: int
    stacked: bool
    checksum: str

    def __len__(self) -> int:
        return len(self.images)

    def batches(self, size: int = 1024) -> Iterator[Tensor]:
        """All images in batches."""
        for first in range(0, len(self), size):
            yield torch.from_numpy(np.array(self.images[first : first + size]))

    def class_shares(self) -> Tensor:
        """How often each class occurs, float64 (K,)."""
        assert self.labels is not None
        counts = torch.bincount(torch.from_numpy(self.labels), minlength=self.num_classes)
        return counts.double() / len(self)


def open_real(
    source: str,
    split: str | None = None,
    num_samples: int = 0,
    state_shape: tuple[int, ...] | None = None,
    *,
    progress: bool = False,
) -> RealData:
    """The real images of a source, for comparison with samples of `state_shape`.

    Endless sources give as many as there are samples, but no fewer than 10,000.

    Raises:
        ValueError: if there is no such source or split, or it has other shapes.
    """
    data = open_source(
        source, seed=1, state_shape=state_shape, split=split, progress=progress
    )  # the seed of training is another
    if isinstance(data, ImageDataset):
        info = data.info
        stacked = str(info.get("source", "")).startswith(PREFIX)
        return RealData(
            source, info["split"], data.images, data.labels, data.num_classes, stacked, info["checksum"]
        )
    split = split or "train"
    if isinstance(data, SingleDigits):
        pixels, labels = split_digits(split)
        images = pixels[:, None]
        classes: np.ndarray | None = labels
    else:
        batch = data.batch(0, max(num_samples, FEWEST_ENDLESS))
        is_image = batch.images.ndim == 4
        images = to_uint8(batch.images).transpose(0, 3, 1, 2) if is_image else batch.images.numpy()
        classes = None if batch.labels is None else batch.labels.numpy()
    digest = hashlib.sha256(images.tobytes())
    if classes is not None:
        digest.update(classes.tobytes())
    stacked = isinstance(data, StackedDigits) and not isinstance(data, SingleDigits)
    return RealData(source, split, images, classes, data.num_classes, stacked, digest.hexdigest())


@dataclass(frozen=True)
class RealFeatures:
    """What scores compare with: statistics of all real images, and features (M, D) of up to 50,000 `rows`."""

    statistics: Statistics
    features: Tensor
    rows: Tensor


def real_features(
    real: RealData, features: Features, device: torch.device, *, progress: bool = False
) -> RealFeatures:
    """Features and statistics of real images, from the cache if they were computed before."""
    key = [real.checksum, real.split, len(real), features.checksum, MOST_NEIGHBOURS, VERSION]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
    folder = cache_folder() / "statistics" / f"{Path(features.name).stem}-{digest}"
    if not folder.is_dir():
        collector = FeatureCollector(features, len(real), device)
        with progress_bar("real features", len(real), enabled=progress) as advance:
            for batch in real.batches():
                collector.update(batch)
                advance(len(batch))
        _keep(folder, collector, {"source": real.source, "split": real.split, "features": features.name})
    with np.load(folder / "statistics.npz", allow_pickle=False) as file:
        mean, covariance, rows = (torch.from_numpy(file[name]) for name in ("mu", "sigma", "rows"))
    kept = torch.from_numpy(np.load(folder / "features.npy", allow_pickle=False))
    return RealFeatures(Statistics(mean, covariance, len(real)), kept, rows)


def _keep(folder: Path, collector: FeatureCollector, facts: dict[str, Any]) -> None:
    statistics, kept = collector.statistics(), collector.features()
    rows = torch.randperm(len(kept), generator=generator_for(0, "real features"))
    rows = rows[:MOST_NEIGHBOURS].sort().values
    arrays: dict[str, Any] = {
        "mu": statistics.mean.numpy(),
        "sigma": statistics.covariance.numpy(),
        "rows": rows.numpy(),
    }
    with only_one(folder), folder_made_atomically(folder) as partial:
        np.savez(partial / "statistics.npz", **arrays)
        np.save(partial / "features.npy", kept[rows].numpy())
        (partial / "about.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
