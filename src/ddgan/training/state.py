"""What training changes, and the fixed parts that a step needs.

`Learner` is what every state here has, whatever it trains; `TrainState` is that of a denoising diffusion GAN.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from ddgan.diffusion.process import Diffusion
from ddgan.losses.adversarial import ObjectiveConfig
from ddgan.training.optimizers import OptimizationConfig, adam, decayed


def leave_alone(tensors: Iterable[Tensor]) -> None:
    """The average over one process."""


class Learner(Protocol):
    """What every training state here has, whatever it trains; see `TrainState` for what the parts are."""

    generator: nn.Module
    averages: tuple[nn.Module, ...]
    diffusion: Diffusion
    optimization: OptimizationConfig
    num_iterations: int
    is_budgeted: bool
    batch_size: int
    precision: torch.dtype | None
    step: int
    streak: Tensor
    license: str

    @property
    def average_(self) -> Callable[[Iterable[Tensor]], None]: ...

    @property
    def ema(self) -> nn.Module: ...

    def learning_rates(self) -> tuple[float, ...]: ...

    def networks(self) -> dict[str, nn.Module]: ...

    def optimizers(self) -> dict[str, tuple[nn.Module, torch.optim.Adam]]: ...


@dataclass
class TrainState:
    """Everything that training changes, and the fixed parts that a step needs.

    Attributes:
        averages: moving averages of the generator; the first is what a run ends with.
        num_iterations: where the learning rate's decay ends.
        is_budgeted: whether a budget of minutes has been turned into `num_iterations`.
        batch_size: images per iteration over all processes; 0 for those that a step is given.
        num_parts: parts that a batch is worked through in, their gradients added up.
        precision: what the networks compute in; losses, penalties and averages are in float32.
        average_: replaces gradients by their mean over all processes.
        step: finished iterations.
        streak: how many of the last iterations in a row skipped an update, int64 ().
        license: of the weights that training began with; theirs are made of them.
    """

    generator: nn.Module
    discriminator: nn.Module
    averages: tuple[nn.Module, ...]
    optimizer_g: torch.optim.Adam
    optimizer_d: torch.optim.Adam
    diffusion: Diffusion
    objective: ObjectiveConfig
    optimization: OptimizationConfig
    num_iterations: int
    is_budgeted: bool = False
    batch_size: int = 0
    num_parts: int = 1
    precision: torch.dtype | None = None
    average_: Callable[[Iterable[Tensor]], None] = leave_alone
    step: int = 0
    streak: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    license: str = ""

    @classmethod
    def create(
        cls,
        generator: nn.Module,
        discriminator: nn.Module,
        diffusion: Diffusion,
        objective: ObjectiveConfig,
        optimization: OptimizationConfig,
        num_iterations: int,
    ) -> TrainState:
        """A state at step 0; the learning rates follow a cosine over `num_iterations`."""
        device = next(generator.parameters()).device
        return cls(
            generator,
            discriminator,
            new_averages(generator, optimization),
            adam(generator, optimization.generator_lr, optimization.betas),
            adam(discriminator, optimization.discriminator_lr, optimization.betas),
            diffusion,
            objective,
            optimization,
            num_iterations,
            streak=torch.zeros((), dtype=torch.int64, device=device),
        )

    @property
    def ema(self) -> nn.Module:
        """The average that a run ends with."""
        return self.averages[0]

    def networks(self) -> dict[str, nn.Module]:
        """What a checkpoint holds the weights of, by name."""
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            **named_averages(self.averages),
        }

    def optimizers(self) -> dict[str, tuple[nn.Module, torch.optim.Adam]]:
        """What a checkpoint holds the moments of, by name, each with its network."""
        return {
            "optimizer_g": (self.generator, self.optimizer_g),
            "optimizer_d": (self.discriminator, self.optimizer_d),
        }

    def learning_rates(self) -> tuple[float, ...]:
        """Those of G and D at this iteration."""
        settings = self.optimization
        return (
            decayed(settings.generator_lr, settings, self.step, self.num_iterations),
            decayed(settings.discriminator_lr, settings, self.step, self.num_iterations),
        )


def new_averages(generator: nn.Module, optimization: OptimizationConfig) -> tuple[nn.Module, ...]:
    """Copies of a new generator, one for each average that the settings ask for."""
    count = 1 + len(optimization.ema_half_lives)
    return tuple(copy.deepcopy(generator).requires_grad_(False).eval() for _ in range(count))


def named_averages(averages: tuple[nn.Module, ...]) -> dict[str, nn.Module]:
    """The averages by the names that checkpoints know them by."""
    return {f"average{i}": average for i, average in enumerate(averages)}
