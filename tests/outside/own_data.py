"""A form of data from outside the package: rings in the plane, made without end."""

import math
from typing import Annotated

import torch

import ddgan
from ddgan.config.settings import Interval
from ddgan.data.batch import EVERY, Batch
from ddgan.networks.conditions import Condition, ConditionShapes


@ddgan.register("data", "rings")
class RingsConfig:
    """Points on rings, the ring being the class.

    Args:
        count: of the rings.
    """

    count: Annotated[int, Interval(ge=1, le=100)] = 3

    @property
    def name(self) -> str:
        return "rings"

    def check(self) -> None:
        """It is always there."""

    def open(self, seed=0, device="cpu", *, split=None, num_held_out=0, progress=False):
        return Rings(self.count, seed if split in (None, "train") else seed + 1)


class Rings:
    """The points."""

    sample_shape = (2,)
    checksum = ""

    def __init__(self, count: int, seed: int) -> None:
        self.conditions, self._seed = ConditionShapes(num_classes=count), seed

    def batch(self, step, size, rows=EVERY):
        rng = torch.Generator().manual_seed(1000 * self._seed + step)
        ring = torch.randint(self.conditions.num_classes, (size,), generator=rng)
        angle = 2 * math.pi * torch.rand(size, generator=rng)
        radius = (ring + 1) / self.conditions.num_classes
        points = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
        return Batch(points, Condition(label=ring)).rows(rows)

    def held_out(self, size):
        return None
