"""Reconstruction: the distance between the predicted and the true x_0, added to G's loss (not in the paper).

Multiplied by abar_t, it guides the steps where x_t still shows the image and leaves the noisiest ones, where
many images are plausible, to D. Multiplied by 1 - abar_t, it leaves the last steps, which make images sharp,
to D.
"""

from __future__ import annotations

from typing import Annotated, Protocol

from torch import Tensor

from ddgan.config.components import register
from ddgan.config.settings import Interval, settings

__all__ = ["L1Config", "L2Config", "Reconstruction", "power_at", "squared_error"]


class Reconstruction(Protocol):
    """Interface of every kind of reconstruction term.

    Attributes:
        weight: weight of the term in G's loss.
        by_signal: whether it is multiplied by abar_t.
        by_noise: whether it is multiplied by 1 - abar_t; a kind without this setting is not.
    """

    @property
    def weight(self) -> float: ...

    @property
    def by_signal(self) -> bool: ...

    def error(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the distance per sample: (B, ...) -> (B,)."""
        ...


@settings
class _Weighted:
    """Settings of all kinds.

    Args:
        weight: weight of the term in G's loss; above 0.
        by_signal: multiply it by abar_t.
        by_noise: multiply it by 1 - abar_t.
    """

    weight: Annotated[float, Interval(gt=0, le=1e6)] = 1.0
    by_signal: bool = False
    by_noise: bool = False


@register("reconstruction", "l1")
class L1Config(_Weighted):
    """The mean absolute error."""

    def error(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The mean absolute difference of each sample (B, ...), (B,)."""
        return (predicted - target).abs().flatten(1).mean(dim=1)


@register("reconstruction", "l2")
class L2Config(_Weighted):
    """The mean squared error."""

    def error(self, predicted: Tensor, target: Tensor) -> Tensor:
        """The mean squared difference of each sample (B, ...), (B,)."""
        return squared_error(predicted, target)


def power_at(reconstruction: Reconstruction, alpha_bar: Tensor) -> Tensor | float:
    """Return the factor of the weight where the signal has the power alpha_bar (B,)."""
    factor: Tensor | float = 1.0
    if reconstruction.by_signal:
        factor = alpha_bar
    if getattr(reconstruction, "by_noise", False):
        factor = factor * (1 - alpha_bar)
    return factor


def squared_error(predicted: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared error per sample: (B, ...) -> (B,)."""
    return (predicted - target).square().flatten(1).mean(dim=1)
