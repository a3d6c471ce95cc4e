"""Augmentation: random changes of training samples and, together with them, of their image conditions.

Random numbers are keyed by (seed, purpose, step) and drawn for the whole batch, so they do not depend on the
number of processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Protocol

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.config.settings import Interval
from ddgan.data.batch import Batch

__all__ = ["Augmentation", "HorizontalFlipConfig"]

Uniform = Callable[[str], Tensor]
"""purpose -> uniform random numbers in [0, 1), (B,), one per sample."""


class Augmentation(Protocol):
    """An augmentation."""

    kind: Any

    def apply(self, batch: Batch, uniform: Uniform) -> Batch:
        """Return the batch, changed at random."""
        ...


@register("augmentation", "horizontal_flip")
class HorizontalFlipConfig:
    """Flip each image, and its image condition, left to right.

    Args:
        probability: probability per image, in 0..1.
    """

    probability: Annotated[float, Interval(ge=0, le=1)] = 0.5

    def apply(self, batch: Batch, uniform: Uniform) -> Batch:
        if batch.x.ndim < 3:  # points cannot be flipped
            return batch
        is_flipped = uniform("flip") < self.probability

        def mirrored(x: Tensor) -> Tensor:
            return torch.where(is_flipped.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)

        condition = batch.condition
        if condition is not None and condition.image is not None:
            condition = condition._replace(image=mirrored(condition.image))
        return Batch(mirrored(batch.x), condition)
