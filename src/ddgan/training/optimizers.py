"""Optimizers, learning rate decay, and updates that skip non-finite gradients."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated

import torch
from torch import Tensor, nn

from ddgan.config.components import register
from ddgan.config.ramps import Ramp
from ddgan.config.settings import Interval, SettingError

__all__ = ["AdamConfig", "AdamWConfig", "SGDConfig", "decayed", "guarded_update"]

Rate = Annotated[float, Interval(gt=0, le=100)]
Beta = Annotated[float, Interval(ge=0, lt=1)]
Betas = tuple[Beta | Ramp, Beta | Ramp]


def check_betas(betas: Betas) -> None:
    """Check the ends of ramps of Adam's decay rates.

    Raises:
        SettingError: if one is not below 1.
    """
    for index, beta in enumerate(betas):
        if isinstance(beta, Ramp) and max(beta.start, beta.end) >= 1:
            raise SettingError(
                f"betas.{index}", f"reaches {max(beta.start, beta.end):g}; it must stay below 1"
            )


def first_of(betas: Betas) -> tuple[float, float]:
    """Return the values of Adam's decay rates at the start."""
    first, second = (beta.start if isinstance(beta, Ramp) else beta for beta in betas)
    return first, second


@register("optimizer", "adam")
class AdamConfig:
    """Adam, as in the paper.

    Args:
        lr: learning rate; above 0.
        betas: decay rates of the two moments; each may be a ramp.
    """

    lr: Rate = 2e-4
    betas: Betas = (0.5, 0.9)

    def __post_init__(self) -> None:
        check_betas(self.betas)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=self.lr, betas=first_of(self.betas), fused=True)


@register("optimizer", "adamw")
class AdamWConfig:
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019).

    Args:
        lr: learning rate; above 0.
        betas: decay rates of the two moments; each may be a ramp.
        weight_decay: each step shrinks the weights by this times the learning rate.
    """

    lr: Rate = 2e-4
    betas: Betas = (0.5, 0.9)
    weight_decay: Annotated[float, Interval(ge=0, le=100)] = 0.01

    def __post_init__(self) -> None:
        check_betas(self.betas)

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(
            parameters, lr=self.lr, betas=first_of(self.betas), weight_decay=self.weight_decay, fused=True
        )


@register("optimizer", "sgd")
class SGDConfig:
    """Stochastic gradient descent with Nesterov momentum.

    Args:
        lr: learning rate; above 0.
        momentum: momentum coefficient; 0 for none.
    """

    lr: Rate = 1e-2
    momentum: Beta = 0.9

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            parameters, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0, fused=True
        )


def decayed(lr: float, final_lr: float, decay_every: int, step: int, num_iterations: int) -> float:
    """Return the learning rate at `step`: a cosine from `lr` to `final_lr` in steps of `decay_every`.

    It depends on `step` alone, so checkpoints need not save it.
    """
    periods = max(num_iterations // decay_every, 1)
    share = min(step // decay_every / periods, 1.0)
    return final_lr + (lr - final_lr) * (1 + math.cos(math.pi * share)) / 2


def guarded_update(optimizer: torch.optim.Optimizer, lr: float, loss_scale: Tensor | None = None) -> Tensor:
    """Take a step unless a gradient is not finite; returns whether it was skipped, 0.0 or 1.0.

    Fused optimizers decide on the device, so the host does not wait for it; others are asked on the host.
    Where the gradients were averaged over processes, a bad one is in every average, and all decide alike. A
    rate that the optimizer reads from memory, see `cuda_graphs`, has been written there. Gradients of a loss
    that was multiplied by `loss_scale`, (), are divided by it.
    """
    (group,) = optimizer.param_groups
    if not isinstance(group["lr"], Tensor):
        group["lr"] = lr
    gradients = [p.grad for p in group["params"] if p.grad is not None]
    total = torch.stack(torch._foreach_norm(gradients, 1)).sum()
    skipped = (~total.isfinite()).float()
    if getattr(optimizer, "_step_supports_amp_scaling", False):
        # Where a gradient scaler leaves its verdict, fused optimizers look for it.
        vars(optimizer).update(grad_scale=loss_scale, found_inf=skipped)
        optimizer.step()
    elif not bool(skipped):
        if loss_scale is not None:
            torch._foreach_div_(gradients, loss_scale)
        optimizer.step()
    return skipped
