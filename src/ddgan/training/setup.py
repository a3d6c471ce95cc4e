"""Building a run from its settings: networks, optimizers, and the inputs of each iteration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ddgan.config.run_config import SIZES, ConditionsConfig, RunConfig
from ddgan.config.settings import SettingError
from ddgan.config.training import TrainingConfig
from ddgan.data.batch import Batch, Dataset
from ddgan.diffusion.process import Diffusion
from ddgan.models.precision import DTYPES, channels_innermost, choose_precision
from ddgan.networks.axes import CHANNELS_LAST
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.interfaces import build_as
from ddgan.system.processes import Processes
from ddgan.system.randomness import generator_for
from ddgan.training.freezing import freeze_layers
from ddgan.training.loss_scale import LossScale
from ddgan.training.state import DISCRIMINATOR, GENERATOR, Noise, TrainState

__all__ = ["build_networks", "create_state", "resolved", "resolved_conditions", "training_inputs"]


def check_batch(training: TrainingConfig, processes: Processes) -> None:
    """Check that the batch divides among the processes and their parts.

    Raises:
        ValueError: naming a batch size that does.
    """
    shares = processes.count * training.accumulation
    if training.batch_size % shares:
        raise ValueError(
            f"training.batch_size is {training.batch_size}, which {processes.count} processes with "
            f"training.accumulation {training.accumulation} cannot share; use a multiple of {shares}"
        )


def part_size(training: TrainingConfig, processes: Processes) -> int:
    """Return the number of images that a network gets at once."""
    return training.batch_size // (processes.count * training.accumulation)


WHAT = {"label": "classes", "vector": "vectors", "image": "image conditions"}
"""Part of a condition -> what data has that has it."""


def resolved(config: RunConfig, dataset: Dataset) -> RunConfig:
    """Replace the sizes of conditions that are `auto` by those of the data.

    Raises:
        SettingError: if the data does not have a condition, or it has another size than the settings allow.
    """
    known = resolved_conditions(config.conditions, dataset.conditions, config.data.name)
    return dataclasses.replace(config, conditions=known)


def resolved_conditions(conditions: ConditionsConfig, there: ConditionShapes, data: str) -> ConditionsConfig:
    """Do as `resolved` for data with this name and these conditions."""
    known = {
        name: _resolved(name, part, size, data)
        for (name, part), size in zip(conditions.parts.items(), there, strict=True)
        if part is not None
    }
    return dataclasses.replace(conditions, **known)


def _resolved(name: str, part: Any, there: int, data: str) -> Any:
    """Return the settings of a part of the condition for data that has it in this size."""
    setting, what, given = SIZES[name], WHAT[name], getattr(part, SIZES[name])
    if not there:
        raise SettingError(f"conditions.{name}", f"is set, but {data} has no {what}; leave it out")
    fits = given == "auto" or given == there or (name == "label" and given > there)
    if not fits:
        has = f"{there} {setting}" if name == "label" else f"{what} of {there} {setting}"
        raise SettingError(
            f"conditions.{name}.{setting}",
            f"is {given}, but {data} has {has}; set it to auto, or leave conditions.{name} out to ignore "
            "them",
        )
    return dataclasses.replace(part, **{setting: there if given == "auto" else given})


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Make weights that are initialised within the block depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_for(seed, "weights").initial_seed())
        yield


def build_networks(config: RunConfig, sample_shape: tuple[int, ...]) -> dict[str, nn.Module]:
    """Build the networks for samples of this shape, with weights from the seed; returns them by name.

    Raises:
        SettingError: naming the setting of a network that does not suit the samples, or cannot be frozen so.
    """
    shapes = config.conditions.shapes
    with seeded_weights(config.seed):
        networks = {GENERATOR: build_as("generator", config.generator, sample_shape, shapes)}
        found: dict[str, nn.Module] = {}
        several = hasattr(config.method, "discriminators")
        for role, discriminator in config.method.discriminators_of().items():
            name = f"method.discriminators.{role}" if several else "method.discriminator"
            found[role] = build_as(name, discriminator, sample_shape, shapes)
        if found:
            networks[DISCRIMINATOR] = nn.ModuleDict(found)
    freeze_layers(networks, config.training.freeze)
    return networks


def create_state(config: RunConfig, sample_shape: tuple[int, ...], processes: Processes) -> TrainState:
    """Create the state at step 0: networks with weights from the seed, and optimizers (see `resolved`).

    Raises:
        SettingError: naming the setting of a network that does not suit the samples.
    """
    training, device = config.training, processes.device
    with torch.device("meta"):
        build_networks(config, sample_shape)  # refuses bad settings before memory is allocated
    networks = {name: network.to(device) for name, network in build_networks(config, sample_shape).items()}
    if training.channels_last:
        for network in networks.values():
            channels_innermost(network)
    state = TrainState.create(
        config.method,
        networks,
        Diffusion(config.diffusion).to(device),
        config.optimization,
        training.planned_iterations,
    )
    state.num_parts, state.average_ = training.accumulation, processes.average_
    state.batch_size = training.batch_size
    state.precision = arithmetic(training, device)
    state.loss_scales = loss_scales(networks, state.precision, device)
    switch_on(config, state, sample_shape)
    return state


def arithmetic(training: TrainingConfig, device: torch.device) -> torch.dtype | None:
    """Return the dtype that the networks compute in, or None for that of their weights."""
    precision = choose_precision(training.precision, device)
    return None if precision == "float32" else DTYPES[precision]


def loss_scales(
    names: Iterable[str], precision: torch.dtype | None, device: torch.device | str
) -> dict[str, LossScale]:
    """Return the loss scale of each optimizer; none if the networks do not compute in float16."""
    return {name: LossScale.create(device) for name in names} if precision == torch.float16 else {}


def switch_on(config: RunConfig, state: TrainState, sample_shape: tuple[int, ...]) -> None:
    """Apply activation checkpointing and torch.compile to the networks, as the settings say."""
    training = config.training
    for network in state.networks.values() if training.activation_checkpointing else ():
        recompute_blocks(network)
    if not training.compile:
        return
    discriminators = list(state.discriminators.values()) if DISCRIMINATOR in state.networks else []
    device = next(state.generator.parameters()).device
    x, t = torch.zeros(1, *sample_shape, device=device), torch.ones(1, dtype=torch.int64, device=device)
    z = torch.zeros(1, config.generator.latent_size, device=device)
    condition = config.conditions.shapes.null(1, sample_shape, device)
    dtype = state.precision
    for enabled in {False, dtype is not None}:  # fills the caches of `resample` before compiling
        with torch.no_grad(), torch.autocast(device.type, dtype, enabled=enabled):
            state.generator(x, t, z, condition)
            for discriminator in discriminators:
                discriminator(x, x, t, condition)
    for network in (state.generator, *discriminators):
        network.compile()


def recompute_blocks(network: nn.Module) -> None:
    """Checkpoint the activations of each residual block; none uses random numbers."""
    for block in network.modules():
        if getattr(block, "is_recomputable", False):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def training_inputs(
    config: RunConfig, dataset: Dataset, processes: Processes
) -> Callable[[int], tuple[Batch, Noise]]:
    """Return iteration -> this process's rows of (batch, noise), both functions of (seed, iteration) alone.

    Samples are augmented and conditions dropped as the settings say.
    """
    training, size, conditions = config.training, config.training.batch_size, config.conditions
    rows = processes.rows(size)

    def inputs(step: int) -> tuple[Batch, Noise]:
        batch = dataset.batch(step, size, rows)
        device = batch.x.device

        def uniform(purpose: str) -> Tensor:
            rng = generator_for(config.seed, purpose, step, device=device)
            return torch.rand(size, generator=rng, device=device)[rows]

        batch = Batch(batch.x, conditions.of(batch.condition))
        check_condition(batch, conditions.shapes)
        for augmentation in config.augmentation:
            batch = augmentation.apply(batch, uniform)
        if batch.condition is not None:
            condition = conditions.dropped(batch.condition, uniform("label dropout"))  # the key of all parts
            batch = Batch(batch.x, condition)
        whole = batch.x[:1].expand(size, *batch.x.shape[1:])
        noise = config.method.draw(config, step, whole).rows(rows)
        return laid_out(batch, training), noise

    return inputs


def check_condition(batch: Batch, shapes: ConditionShapes) -> None:
    """Check that the conditions of a batch have the shapes that the networks are built for.

    Raises:
        ValueError: naming a part that has another.
    """
    expected = shapes.null(len(batch.x), batch.x.shape[1:], "meta") or Condition()
    for name, part, like in zip(SIZES, batch.condition or Condition(), expected, strict=True):
        if part is not None and like is not None and part.shape != like.shape:
            raise ValueError(
                f"the {name} condition of a batch has shape {list(part.shape)}, not {list(like.shape)}; "
                "append its presence by ddgan.networks.conditions.with_presence, and give images the size of "
                "samples"
            )


def laid_out(batch: Batch, training: TrainingConfig) -> Batch:
    """Return a batch whose samples and image conditions are stored as training.channels_last says."""

    def stored(x: Tensor) -> Tensor:
        formats = CHANNELS_LAST if training.channels_last else {}
        return x.contiguous(memory_format=formats.get(x.ndim, torch.contiguous_format))

    condition = batch.condition
    if condition is not None and condition.image is not None:
        condition = condition._replace(image=stored(condition.image))
    return Batch(stored(batch.x), condition)
