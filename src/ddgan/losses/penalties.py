"""Gradient penalties on the discriminator (paper section 3): (gamma / 2) ||grad_x_prev D||^2.

R1 takes the gradient at real x_{t-1}, R2 at fake ones. They are lazy: applied every k-th iteration, without
multiplying by k in the paper.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.config.settings import Interval, settings

__all__ = ["Penalty", "R1Config", "R2Config", "squared_gradient"]


class Penalty(Protocol):
    """Interface of every kind of penalty.

    Attributes:
        kind: name in logs.
        on: whether D is penalised at "real" or at "fake" x_{t-1}.
        every: iterations between two applications.
    """

    @property
    def kind(self) -> str: ...

    @property
    def on(self) -> Literal["real", "fake"]: ...

    @property
    def every(self) -> int: ...

    def weight(self, step: int) -> float:
        """Return the weight at iteration `step`; 0 if the penalty is skipped."""
        ...

    def penalty(self, logits: Tensor, x_prev: Tensor) -> Tensor:
        """Return the unweighted penalty per sample, (B,); `logits` (B,) come from the leaf `x_prev`."""
        ...


@settings
class _SquaredGradient:
    """Settings of both penalties.

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
    """R1, at real x_{t-1}; same settings as R2."""

    kind: ClassVar[str]
    on: ClassVar[Literal["real", "fake"]] = "real"


@register("penalty", "r2")
class R2Config(_SquaredGradient):
    """R2, at fake x_{t-1}; same settings as R1."""

    kind: ClassVar[str]
    on: ClassVar[Literal["real", "fake"]] = "fake"


def squared_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """Return ||grad_x D||^2 per sample, (B,), itself differentiable; `logits` were computed from `x`."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)
