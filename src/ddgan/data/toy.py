"""The 25-Gaussians toy: a 5 x 5 grid of narrow Gaussians in the plane (paper section 5, Fig 6).

The paper does not state its constants; these are the usual ones: centres 2 {-2..2}^2, standard deviation
0.05, all divided by 2.828.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.data.batch import EVERY, Batch
from ddgan.data.embedded import EmbeddedConfig
from ddgan.networks.conditions import Condition, ConditionShapes, with_presence
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
    """Endless samples of the mixture, (2,); batch `step` depends only on (seed, step).

    With the condition "centre", each has the centre of its Gaussian as a vector, whose two numbers have mean
    0 and standard deviation 1.
    """

    sample_shape = (2,)
    checksum = ""

    def __init__(
        self,
        seed: int = 0,
        device: torch.device | str = "cpu",
        split: str = "train",
        condition: Literal["centre"] | None = None,
    ) -> None:
        self.conditions = ConditionShapes(vector_features=2 if condition else 0)
        self._seed = seed
        self._device = torch.device(device)
        self._purpose = "gaussians" if split == "train" else f"gaussians {split}"

    def batch(self, step: int, size: int, rows: slice = EVERY) -> Batch:
        """Return the points of iteration `step`, (size, 2)."""
        rng = generator_for(self._seed, self._purpose, step)
        centre = centres()[torch.randint(25, (size,), generator=rng)]
        points = centre + SPREAD * torch.randn(size, 2, generator=rng)
        x = to_device(points[rows], self._device)
        if not self.conditions.vector_features:
            return Batch(x)
        return Batch(x, Condition(vector=to_device(with_presence(centre[rows]), self._device)))

    def held_out(self, size: int) -> Batch | None:
        """Return None: endless samples never repeat."""
        return None


@register("data", "gaussians")
class GaussiansConfig(EmbeddedConfig):
    """25 Gaussians in the plane, as endless random samples.

    Args:
        condition: "centre" gives the centre of each sample's Gaussian as a vector; by default there is none.
    """

    dataset: ClassVar[Any] = Gaussians
    condition: Literal["centre"] | None = None

    @property
    def options(self) -> Mapping[str, Any]:
        return {"condition": self.condition}
