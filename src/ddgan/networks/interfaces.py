"""What the settings of a network give, whichever family it is of."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from ddgan.networks.conditions import ConditionShapes

__all__ = ["DiscriminatorConfig", "GeneratorConfig"]


class GeneratorConfig(Protocol):
    """Settings of a generator. `tanh` true, where it has that setting, says that its output is in [-1, 1].

    `activation_floats(sample_shape)`, where it has that, estimates the memory of a sample: how many are
    sampled at a time.
    """

    kind: Any

    @property
    def latent_size(self) -> int:
        """nz, the length of z; 0 without."""
        ...

    def build(self, sample_shape: tuple[int, ...], conditions: ConditionShapes) -> nn.Module:
        """G(x_t, t, z, condition) for samples of this shape, with new weights."""
        ...


class DiscriminatorConfig(Protocol):
    """Settings of a discriminator."""

    kind: Any

    def build(self, sample_shape: tuple[int, ...], conditions: ConditionShapes) -> nn.Module:
        """D(x_prev, x_t, t, condition) for samples of this shape, with new weights."""
        ...
