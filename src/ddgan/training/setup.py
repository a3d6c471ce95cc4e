"""From settings to what a run needs: device, networks and optimizers, and the inputs of each iteration."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddgan.config import RunConfig
from ddgan.data import Batch, Data
from ddgan.diffusion import Diffusion
from ddgan.networks import build_discriminator, build_generator
from ddgan.random import generator_for
from ddgan.training.step import StepNoise, TrainState, draw_noise


def choose_device(name: str) -> torch.device:
    """The device for a run.

    Raises:
        ValueError: if it is unknown, or was asked for by name and is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if name not in there:
        raise ValueError(f"device is '{name}'; it must be one of auto, {', '.join(there)}")
    if not there[name]:
        raise ValueError(f"device is {name}, which this machine does not have; use auto or cpu")
    return torch.device(name)


def check_networks(config: RunConfig) -> None:
    """Complain where the two networks do not fit each other, before the data is touched."""
    with torch.device("meta"):
        build_discriminator(config.discriminator, config.generator.state_shape)


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


def create_state(config: RunConfig, device: torch.device) -> TrainState:
    """Networks with weights from the seed, and their optimizers, at step 0.

    `config.num_classes` is a number.
    """
    assert config.num_classes != "auto"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_for(config.seed, "weights").initial_seed())
        generator = build_generator(config.generator, config.num_classes).to(device)
        discriminator = build_discriminator(
            config.discriminator, config.generator.state_shape, config.num_classes
        ).to(device)
    return TrainState.create(
        generator,
        discriminator,
        Diffusion(config.diffusion).to(device),
        config.objective,
        config.optimization,
        config.training.num_iterations,
    )


def training_inputs(config: RunConfig, source: Data) -> Callable[[int], tuple[Batch, StepNoise]]:
    """iteration -> (batch, noise), both depending on (seed, iteration) alone.

    Images are flipped, and labels dropped, as the settings ask; without classes there are no labels.
    """

    def chosen(purpose: str, step: int, images: Tensor, probability: float) -> Tensor:
        rng = generator_for(config.seed, purpose, step, device=images.device)
        return torch.rand(len(images), generator=rng, device=images.device) < probability

    def inputs(step: int) -> tuple[Batch, StepNoise]:
        images, labels = source.batch(step, config.training.batch_size)
        if config.training.horizontal_flip:
            flipped = chosen("flip", step, images, 0.5).view(-1, 1, 1, 1)
            images = torch.where(flipped, images.flip(-1), images)
        if not config.num_classes:
            labels = None
        elif labels is not None:
            dropped = chosen("label dropout", step, images, config.training.label_dropout)
            labels = labels.masked_fill(dropped, int(config.num_classes))
        steps, latent_size = config.diffusion.num_steps, config.generator.latent_size
        return Batch(images, labels), draw_noise(config.seed, step, images, steps, latent_size)

    return inputs
