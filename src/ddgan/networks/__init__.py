"""The networks, and the one place that turns a configuration into one.

Generators are called as G(x_t, t, z, y), discriminators as D(x_prev, x_t, t, y); both take samples of
shape (B, *state_shape), t int64 in 1..T, z (B, latent_size), and classes y int64 in 0..num_classes, where
num_classes is the null class, or None. A network made with num_classes = 0 ignores y.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from ddgan.networks.mlp import (
    MLPConfig,
    MLPDiscriminator,
    MLPDiscriminatorConfig,
    MLPGenerator,
)
from ddgan.networks.ncsnpp import Generator, NCSNppConfig
from ddgan.networks.resnet import Discriminator, ResNetDiscriminatorConfig

__all__ = [
    "Discriminator",
    "DiscriminatorConfig",
    "Generator",
    "GeneratorConfig",
    "MLPConfig",
    "MLPDiscriminator",
    "MLPDiscriminatorConfig",
    "MLPGenerator",
    "NCSNppConfig",
    "ResNetDiscriminatorConfig",
    "batch_that_fits",
    "build_discriminator",
    "build_generator",
]

GeneratorConfig = NCSNppConfig | MLPConfig
DiscriminatorConfig = ResNetDiscriminatorConfig | MLPDiscriminatorConfig
ACTIVATION_BUDGET = 256 * 2**20
"""Bytes that one batch may take at the widest layer of the generator when the size is not given."""
SHARE_OF_FREE = 0.125
"""The same on a GPU, as a share of the memory that is free."""


def build_generator(config: GeneratorConfig, num_classes: int = 0) -> Generator | MLPGenerator:
    """The generator that `config` describes."""
    if isinstance(config, NCSNppConfig):
        return Generator(config, num_classes)
    return MLPGenerator(config, num_classes)


def build_discriminator(
    config: DiscriminatorConfig, state_shape: tuple[int, ...], num_classes: int = 0
) -> nn.Module:
    """The discriminator that `config` describes, for samples of shape `state_shape`.

    Raises:
        ValueError: if the samples are not of the form or size that the discriminator takes.
    """
    if isinstance(config, MLPDiscriminatorConfig):
        return MLPDiscriminator(config, math.prod(state_shape), num_classes)
    if len(state_shape) != 3:
        raise ValueError(
            "discriminator.kind is resnet, which takes images, but the generator makes points; "
            "use discriminator.kind mlp"
        )
    if any(size % config.size_divisor for size in state_shape[1:]):
        raise ValueError(
            f"the image size {state_shape[1]} x {state_shape[2]} cannot be halved "
            f"{sum(config.downsample)} times, as discriminator.downsample asks; "
            f"use a multiple of {config.size_divisor} or fewer halvings"
        )
    return Discriminator(config, state_shape[0], num_classes)


def batch_that_fits(generator: GeneratorConfig, device: torch.device) -> int:
    """How many samples of this network fit at once: into ACTIVATION_BUDGET, or into a GPU's free memory."""
    if generator.kind == "mlp":
        return 16384
    budget = ACTIVATION_BUDGET
    if device.type == "cuda":
        budget = max(budget, int(SHARE_OF_FREE * torch.cuda.mem_get_info(device)[0]))
    widest = 4 * 12 * generator.base_channels * generator.image_size**2  # bytes of about 12 feature maps
    return max(1, min(512, budget // widest))
