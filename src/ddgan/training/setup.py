"""From settings to what a run needs: networks and optimizers, and the inputs of each iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ddgan.config.run_config import RunConfig
from ddgan.config.training import TrainingConfig
from ddgan.data import Batch, Data
from ddgan.diffusion.process import Diffusion
from ddgan.models.ddgan import DDGAN
from ddgan.models.precision import channels_innermost, choose_precision
from ddgan.models.weights_file import misfits
from ddgan.networks import build_discriminator, build_generator
from ddgan.networks.ncsnpp import ResidualBlock
from ddgan.networks.resnet import DiscriminatorBlock
from ddgan.system.processes import Processes
from ddgan.system.randomness import generator_for
from ddgan.training.noise import StepNoise, draw_noise
from ddgan.training.state import TrainState


def check_networks(config: RunConfig) -> None:
    """Complain where the two networks do not fit each other, before the data is touched."""
    with torch.device("meta"):
        build_discriminator(config.discriminator, config.generator.state_shape)


def check_batch(training: TrainingConfig, processes: Processes) -> None:
    """Complain where the batch cannot be shared out.

    Raises:
        ValueError: naming a batch size that can.
    """
    shares = processes.count * training.accumulation
    if training.batch_size % shares:
        raise ValueError(
            f"training.batch_size is {training.batch_size}, which {processes.count} processes with "
            f"training.accumulation {training.accumulation} cannot share; use a multiple of {shares}"
        )


def part_size(training: TrainingConfig, processes: Processes) -> int:
    """How many images a network sees at once."""
    return training.batch_size // (processes.count * training.accumulation)


def classes_for(config: RunConfig, source: Data) -> int:
    """The number of classes that `num_classes` asks for; 0 for none.

    Raises:
        ValueError: if the data has no classes, or more than were asked for.
    """
    if config.num_classes == 0:
        return 0
    if source.num_classes == 0:
        raise ValueError(
            f"num_classes is {config.num_classes}, but {config.data} has no classes; set it to 0"
        )
    if config.num_classes == "auto":
        return source.num_classes
    if config.num_classes < source.num_classes:
        raise ValueError(
            f"num_classes is {config.num_classes}, but {config.data} has {source.num_classes} classes; "
            "set it to auto, or to 0 to ignore them"
        )
    return config.num_classes


@contextmanager
def seeded_weights(seed: int) -> Iterator[None]:
    """Within it, new networks get weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_for(seed, "weights").initial_seed())
        yield


def create_state(config: RunConfig, processes: Processes) -> TrainState:
    """Networks with weights from the seed, and their optimizers, at step 0.

    `config.num_classes` is a number.
    """
    assert config.num_classes != "auto"
    training, device = config.training, processes.device
    with seeded_weights(config.seed):
        generator = build_generator(config.generator, config.num_classes).to(device)
        discriminator = build_discriminator(
            config.discriminator, config.generator.state_shape, config.num_classes
        ).to(device)
    if training.channels_last:
        for network in (generator, discriminator):
            channels_innermost(network)
    state = TrainState.create(
        generator,
        discriminator,
        Diffusion(config.diffusion).to(device),
        config.objective,
        config.optimization,
        training.planned_iterations,
    )
    state.num_parts, state.average_ = training.accumulation, processes.average_
    state.batch_size = training.batch_size
    state.precision = arithmetic(training, device)
    switch_on(config, device, generator, discriminator)
    return state


def arithmetic(training: TrainingConfig, device: torch.device) -> torch.dtype | None:
    """What the networks compute in where that is not the type of their weights."""
    return torch.bfloat16 if choose_precision(training.precision, device) == "bf16" else None


