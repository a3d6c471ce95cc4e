"""Adversarial losses and gradient penalties: pure functions of logits and gradients.

All return one value per sample, (B,); the caller averages. With softplus(x) = log(1 + e^x):

- non-saturating (the paper's): L_D = softplus(-D_real) + softplus(D_fake), L_G = softplus(-D_fake)
- relativistic pairing (R3GAN, arXiv 2501.05441): L_D = softplus(-(D_real - D_fake)), L_G the reverse
- R1 / R2: (gamma / 2) ||grad_x_prev D||^2 on the real / the fake x_{t-1}
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import softplus


@dataclass(frozen=True)
class PenaltyConfig:
    """A gradient penalty on the discriminator.

    Args:
        kind: "r1" on the real x_{t-1}, "r2" on the fake one.
        gamma: weight; the term is (gamma / 2) ||gradient||^2; > 0.
        every: applied at iterations 0, every, 2 every, ...; >= 1.
        scaled: whether the term is multiplied by `every`; off in the paper.
    """

    kind: Literal["r1", "r2"] = "r1"
    gamma: float = 0.02
    every: int = 1
    scaled: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.gamma < math.inf:
            raise ValueError(f"a penalty's gamma is {self.gamma}; it must be finite and above 0")
        if self.every < 1:
            raise ValueError(f"a penalty's every is {self.every}; it must be at least 1")

    def weight(self, step: int) -> float:
        """The factor of ||gradient||^2 at iteration `step`; 0 where it is skipped."""
        if step % self.every:
            return 0.0
        return self.gamma / 2 * (self.every if self.scaled else 1)


@dataclass(frozen=True)
class ObjectiveConfig:
    """What the two networks are trained for; the defaults are the paper's for CIFAR-10.

    Args:
        adversarial: "nonsaturating" (the paper's) or "relativistic" (pairing loss).
        penalties: gradient penalties on the discriminator.
        reconstruction: adds this distance between the predicted and the true x_0 to G's loss.
        reconstruction_weight: weight of that term; > 0.
        reconstruction_by_signal: multiplies it by abar_t, so that it guides the steps where x_t still
            shows the image, and leaves the noisiest ones, where many images are right, to D.
    """

    adversarial: Literal["nonsaturating", "relativistic"] = "nonsaturating"
    penalties: tuple[PenaltyConfig, ...] = (PenaltyConfig(every=15),)
    reconstruction: Literal["none", "l1", "l2"] = "none"
    reconstruction_weight: float = 1.0
    reconstruction_by_signal: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.reconstruction_weight < math.inf:
            raise ValueError(
                f"objective.reconstruction_weight is {self.reconstruction_weight}; it must be above 0 "
                "(to leave the term out, set objective.reconstruction to none)"
            )


def discriminator_loss(kind: str, d_real: Tensor, d_fake: Tensor) -> Tensor:
    """L_D per sample from logits (B,) on real and fake pairs."""
    if kind == "relativistic":
        return softplus(d_fake - d_real)
    return softplus(-d_real) + softplus(d_fake)


def generator_loss(kind: str, d_real: Tensor | None, d_fake: Tensor) -> Tensor:
    """L_G per sample; `d_real` is only needed by the relativistic loss."""
    if kind == "relativistic":
        assert d_real is not None
        return softplus(d_real - d_fake)
    return softplus(-d_fake)


def squared_gradient(logits: Tensor, x: Tensor) -> Tensor:
    """||grad_x D||^2 per sample, (B,), differentiable again; `x` is what `logits` was computed from."""
    (gradient,) = torch.autograd.grad(logits.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1)


def reconstruction_loss(kind: str, predicted: Tensor, target: Tensor) -> Tensor:
    """Mean absolute (l1) or squared (l2) error per sample, (B,)."""
    difference = predicted - target
    error = difference.abs() if kind == "l1" else difference.square()
    return error.flatten(1).mean(dim=1)
