"""Gradient penalties on the discriminator (paper section 3): (gamma / 2) ||grad_x_prev D||^2.

R1 takes the gradient at real x_{t-1}, R2 at fake ones. They are lazy: applied every k-th iteration, without
multiplying by k in the paper. The gradient is exact, or estimated by finite differences without second
derivatives; in float32 too where D otherwise computes in 16 bits, whose rounding is as large as a difference:

    ||grad_x D||^2 = E_n [(D(x + epsilon n) - D(x))^2] / epsilon^2 + O(epsilon^2) ,   n ~ N(0, I)

Centring penalises the mean of D's logits on real and fake pairs, which a relativistic loss leaves free.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.config.ramps import Ramp
from ddgan.config.settings import Interval, SettingError, settings

__all__ = ["CentringConfig", "Penalty", "R1Config", "R2Config", "squared_difference", "squared_gradient"]


class Penalty(Protocol):
    """Interface of every kind of penalty.

    Attributes:
        kind: name in logs.
        on: whether D is penalised at "real" or at "fake" x_{t-1}, or by its "logits" on both.
        every: iterations between two applications.
        gamma: weight, or its ramp.
    """

    @property
    def kind(self) -> str: ...

    @property
    def on(self) -> Literal["real", "fake", "logits"]: ...

    @property
    def every(self) -> int: ...

    @property
    def gamma(self) -> float | Ramp: ...

    def scale(self, step: int) -> float:
        """Return the factor of gamma at iteration `step`; 0 if the penalty is skipped."""
        ...

    def penalty(self, logits: Tensor, other: Tensor) -> Tensor:
        """Return the unweighted penalty per sample, (B,).

        `logits` (B,) were computed from the leaf x_{t-1}, `other`; with `on` "logits" they are those on real
        pairs, and `other` those on fake ones.
        """
        ...


Gamma = Annotated[float, Interval(gt=0, le=1e6)] | Ramp
Every = Annotated[int, Interval(ge=1, le=1_000_000)]


@settings
class _SquaredGradient:
    """Settings of both penalties.

    Args:
        gamma: weight, or its ramp; the term is (gamma / 2) ||gradient||^2; above 0.
        every: applied at iterations 0, every, 2 every, ...
        scaled: whether the term is multiplied by `every`; off in the paper.
        epsilon: step of the finite differences; 0 for the exact gradient, as in the paper.
        share: share of the batch on which finite differences are taken; in (0, 1].
    """

    gamma: Gamma = 0.02
    every: Every = 1
    scaled: bool = False
    epsilon: Annotated[float, Interval(ge=0, le=10)] = 0.0
    share: Annotated[float, Interval(gt=0, le=1)] = 1.0

    def __post_init__(self) -> None:
        if self.share < 1 and not self.epsilon:
            raise SettingError(
                "share", f"is {self.share:g}, but epsilon is 0: the exact gradient is that of all"
            )

    def scale(self, step: int) -> float:
        if step % self.every:
            return 0.0
        return 0.5 * (self.every if self.scaled else 1)

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


@register("penalty", "centring")
class CentringConfig:
    """The squared mean of D's logits on the real and the fake pair of each sample.

    Args:
        gamma: weight, or its ramp; about 0.01; above 0.
        every: applied at iterations 0, every, 2 every, ...
    """

    kind: ClassVar[str]
    on: ClassVar[Literal["logits"]] = "logits"
    gamma: Gamma = 0.01
    every: Every = 1

    def scale(self, step: int) -> float:
        """Return 1, or 0 where the penalty is skipped."""
        return 0.0 if step % self.every else 1.0

    def penalty(self, logits: Tensor, other: Tensor) -> Tensor:
        """Return the squared mean of the logits on the two pairs of each sample, (B,)."""
        return ((logits + other) / 2).square()


def squared_difference(logits: Tensor, moved: Tensor, epsilon: float) -> Tensor:
    """Estimate ||grad_x D||^2 per sample, (B,), from D's logits at x and at x + epsilon n."""
    return ((moved - logits) / epsilon).square()


def squared_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """Return ||grad_x D||^2 per sample, (B,), itself differentiable; `logits` were computed from `x`."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)
