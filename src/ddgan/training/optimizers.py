"""Optimizers, the decay of their rates, and updates that a non-finite gradient cannot spoil."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class OptimizationConfig:
    """Optimizers, their schedule and the averages; the defaults are the paper's for CIFAR-10.

    Args:
        generator_lr: Adam's learning rate for G; > 0.
        discriminator_lr: Adam's learning rate for D; > 0.
        betas: Adam's decay rates; each in [0, 1).
        final_lr: where the cosine decay ends, at the last iteration; >= 0.
        decay_every: iterations between two changes of the learning rate (the paper: one epoch); >= 1.
        ema_decay: decay of the average of G's weights, per iteration, in [0, 1); 0 keeps the weights
            themselves.
        ema_half_lives: half-lives, in thousands of images, of further averages kept beside it; > 0.
        ema_rampup: the half-life of every average is at most this share of the training so far
            (0.05 is customary), so that the average soon forgets the start; 0 for no warm-up.
    """

    generator_lr: float = 1.6e-4
    discriminator_lr: float = 1.25e-4
    betas: tuple[float, float] = (0.5, 0.9)
    final_lr: float = 1e-5
    decay_every: int = 1
    ema_decay: float = 0.9999
    ema_half_lives: tuple[float, ...] = ()
    ema_rampup: float = 0.0

    def __post_init__(self) -> None:
        for name in ("generator_lr", "discriminator_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"optimization.{name} is {getattr(self, name)}; it must be finite and above 0"
                )
        if self.decay_every < 1:
            raise ValueError(f"optimization.decay_every is {self.decay_every}; it must be at least 1")
        for name in ("final_lr", "ema_rampup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"optimization.{name} is {getattr(self, name)}; it must be finite and 0 or more"
                )
        for name in ("betas", "ema_decay"):
            values = getattr(self, name)
            if not all(0 <= value < 1 for value in (values if name == "betas" else [values])):
                raise ValueError(f"optimization.{name} is {values}; it must be in [0, 1)")
        if not all(0 < value < math.inf for value in self.ema_half_lives):
            raise ValueError(
                f"optimization.ema_half_lives is {list(self.ema_half_lives)}; "
                "each must be finite and above 0 (thousands of images)"
            )
        if len(set(self.ema_half_lives)) < len(self.ema_half_lives):
            raise ValueError(f"optimization.ema_half_lives names one twice: {list(self.ema_half_lives)}")

    def ema_decays(self, batch_size: int, step: int) -> tuple[float, ...]:
        """The decay of each average at iteration `step`, the first being that of `ema_decay`."""
        halving = [0.5 ** (batch_size / (1000 * half_life)) for half_life in self.ema_half_lives]
        decays = (self.ema_decay, *halving)
        if step == 0:
            return (0.0,) * len(decays)  # an average starts as the weights after the first iteration
        if not self.ema_rampup:
            return decays
        most = 0.5 ** (1 / (self.ema_rampup * step))
        return tuple(min(decay, most) for decay in decays)


def adam(network: nn.Module, lr: float, betas: tuple[float, float]) -> torch.optim.Adam:
    """Adam over the parameters of `network`; each finds its state from the first iteration on."""
    return torch.optim.Adam(network.parameters(), lr=lr, betas=betas, fused=True)


def decayed(lr: float, config: OptimizationConfig, step: int, num_iterations: int) -> float:
    """The learning rate at iteration `step`: a cosine from `lr` to `config.final_lr`.

    It depends on `step` alone, so there is nothing to save of it.
    """
    periods = max(num_iterations // config.decay_every, 1)
    share = min(step // config.decay_every / periods, 1.0)
    return config.final_lr + (lr - config.final_lr) * (1 + math.cos(math.pi * share)) / 2


def guarded_update(optimizer: torch.optim.Adam, lr: float) -> Tensor:
    """Take Adam's step unless a gradient is not finite; returns whether it was skipped, 0.0 or 1.0.

    The decision is made on the device, so the host does not wait for it. Where the gradients were
    averaged over processes, a bad one is in every average, and all decide alike. A rate that the optimizer
    reads from memory, see `graphs`, has been written there.
    """
    (group,) = optimizer.param_groups
    if not isinstance(group["lr"], Tensor):
        group["lr"] = lr
    gradients = [p.grad for p in group["params"] if p.grad is not None]
    total = torch.stack(torch._foreach_norm(gradients, 1)).sum()
    skipped = (~total.isfinite()).float()
    # Where a gradient scaler leaves its verdict, fused Adam looks for it.
    vars(optimizer).update(grad_scale=None, found_inf=skipped)
    optimizer.step()
    return skipped
