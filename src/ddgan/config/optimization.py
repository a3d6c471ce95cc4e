"""OptimizationConfig: the optimizers of a run, their learning-rate decay, the EMA of G's weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Protocol

import torch
from annotated_types import Len
from torch import nn

from ddgan.config.components import Component, default
from ddgan.config.power_average import LONGEST, power_decay
from ddgan.config.settings import Interval, SettingError, settings

__all__ = ["EMAConfig", "OptimizationConfig", "OptimizerConfig"]


class OptimizerConfig(Protocol):
    """Settings of an optimizer.

    Attributes:
        lr: the initial learning rate.
    """

    kind: Any

    @property
    def lr(self) -> float: ...

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Build the optimizer of these parameters, in one group."""
        ...


@settings
class EMAConfig:
    """The exponential moving averages of the generator's weights.

    Args:
        decay: decay per iteration of the main EMA, which becomes the final model; in [0, 1); 0 for no
            averaging.
        half_lives: half-lives, in thousands of images, of additional EMAs.
        rampup: limit of every half-life, as a fraction of the training so far, so that an EMA soon forgets
            the start (0.05 is usual); 0 for no warm-up.
        lengths: relative lengths of power-function averages, in (0, 0.28]; from two of them, such as 0.05 and
            0.1, any other length is made after training, see `ddgan.averaged`.
        snapshot_every: iterations between two snapshots of these; 0 for one at the end.
    """

    decay: Annotated[float, Interval(ge=0, lt=1)] = 0.9999
    half_lives: Annotated[tuple[Annotated[float, Interval(gt=0, le=1e9)], ...], Len(max_length=16)] = ()
    rampup: Annotated[float, Interval(ge=0, le=1000)] = 0.0
    lengths: Annotated[tuple[Annotated[float, Interval(gt=0, le=LONGEST)], ...], Len(max_length=4)] = ()
    snapshot_every: Annotated[int, Interval(ge=0, le=10**9)] = 0

    def __post_init__(self) -> None:
        for name, values in (("half_lives", self.half_lives), ("lengths", self.lengths)):
            if len(set(values)) < len(values):
                raise SettingError(name, f"is {list(values)}; each must be given once")
        if self.snapshot_every and not self.lengths:
            raise SettingError(
                "snapshot_every", f"is {self.snapshot_every}, but lengths is empty; use [0.05, 0.1], say"
            )

    @property
    def count(self) -> int:
        """Number of EMAs."""
        return 1 + len(self.half_lives) + len(self.lengths)

    def decays(self, batch_size: int, step: int) -> tuple[float, ...]:
        """Return the decay of each EMA at iteration `step`: the main one, half_lives, lengths."""
        halving = [0.5 ** (batch_size / (1000 * half_life)) for half_life in self.half_lives]
        decays = (self.decay, *halving)
        if step == 0:
            return (0.0,) * self.count  # an EMA starts as the weights after the first iteration
        if self.rampup:
            most = 0.5 ** (1 / (self.rampup * step))
            decays = tuple(min(decay, most) for decay in decays)
        return (*decays, *(power_decay(length, step) for length in self.lengths))


@settings
class OptimizationConfig:
    """Optimizers, learning-rate decay and EMA; the defaults are the paper's for CIFAR-10.

    Args:
        generator: the optimizer of G.
        discriminator: the optimizer of each D.
        final_lr: final value of both learning rates after cosine decay.
        decay_share: part of the training over which they decay, in (0, 1]; then they stay.
        decay_every: iterations between two changes of the learning rates (the paper: one epoch).
        ema: the EMA of the generator's weights.
    """

    generator: Annotated[OptimizerConfig, Component("optimizer")] = default("optimizer", "adam", lr=1.6e-4)
    discriminator: Annotated[OptimizerConfig, Component("optimizer")] = default(
        "optimizer", "adam", lr=1.25e-4
    )
    final_lr: Annotated[float, Interval(ge=0, le=100)] = 1e-5
    decay_share: Annotated[float, Interval(gt=0, le=1)] = 1.0
    decay_every: Annotated[int, Interval(ge=1, le=1_000_000_000)] = 1
    ema: EMAConfig = EMAConfig()
