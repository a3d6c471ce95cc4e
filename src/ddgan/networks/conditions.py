"""Conditions: what both networks are told beside x_t and t, as one object on its whole way.

A sample may have a class, a vector of real features, and an aligned image. What is dropped for guidance stays
in place: a dropped label is the null class `num_classes`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ddgan.config.settings import SettingError

__all__ = ["Condition", "ConditionShapes"]


class ConditionShapes(NamedTuple):
    """What conditions there are; a network is built for them.

    Attributes:
        num_classes: classes that a label may name, without the null class; 0 for none.
        vector_features: F of a vector (B, F); 0 for none.
        image_channels: C of an aligned image (B, C, *spatial); 0 for none.
    """

    num_classes: int = 0
    vector_features: int = 0
    image_channels: int = 0

    def only_label(self, network: str) -> int:
        """The number of classes, for a network that knows no other condition.

        Raises:
            SettingError: if there is another.
        """
        if self.vector_features or self.image_channels:
            raise SettingError(
                "", f"{network} takes a label as condition, and no vector or image yet", is_sentence=True
            )
        return self.num_classes


class Condition(NamedTuple):
    """The conditions of B samples; None for each that there is not.

    Attributes:
        label: int64 (B,) in 0..num_classes, where num_classes is the null class, "no class given".
        vector: float32 (B, F).
        image: float32 (B, C, *spatial), aligned with the samples.
    """

    label: Tensor | None = None
    vector: Tensor | None = None
    image: Tensor | None = None

    def map(self, change: Any) -> Condition:
        """Each of the tensors that there are, changed."""
        return Condition(*(None if part is None else change(part) for part in self))

    def rows(self, rows: slice | Tensor) -> Condition:
        """Those of some of the samples."""
        return self.map(lambda part: part[rows])

    def to(self, device: torch.device | str) -> Condition:
        """The same on a device."""
        return self.map(lambda part: part.to(device))

    def repeat_interleave(self, count: int) -> Condition:
        """Each sample's `count` times in a row."""
        return self.map(lambda part: part.repeat_interleave(count, dim=0))
