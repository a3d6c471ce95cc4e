"""Conditions: what both networks are given besides x_t and t, passed around as one object.

A sample may have a class, a vector of real features, and an aligned image. A label dropped for guidance is
replaced by the null class `num_classes`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddgan.config.settings import SettingError

__all__ = ["Condition", "ConditionShapes"]


class ConditionShapes(NamedTuple):
    """The sizes of the conditions that a network is built for.

    Attributes:
        num_classes: number of classes, without the null class; 0 for no label.
        vector_features: F of a vector (B, F); 0 for no vector.
        image_channels: C of an aligned image (B, C, *spatial); 0 for no image.
    """

    num_classes: int = 0
    vector_features: int = 0
    image_channels: int = 0

    def only_label(self, network: str) -> int:
        """Return the number of classes, for a network that takes no other condition.

        Raises:
            SettingError: if there is a vector or an image.
        """
        if self.vector_features or self.image_channels:
            raise SettingError(
                "", f"{network} takes a label as condition, not a vector or an image", is_sentence=True
            )
        return self.num_classes


class Condition(NamedTuple):
    """The conditions of B samples; None for each that is absent.

    Attributes:
        label: int64 (B,) in 0..num_classes, where num_classes is the null class ("no class given").
        vector: float32 (B, F).
        image: float32 (B, C, *spatial), aligned with the samples.
    """

    label: Tensor | None = None
    vector: Tensor | None = None
    image: Tensor | None = None

    def map(self, change: Any) -> Condition:
        """Apply `change` to each tensor that is present."""
        return Condition(*(None if part is None else change(part) for part in self))

    def rows(self, rows: slice | Tensor) -> Condition:
        """Select the conditions of some of the samples."""
        return self.map(lambda part: part[rows])

    def to(self, device: torch.device | str) -> Condition:
        """Move the conditions to a device."""
        return self.map(lambda part: part.to(device))

    def repeat_interleave(self, count: int) -> Condition:
        """Repeat each sample's conditions `count` times in a row."""
        return self.map(lambda part: part.repeat_interleave(count, dim=0))
