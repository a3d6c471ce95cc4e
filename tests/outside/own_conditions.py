"""Data from outside the package with all conditions: plane waves, as signals, images or volumes."""

import math
from typing import Annotated

import torch
from annotated_types import Len

import ddgan
from ddgan.config.settings import Interval
from ddgan.data.batch import EVERY, Batch
from ddgan.networks.conditions import Condition, ConditionShapes, with_presence


@ddgan.register("data", "waves")
class WavesConfig:
    """Waves along an axis: which one is the label, their frequency a vector, their absolute value an image.

    Args:
        sizes: of the samples; one for signals, two for images, three for volumes.
    """

    sizes: Annotated[tuple[Annotated[int, Interval(ge=2, le=1024)], ...], Len(1, 3)] = (32,)

    @property
    def name(self) -> str:
        return "waves"

    def check(self) -> None:
        """They are always there."""

    def open(self, seed=0, device="cpu", *, split=None, num_held_out=0, progress=False):
        return Waves(self.sizes, seed if split in (None, "train") else seed + 1)


class Waves:
    """The samples, (1, *sizes)."""

    checksum = ""

    def __init__(self, sizes: tuple[int, ...], seed: int) -> None:
        self.sample_shape, self._seed = (1, *sizes), seed
        self.conditions = ConditionShapes(num_classes=len(sizes), vector_features=1, image_channels=1)

    def batch(self, step, size, rows=EVERY):
        rng = torch.Generator().manual_seed(1000 * self._seed + step)
        sizes = self.sample_shape[1:]
        axis = torch.randint(len(sizes), (size,), generator=rng)
        frequency, phase = torch.rand(2, size, *[1] * len(sizes), generator=rng)
        lines = [torch.linspace(0, 1, steps) for steps in sizes]
        places = torch.stack(torch.meshgrid(*lines, indexing="ij"))[axis]
        x = (2 * math.pi * ((1 + 2 * frequency) * places + phase)).sin()[:, None]
        vector = (frequency.view(size, 1) - 0.5) * math.sqrt(12)  # of mean 0 and standard deviation 1
        return Batch(x, Condition(axis, with_presence(vector), with_presence(x.abs()))).rows(rows)

    def held_out(self, size):
        return None
