"""One pass over the samples for all scores: each batch goes to every collector."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from ddgan.metrics.features import FeatureBatch, Features
from ddgan.metrics.moments import Moments, Statistics
from ddgan.system.memory import check_allocation

__all__ = ["Collector", "FeatureCollector", "PixelKeeper"]


class Collector(Protocol):
    """Collects samples, batch by batch."""

    def update(self, images: Tensor) -> None:
        """Add uint8 images (B, C, H, W), or float32 points (B, ...)."""
        ...


class FeatureCollector:
    """Keeps the features of all samples, their moments, and optionally their class probabilities.

    The network always gets batches of the same size, so results do not depend on the batch size of the
    samples. Memory: 4 N (D + K) bytes.
    """

    def __init__(
        self, features: Features, count: int, device: torch.device, *, with_probabilities: bool = False
    ) -> None:
        self._extract, self._device, self._count = features.to(device), device, count
        self._with_probabilities = with_probabilities
        self._waiting: list[Tensor] = []
        self._features: Tensor | None = None
        self._probabilities: Tensor | None = None
        self._filled = 0
        self._moments = Moments()

    def update(self, images: Tensor) -> None:
        """Add uint8 images (B, C, H, W), or float32 points (B, ...)."""
        self._waiting.append(images)
        size = self._extract.batch_size
        if sum(map(len, self._waiting)) >= size:
            whole = torch.cat(self._waiting)
            end = len(whole) - len(whole) % size
            for part in whole[:end].split(size):
                self._take(part)
            self._waiting = [whole[end:]]

    def _take(self, images: Tensor) -> None:
        batch = self._extract(images.to(self._device), self._with_probabilities)
        self._check(batch, len(images))
        self._moments.update(batch.features)
        rows = slice(self._filled, self._filled + len(images))
        if self._features is None:
            check_allocation(
                4 * self._count * batch.features.shape[1],
                f"n is {self._count:,}: the features of so many samples",
                "use fewer samples",
                torch.device("cpu"),
            )
            self._features = torch.empty(self._count, batch.features.shape[1])
            if batch.probabilities is not None:
                self._probabilities = torch.empty(self._count, batch.probabilities.shape[1])
        self._features[rows] = batch.features.cpu()
        if self._probabilities is not None and batch.probabilities is not None:
            self._probabilities[rows] = batch.probabilities.cpu()
        self._filled = rows.stop

    def _check(self, batch: FeatureBatch, count: int) -> None:
        """Check a batch of features, which may come from outside ddgan."""
        name = f"features {self._extract.name}"
        if not isinstance(batch, FeatureBatch):
            raise ValueError(f"{name} are a {type(batch).__name__}; they must be a FeatureBatch")
        parts = [batch.features, batch.probabilities] if self._with_probabilities else [batch.features]
        for part, what, size in zip(parts, ("they", "their probabilities"), "DK", strict=False):
            if part is None:
                raise ValueError(f"{name} return no probabilities, although has_probabilities is True")
            if part.ndim != 2 or len(part) != count or not part.is_floating_point():
                raise ValueError(
                    f"{name} of {count} images: {what} are {part.dtype} {tuple(part.shape)}; they must be "
                    f"float32 ({count}, {size})"
                )

    def _finish(self) -> None:
        if self._waiting and len(rest := torch.cat(self._waiting)):
            self._take(rest)
        self._waiting = []

    def features(self) -> Tensor:
        """Return all features, float32 (N, D)."""
        self._finish()
        assert self._features is not None
        return self._features[: self._filled]

    def probabilities(self) -> Tensor:
        """Return all class probabilities, float32 (N, K)."""
        self._finish()
        if self._probabilities is None:
            raise ValueError(f"probabilities of features {self._extract.name} were not requested")
        return self._probabilities[: self._filled]

    def statistics(self) -> Statistics:
        """Return mean and covariance of all features."""
        self._finish()
        return self._moments.statistics()


class PixelKeeper:
    """Keeps the first samples, for pictures: as many as fit in 256 MiB."""

    LARGEST = 256 * 2**20

    def __init__(self) -> None:
        self._kept: list[Tensor] = []
        self._bytes = 0

    def update(self, images: Tensor) -> None:
        """Add uint8 images (B, C, H, W)."""
        left = (self.LARGEST - self._bytes) // images[0].numel()
        if left > 0:
            self._kept.append(images[:left].clone())
            self._bytes += self._kept[-1].numel()

    def images(self) -> Tensor:
        """Return the kept images, uint8 (S, C, H, W)."""
        return torch.cat(self._kept)
