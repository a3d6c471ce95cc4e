"""The 25-Gaussians toy: a 5 x 5 grid of narrow Gaussians in the plane (paper section 5, Fig 6).

The paper does not state its constants; these are the usual ones: centres 2 {-2..2}^2, standard deviation
0.05, all divided by 2.828.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.data.batch import EVERY, Batch
from ddgan.data.embedded import EmbeddedConfig
from ddgan.networks.conditions import ConditionShapes
from ddgan.system.devices import to_device
from ddgan.system.randomness import generator_for

__all__ = ["SPREAD", "Gaussians", "GaussiansConfig", "centres"]

SCALE = 2.828
SPREAD = 0.05 / SCALE
"""Standard deviation of each Gaussian, in the units of the samples."""


def centres() -> Tensor:
    """Return the 25 centres, (25, 2)."""
    line = torch.arange(-2.0, 3.0) * 2 / SCALE
    return torch.cartesian_prod(line, line)


class Gaussians:
    """Endless samples of the mixture, (2,); batch `step` depends only on (seed, step)."""

    sample_shape = (2,)
    conditions = ConditionShapes()
    checksum = ""

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu", split: str = "train") -> None:
        self._seed = seed
        self._device = torch.device(device)
        self._purpose = "gaussians" if split == "train" else f"gaussians {split}"

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """Return the points of iteration `step`, (size, 2)."""
        rng = generator_for(self._seed, self._purpose, step)
        centre = centres()[torch.randint(25, (size,), generator=rng)]
        points = centre + SPREAD * torch.randn(size, 2, generator=rng)
        return Batch(to_device(points[rows], self._device))

    def held_out(self, size: int) -> Batch | None:
        """Return None: endless samples never repeat."""
        return None


@register("data", "gaussians")
class GaussiansConfig(EmbeddedConfig):
    """25 Gaussians in the plane, as endless random samples."""

    dataset: ClassVar[Any] = Gaussians
