"""Training methods, and the training state that all of them share.

A method defines its discriminators, its updates with a loss each, its noise, and the model at the end.
Everything else, from the data to the checkpoints, is common to all.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

import torch
from torch import Tensor, nn

from ddgan.config.optimization import OptimizationConfig, OptimizerConfig
from ddgan.config.ramps import Ramp
from ddgan.config.run_config import RunConfig
from ddgan.config.training import known_end
from ddgan.data.batch import Batch
from ddgan.diffusion.process import Diffusion
from ddgan.networks.interfaces import DiscriminatorConfig
from ddgan.training.extension import Extension, scheduled
from ddgan.training.freezing import trained
from ddgan.training.loss_scale import LossScale
from ddgan.training.optimizers import decayed

__all__ = [
    "DISCRIMINATOR",
    "GENERATOR",
    "Method",
    "Noise",
    "Terms",
    "TrainState",
    "Update",
    "UpdateStatistics",
]

GENERATOR = "generator"
"""Name of the generator, its optimizer, and the updates that train it."""
DISCRIMINATOR = "discriminator"
"""Name of the discriminators together, their optimizer, and the updates that train them."""

UpdateStatistics = dict[str, Tensor]
"""Statistics of an update: values by name, (B,) one per sample; `t`, if present, is the t of each sample."""
Terms = dict[str, Tensor]
"""The terms of a loss by name, weighted, (B,) one per sample: the loss is their sum, in this order."""


class Noise(Protocol):
    """The random numbers of one iteration, for a batch of B samples."""

    def rows(self, rows: slice) -> Self:
        """Select some of the samples."""
        ...


@dataclass(frozen=True)
class Update:
    """One step of one optimizer.

    Attributes:
        name: the network to train, see `TrainState.networks`.
        loss: (state, batch, noise) -> the terms of the loss, and statistics.
        freezes: networks that get no gradient during the update.
    """

    name: str
    loss: Callable[[TrainState, Batch, Any], tuple[Terms, UpdateStatistics]]
    freezes: tuple[str, ...] = ()


class Method:
    """How a model is trained: the base class of the slot `method`.

    To add a method, register a class that derives from this one and defines at least `updates`, `draw` and
    `open`.
    """

    kind: ClassVar[str]

    def check(self, config: RunConfig) -> None:
        """Check that the rest of a configuration suits the method.

        Raises:
            SettingError: naming the setting.
        """

    def discriminators_of(self) -> Mapping[str, DiscriminatorConfig]:
        """Return the settings of the discriminators by role; empty for a method without."""
        return {}

    def prepare(self, state: TrainState) -> None:
        """Change the state before an iteration, where the method begins something new."""

    def updates(self, step: int) -> Sequence[Update]:
        """Return the updates of iteration `step` in order, at least one."""
        raise NotImplementedError

    def draw(self, config: RunConfig, step: int, x: Tensor) -> Noise:
        """Draw the noise of iteration `step` for a global batch like x (B, ...), from (seed, step) alone."""
        raise NotImplementedError

    def open(
        self, generator: nn.Module, config: RunConfig, sample_shape: tuple[int, ...], license: str = ""
    ) -> Any:
        """Return the trained generator as a model (`ddgan.models.model.Model`)."""
        raise NotImplementedError

    def num_bins(self, config: RunConfig) -> int:
        """Return the number of bins of t for the statistics."""
        return config.diffusion.num_steps

    def iteration_kind(self, step: int) -> Hashable:
        """Return the kind of an iteration; one kind runs the same operations and shares a CUDA graph."""
        return ()

    @property
    def first_usual(self) -> int:
        """The first iteration that costs what most do: a time budget is measured from there."""
        return 0

    @property
    def first_strength(self) -> float:
        """The strength at the start of an augmentation that adapts, see `adapted_strength`."""
        return 0.0

    def adapted_strength(self, strength: float, record: Mapping[str, Any], seen: float) -> float | None:
        """Return the strength of an augmentation after a log record of `seen` thousand images.

        None for a method without one that adapts.
        """
        return None

    @property
    def period(self) -> int:
        """Number of iterations after which the kinds repeat."""
        return 1

    def due_step(self, step: int) -> int:
        """Return the last iteration, at most `step`, at which all terms of the losses were due."""
        return step

    def guessing_loss(self) -> float | None:
        """Return the loss of a D whose logits on real and fake are equal; None if that has no meaning."""
        return None

    def held_out_logits(self, state: TrainState, batch: Batch, seed: int) -> Tensor | None:
        """Return D's logits (B,) on held-out real samples, always with the same noise.

        None for a method that does not support this.
        """
        return None


def leave_alone(tensors: Iterable[Tensor]) -> None:
    """Average over a single process: do nothing."""


@dataclass
class TrainState:
    """Everything that training changes, and the fixed parts of an iteration.

    Attributes:
        method: the training method.
        networks: by name: the generator, and the discriminators, if any, as one ModuleDict.
        optimizers: of the networks, by the same names.
        emas: EMAs of the generator; the first is the model that a run ends with.
        diffusion: the forward process and its posterior.
        optimization: learning rates and EMAs.
        num_iterations: where the learning rate's decay ends.
        is_budgeted: whether a time budget has been converted into `num_iterations`.
        extensions: the changes of `num_iterations` since the run began, see `extension`.
        batch_size: samples per iteration over all processes; 0 for the size of each given batch.
        num_parts: parts of a batch whose gradients are accumulated.
        precision: dtype that the networks compute in; losses, penalties and EMAs are float32.
        loss_scales: of the optimizers, by the same names, where the networks compute in float16.
        average_: replaces gradients by their mean over all processes.
        step: finished iterations.
        streak: number of consecutive iterations up to now that skipped an update, int64 ().
        longest_streak: the largest `streak` so far, int64 (); both stay on the device.
        strength: of an augmentation that adapts, float32 ().
        license: of the new weights: as given, or of the weights that training started from.
        ramps: the present values of ramps, float32 () on the device, see `value`.
    """

    method: Method
    networks: dict[str, nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]
    emas: tuple[nn.Module, ...]
    diffusion: Diffusion
    optimization: OptimizationConfig
    num_iterations: int
    is_budgeted: bool = False
    extensions: tuple[Extension, ...] = ()
    batch_size: int = 0
    num_parts: int = 1
    precision: torch.dtype | None = None
    loss_scales: dict[str, LossScale] = field(default_factory=dict)
    average_: Callable[[Iterable[Tensor]], None] = field(default_factory=lambda: leave_alone)
    step: int = 0
    streak: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    longest_streak: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    strength: Tensor = field(default_factory=lambda: torch.zeros(()))
    license: str = ""
    ramps: dict[Ramp, Tensor] = field(default_factory=dict)

    @classmethod
    def create(
        cls,
        method: Method,
        networks: dict[str, nn.Module],
        diffusion: Diffusion,
        optimization: OptimizationConfig,
        num_iterations: int,
    ) -> TrainState:
        """Create a state at step 0; the learning rates follow a cosine over `num_iterations`.

        Weights without gradients are not trained.
        """
        generator = networks[GENERATOR]
        configs = {GENERATOR: optimization.generator, DISCRIMINATOR: optimization.discriminator}
        emas = (copy.deepcopy(generator).requires_grad_(False).eval() for _ in range(optimization.ema.count))
        device = next(generator.parameters()).device
        return cls(
            method,
            networks,
            {name: configs[name].build(trained(network)) for name, network in networks.items()},
            tuple(emas),
            diffusion,
            optimization,
            num_iterations,
            streak=torch.zeros((), dtype=torch.int64, device=device),
            longest_streak=torch.zeros((), dtype=torch.int64, device=device),
            strength=torch.tensor(method.first_strength, device=device),
        )

    @property
    def generator(self) -> nn.Module:
        """G."""
        return self.networks[GENERATOR]

    @property
    def discriminators(self) -> nn.ModuleDict:
        """The discriminators by role; the method must have some."""
        found = self.networks[DISCRIMINATOR]
        assert isinstance(found, nn.ModuleDict)
        return found

    @property
    def ema(self) -> nn.Module:
        """The EMA that becomes the model of the run."""
        return self.emas[0]

    @contextmanager
    def without_gradients(self, names: Iterable[str]) -> Iterator[None]:
        """Freeze networks within the block."""
        names = list(names)
        for name in names:
            self.networks[name].requires_grad_(False)
        try:
            yield
        finally:
            for name in names:
                for parameter in self.optimizers[name].param_groups[0]["params"]:
                    parameter.requires_grad_(True)

    def most_skipped(self) -> int:
        """Return how many consecutive iterations skipped an update, at most; waits for the device."""
        return int(torch.maximum(self.longest_streak, self.streak))

    def is_finite(self) -> bool:
        """Whether no weight, of any network or EMA, is infinite or NaN; waits for the device."""
        networks = self.saved_networks().values()
        tensors: list[Tensor] = [p for network in networks for p in network.parameters()]
        return bool(torch.stack(torch._foreach_norm(tensors, math.inf)).isfinite().all())

    def value(self, setting: float | Ramp) -> float | Tensor:
        """Return the value of a setting at this iteration.

        That of a ramp is a tensor, which `renew_ramps` fills, so that a CUDA graph reads the new value.
        """
        if not isinstance(setting, Ramp):
            return setting
        if setting not in self.ramps:
            self.ramps[setting] = torch.tensor(self.scheduled(setting.at), device=self.streak.device)
        return self.ramps[setting]

    def scheduled(self, schedule: Callable[[int, int], float]) -> float:
        """Return the value of a schedule (iteration, length) -> value at this iteration of this run."""
        return scheduled(schedule, self.step, self.num_iterations, self.extensions)

    def change_length(self, num_iterations: int) -> None:
        """End after so many iterations, or UNMEASURED until a time budget is measured, see `extension`."""
        if known_end(self.num_iterations) is not None:
            self.extensions += (Extension(self.step, self.num_iterations, None),)
        self.is_budgeted = False
        self.know_length(num_iterations)

    @property
    def is_held(self) -> bool:
        """Whether schedules stay where they are, until a longer time budget is measured."""
        return bool(self.extensions) and self.extensions[-1].known_at is None

    def know_length(self, num_iterations: int) -> None:
        """Set the number of iterations that was not known so far."""
        self.num_iterations = num_iterations
        if known_end(num_iterations) is not None and self.is_held:
            *earlier, last = self.extensions
            self.extensions = (*earlier, replace(last, known_at=self.step))

    def renew_ramps(self) -> None:
        """Give ramps their values at this iteration."""
        for ramp, value in self.ramps.items():
            value.fill_(self.scheduled(ramp.at))
        for name, optimizer in self.optimizers.items():
            config: Any = self.optimizer_config(name)
            betas = getattr(config, "betas", ())
            if any(isinstance(beta, Ramp) for beta in betas):
                (group,) = optimizer.param_groups
                group["betas"] = tuple(
                    self.scheduled(beta.at) if isinstance(beta, Ramp) else beta for beta in betas
                )

    def saved_networks(self) -> dict[str, nn.Module]:
        """Return the networks whose weights a checkpoint holds, by name."""
        return self.networks | {f"ema{i}": ema for i, ema in enumerate(self.emas)}

    def learning_rate(self, name: str) -> float:
        """Return the learning rate of an optimizer at this iteration."""
        settings, lr = self.optimization, self.optimizer_config(name).lr

        def rate(step: int, num_iterations: int) -> float:
            iterations = max(round(settings.decay_share * num_iterations), 1)
            return decayed(lr, settings.final_lr, settings.decay_every, step, iterations)

        return self.scheduled(rate)

    def optimizer_config(self, name: str) -> OptimizerConfig:
        """Return the settings of an optimizer."""
        return self.optimization.generator if name == GENERATOR else self.optimization.discriminator

    def learning_rates(self) -> dict[str, float]:
        """Return the learning rates of all optimizers at this iteration, by name."""
        return {name: self.learning_rate(name) for name in self.optimizers}
