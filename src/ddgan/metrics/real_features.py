"""Features of real images, computed once and cached with their statistics."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.data.cache import cache_folder, only_one
from ddgan.metrics.collect import FeatureCollector
from ddgan.metrics.features import Features
from ddgan.metrics.moments import Statistics
from ddgan.metrics.real_data import RealData
from ddgan.system.files import folder_made_atomically
from ddgan.system.progress import progress_bar
from ddgan.system.randomness import generator_for

__all__ = ["RealFeatures", "kept_in", "real_features"]

MOST_NEIGHBOURS = 50_000
"""Maximum number of real features kept for neighbour scores; the statistics are over all images."""
VERSION = 1
"""Version of the cached files."""


@dataclass(frozen=True)
class RealFeatures:
    """Features and statistics of real images.

    Attributes:
        statistics: mean and covariance over all real images.
        features: float32 (M, D), of up to 50,000 images.
        rows: indices of these images, int64 (M,).
    """

    statistics: Statistics
    features: Tensor
    rows: Tensor


def kept_in(real: RealData, features: Features) -> Path:
    """Return the folder of the cache for features and statistics of real images; it may not exist."""
    key = [real.checksum, real.split, len(real), features.checksum, MOST_NEIGHBOURS, VERSION]
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:20]
    return cache_folder() / "statistics" / f"{Path(features.name).stem}-{digest}"


def real_features(
    real: RealData, features: Features, device: torch.device, *, progress: bool = False
) -> RealFeatures:
    """Return features and statistics of real images, from the cache if computed before."""
    folder = kept_in(real, features)
    if not folder.is_dir():
        collector = FeatureCollector(features, len(real), device)
        with progress_bar("real features", len(real), enabled=progress) as advance:
            for batch in real.batches():
                collector.update(batch)
                advance(len(batch))
        _keep(folder, collector, {"data": real.name, "split": real.split, "features": features.name})
    with np.load(folder / "statistics.npz", allow_pickle=False) as file:
        mean, covariance, rows = (torch.from_numpy(file[name]) for name in ("mu", "sigma", "rows"))
    kept = torch.from_numpy(np.load(folder / "features.npy", allow_pickle=False))
    return RealFeatures(Statistics(mean, covariance, len(real)), kept, rows)


def _keep(folder: Path, collector: FeatureCollector, about: dict[str, Any]) -> None:
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
        (partial / "about.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
