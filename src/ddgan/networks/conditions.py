"""Conditions: what both networks are given besides x_t and t, passed around as one object.

A sample may have a class, a vector of real features, and an aligned image. Each part says itself whether it
is given, so that it can be dropped for guidance: a label by the null class `num_classes`, a vector by one
more number and an image by one more channel, which are 1, or 0 with all others where nothing is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Condition", "ConditionShapes", "with_presence"]


def with_presence(values: Tensor) -> Tensor:
    """Append ones, which say that they are given, to vectors or images.

    Args:
        values: vectors (B, F), standardised; or images (B, C, *spatial), aligned with the samples and scaled
            as they are.

    Returns:
        (B, F + 1) or (B, C + 1, *spatial), as `Condition` has them.
    """
    return torch.cat([values, torch.ones_like(values[:, :1])], dim=1)


class ConditionShapes(NamedTuple):
    """The sizes of the conditions that a network is built for.

    Attributes:
        num_classes: number of classes, without the null class; 0 for no label.
        vector_features: F of a vector, without its presence; 0 for no vector.
        image_channels: C of an aligned image, without its presence; 0 for no image.
    """

    num_classes: int = 0
    vector_features: int = 0
    image_channels: int = 0

    @property
    def vector_inputs(self) -> int:
        """Numbers of a vector and its presence, F + 1; 0 for no vector."""
        return self.vector_features + (self.vector_features > 0)

    @property
    def image_inputs(self) -> int:
        """Channels of an image and its presence, C + 1; 0 for no image."""
        return self.image_channels + (self.image_channels > 0)

    def null(
        self, count: int, sample_shape: Sequence[int], device: torch.device | str | None = None
    ) -> Condition | None:
        """Return the condition that gives `count` samples nothing; None if there are no conditions.

        Args:
            count: B.
            sample_shape: the shape of a sample, (C, *spatial) or (F,).
            device: of the tensors; by default the current one.
        """
        if not any(self):
            return None
        classes, numbers, channels = self.num_classes, self.vector_inputs, self.image_inputs
        return Condition(
            torch.full((count,), classes, dtype=torch.int64, device=device) if classes else None,
            torch.zeros(count, numbers, device=device) if numbers else None,
            torch.zeros(count, channels, *sample_shape[1:], device=device) if channels else None,
        )


class Condition(NamedTuple):
    """The conditions of B samples; None for each that no sample has.

    Attributes:
        label: int64 (B,) in 0..num_classes, where num_classes is the null class ("no class given").
        vector: float32 (B, F + 1): the features, then 1; or zeros where it is not given.
        image: float32 (B, C + 1, *spatial), aligned with the samples: the channels, then a map of ones; or
            zeros where it is not given.
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

    def dropped(
        self, rows: Tensor, num_classes: int, parts: Iterable[str] = ("label", "vector", "image")
    ) -> Condition:
        """Return the conditions without those of some samples.

        Args:
            rows: which samples lose them, bool (B,).
            num_classes: the null class.
            parts: what they lose; by default everything.
        """
        nothing = {"label": num_classes, "vector": 0, "image": 0}
        changed: dict[str, Tensor] = {}
        for name in parts:
            part = getattr(self, name)
            if part is not None:
                changed[name] = part.masked_fill(rows.view(-1, *[1] * (part.ndim - 1)), nothing[name])
        return self._replace(**changed)
