"""Gradient penalties on the discriminator (paper section 3): (gamma / 2) ||grad_x_prev D||^2.

R1 takes the gradient on real x_{t-1}, R2 on fake ones. They are lazy: applied at every k-th iteration, and in
the paper not multiplied by k.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.config.settings import Interval, settings

__all__ = ["Penalty", "R1Config", "R2Config", "squared_gradient"]


class Penalty(Protocol):
    """What every kind of penalty gives.

    Attributes:
        kind: its name in logs.
        on: whether it looks at D on "real" or on "fake" x_{t-1}.
        every: the iterations between two applications.
    """

    @property
    def kind(self) -> str: ...

    @property
    def on(self) -> Literal["real", "fake"]: ...

    @property
    def every(self) -> int: ...

    def weight(self, step: int) -> float:
        """Its weight at iteration `step`; 0 where it is skipped."""
        ...

    def penalty(self, logits: Tensor, x_prev: Tensor) -> Tensor:
        """The unweighted penalty per sample, (B,); `logits` (B,) were computed from the leaf `x_prev`."""
        ...


@settings
class _SquaredGradient:
    """Both penalties.

    Args:
        gamma: weight; the term is (gamma / 2) ||gradient||^2; above 0.
        every: applied at iterations 0, every, 2 every, ...
        scaled: whether the term is multiplied by `every`; off in the paper.
    """

    gamma: Annotated[float, Interval(gt=0, le=1e6)] = 0.02
    every: Annotated[int, Interval(ge=1, le=1_000_000)] = 1
    scaled: bool = False

    def weight(self, step: int) -> float:
        if step % self.every:
            return 0.0
        return self.gamma / 2 * (self.every if self.scaled else 1)

    def penalty(self, logits: Tensor, x_prev: Tensor) -> Tensor:
        return squared_gradient(logits, x_prev)


@register("penalty", "r1")
class R1Config(_SquaredGradient):
    """R1, on the real x_{t-1}; its settings are those of R2."""

    kind: ClassVar[str]
    on: ClassVar[Literal["real", "fake"]] = "real"


@register("penalty", "r2")
class R2Config(_SquaredGradient):
    """R2, on the fake x_{t-1}; its settings are those of R1."""

    kind: ClassVar[str]
    on: ClassVar[Literal["real", "fake"]] = "fake"


def squared_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """||grad_x D||^2 per sample, (B,), differentiable again; `x` is what `logits` was computed from."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)