def switch_on(
    config: RunConfig, device: torch.device, generator: nn.Module, discriminator: nn.Module | None = None
) -> None:
    """Give the networks that are trained what the settings ask for."""
    training, networks = config.training, [generator] + ([] if discriminator is None else [discriminator])
    for network in networks if training.activation_checkpointing else ():
        recompute_blocks(network)
    if not training.compile:
        return
    x, t = torch.zeros(1, *config.generator.state_shape, device=device), torch.ones(1, dtype=torch.int64)
    z, t = torch.zeros(1, config.generator.latent_size, device=device), t.to(device)
    dtype = arithmetic(training, device)
    for enabled in {False, dtype is not None}:  # so that what a network makes once is there, see `resample`
        with torch.no_grad(), torch.autocast(device.type, dtype, enabled=enabled):
            generator(x, t, z)
            if discriminator is not None:
                discriminator(x, x, t)
    for network in networks:
        network.compile()


def recompute_blocks(network: nn.Module) -> None:
    """Let each residual block compute its inner values again for gradients; none draws at random."""
    for block in network.modules():
        if isinstance(block, ResidualBlock | DiscriminatorBlock):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)  # type: ignore[method-assign]


def warm_start(state: TrainState, source: str) -> list[str]:
    """Begin with the weights of a trained model instead of random ones; says what was taken.

    G and its averages take the model's generator; D takes the discriminator of the newest checkpoint where
    `source` is a run.

    Raises:
        ValueError: if the model's generator, or the discriminator, has other shapes than ours.
    """
    from ddgan.models.run_folder import discriminator_weights

    model = DDGAN.from_pretrained(source)
    weights, state.license = model.generator.state_dict(), model.license
    for network in (state.generator, *state.averages):
        _take(network, weights, source)
    found = discriminator_weights(source)
    if found is None:
        return [f"the generator begins as '{source}', the discriminator anew"]
    _take(state.discriminator, found, source)
    return [f"both networks begin as '{source}'"]


def _take(network: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    if wrong := misfits(network, weights):
        raise ValueError(
            f"init is '{source}', whose {type(network).__name__} differs from this run's in {len(wrong)} "
            f"tensors, the first '{wrong[0]}'; use its settings (its config.yaml) for the networks"
        )
    network.load_state_dict(weights)


def drawn_noise(config: RunConfig, step: int, images: Tensor) -> StepNoise:
    """The noise of iteration `step` for a whole batch like `images` (B, ...)."""
    steps, latent_size = config.diffusion.num_steps, config.generator.latent_size
    return draw_noise(config.seed, step, images, steps, latent_size)


def training_inputs(
    config: RunConfig,
    source: Data,
    processes: Processes,
    draw: Callable[[RunConfig, int, Tensor], Any] = drawn_noise,
) -> Callable[[int], tuple[Batch, Any]]:
    """iteration -> this process's rows of (batch, noise), both depending on (seed, iteration) alone.

    Images are flipped, and labels dropped, as the settings ask; without classes there are no labels.
    `draw` gives the noise, which has `rows`.
    """
    training, size = config.training, config.training.batch_size
    rows = processes.rows(size)
    layout = torch.channels_last if training.channels_last else torch.contiguous_format

    def chosen(purpose: str, step: int, device: torch.device, probability: float) -> Tensor:
        rng = generator_for(config.seed, purpose, step, device=device)
        return torch.rand(size, generator=rng, device=device)[rows] < probability

    def inputs(step: int) -> tuple[Batch, StepNoise]:
        images, labels = source.batch(step, size, rows)
        if training.horizontal_flip and images.ndim == 4:  # points have no other side
            flipped = chosen("flip", step, images.device, 0.5).view(-1, 1, 1, 1)
            images = torch.where(flipped, images.flip(-1), images)
        if not config.num_classes:
            labels = None
        elif labels is not None:
            dropped = chosen("label dropout", step, images.device, training.label_dropout)
            labels = labels.masked_fill(dropped, int(config.num_classes))
        whole = images[:1].expand(size, *images.shape[1:])
        noise = draw(config, step, whole).rows(rows)
        if images.ndim == 4:
            images = images.contiguous(memory_format=layout)
        return Batch(images, labels), noise

    return inputs
