"""A method, which says how something is trained, and the state that it trains: one kind of state for all
methods.

A method names its networks beside the generator, makes updates of them with a loss each, draws its noise, and
opens the model at the end. Everything else, from the data to the checkpoints, is the same for all.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from ddgan.config.optimization import OptimizationConfig
from ddgan.config.run_config import RunConfig
from ddgan.data.batch import Batch
from ddgan.diffusion.process import Diffusion
from ddgan.networks.interfaces import DiscriminatorConfig
from ddgan.training.optimizers import decayed

__all__ = ["DISCRIMINATOR", "GENERATOR", "Method", "Noise", "TrainState", "Update", "UpdateStatistics"]

GENERATOR, DISCRIMINATOR = "generator", "discriminator"
"""The names of the networks, of their optimizers, and of the updates that train them."""

UpdateStatistics = dict[str, Tensor]
"""What an update says: values by name, (B,) one per sample; `t`, if it is there, says to which t each
belongs.
"""


class Noise(Protocol):
    """The random numbers of one iteration, for a batch of B samples."""

    def rows(self, rows: slice) -> Self:
        """Those of some of the samples."""
        ...


@dataclass(frozen=True)
class Update:
    """One step of one optimizer.

    Attributes:
        name: of the network that is trained, see `TrainState.networks`.
        loss: (state, batch, noise) -> the loss per sample, (B,), and what it is made of.
        freezes: networks whose weights get no gradient meanwhile.
    """

    name: str
    loss: Callable[[TrainState, Batch, Any], tuple[Tensor, UpdateStatistics]]
    freezes: tuple[str, ...] = ()


class Method:
    """How one kind of model is trained: the base of the settings in the slot `method`.

    A method of your own is a registered class that derives from this one, and says at least `updates`, `draw`
    and `open`.
    """

    kind: ClassVar[str]

    def check(self, config: RunConfig) -> None:
        """Complain where the rest of a configuration does not fit the method.

        Raises:
            SettingError: naming the setting.
        """

    def discriminators_of(self) -> Mapping[str, DiscriminatorConfig]:
        """The settings of the discriminators, by role; none for a method without."""
        return {}

    def updates(self, step: int) -> Sequence[Update]:
        """The updates of iteration `step`, in order; there is at least one."""
        raise NotImplementedError

    def draw(self, config: RunConfig, step: int, x: Tensor) -> Noise:
        """The noise of iteration `step` for a whole batch like x (B, ...), from (seed, step) alone."""
        raise NotImplementedError

    def open(
        self, generator: nn.Module, config: RunConfig, sample_shape: tuple[int, ...], license: str = ""
    ) -> Any:
        """The trained generator as a model (`ddgan.models.model.Model`)."""
        raise NotImplementedError

    def num_bins(self, config: RunConfig) -> int:
        """Into how many bins of t the statistics are averaged."""
        return config.diffusion.num_steps

    def iteration_kind(self, step: int) -> Hashable:
        """Iterations of one kind run the same operations, so that one CUDA graph serves them all."""
        return ()

    @property
    def period(self) -> int:
        """Within so many iterations each usual kind has had its turn."""
        return 1

    def held_out_logits(self, state: TrainState, batch: Batch, seed: int) -> Tensor | None:
        """D's logits on real samples that it was not trained on, (B,), with noise that is always the same.

        None for a method whose D is not asked.
        """
        return None


def leave_alone(tensors: Iterable[Tensor]) -> None:
    """The average over one process."""


@dataclass
class TrainState:
    """Everything that training changes, and the fixed parts that an iteration needs.

    Attributes:
        method: how it is trained.
        networks: by name: the generator, and where there are some the discriminators, as one ModuleDict.
        optimizers: of the networks, by the same names.
        emas: exponential moving averages of the generator; the first is what a run ends with.
        diffusion: the forward process and its posterior.
        optimization: learning rates and EMAs.
        num_iterations: where the learning rate's decay ends.
        is_budgeted: whether a budget of minutes has been turned into `num_iterations`.
        batch_size: samples per iteration over all processes; 0 for those that an iteration is given.
        num_parts: parts that a batch is worked through in, their gradients added up.
        precision: what the networks compute in; losses, penalties and EMAs are in float32.
        average_: replaces gradients by their mean over all processes.
        step: finished iterations.
        streak: how many of the last iterations in a row skipped an update, int64 ().
        license: of the weights that training began with; theirs are made of them.
    """

    method: Method
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    emas: tuple[nn.Module, ...]
    diffusion: Diffusion
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
        method: Method,
        networks: dict[str, nn.Module],
        diffusion: Diffusion,
        optimization: OptimizationConfig,
        num_iterations: int,
    ) -> TrainState:
        """A state at step 0; the learning rates follow a cosine over `num_iterations`."""
        generator = networks[GENERATOR]
        configs = {GENERATOR: optimization.generator, DISCRIMINATOR: optimization.discriminator}
        emas = (copy.deepcopy(generator).requires_grad_(False).eval() for _ in range(optimization.ema.count))
        return cls(
            method,
            networks,
            {name: configs[name].build(network.parameters()) for name, network in networks.items()},
            tuple(emas),
            diffusion,
            optimization,
            num_iterations,
            streak=torch.zeros((), dtype=torch.int64, device=next(generator.parameters()).device),
        )

    @property
    def generator(self) -> nn.Module:
        """G."""
        return self.networks[GENERATOR]

    @property
    def discriminators(self) -> nn.ModuleDict:
        """The discriminators by role, of a method that has some."""
        found = self.networks[DISCRIMINATOR]
        assert isinstance(found, nn.ModuleDict)
        return found

    @property
    def ema(self) -> nn.Module:
        """The EMA that a run ends with."""
        return self.emas[0]

    def saved_networks(self) -> dict[str, nn.Module]:
        """What a checkpoint holds the weights of, by name."""
        return self.networks | {f"ema{i}": ema for i, ema in enumerate(self.emas)}

    def learning_rate(self, name: str) -> float:
        """That of an optimizer at this iteration."""
        settings = self.optimization
        lr = (settings.generator if name == GENERATOR else settings.discriminator).lr
        return decayed(lr, settings.final_lr, settings.decay_every, self.step, self.num_iterations)

    def learning_rates(self) -> dict[str, float]:
        """Those of all optimizers at this iteration, by name."""
        return {name: self.learning_rate(name) for name in self.optimizers}
