"""Fully connected networks: for points in the plane (paper, 25 Gaussians) and for small aligned images.

Same interfaces as the convolutional networks. Where an image has a few hundred numbers and its parts
keep their places, fully connected layers learn far more per second on a CPU than a U-Net.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks.layers import ClassEmbedding, ClassProjection, TimeEmbedding, linear

SLOPE = 0.2
RESIDUAL_SCALE = 1e-4
"""The initial scale of each block's last layer, so that a block starts as nearly nothing."""


@dataclass(frozen=True)
class MLPConfig:
    """Settings of a fully connected generator.

    Args:
        kind: names this network in a configuration.
        state_shape: the shape of a sample: (F,) for points, (C, H, W) for images.
        hidden_features: width of the residual blocks.
        num_blocks: residual blocks of two layers each.
        latent_size: nz, the length of z; may be 0.
        time_features: width of the time embedding; even.
        num_frequencies: octaves of sines of the values that join them as input; see `octaves`.
        tanh: whether the output is squashed to [-1, 1], as images need it.
    """

    kind: Literal["mlp"] = "mlp"
    state_shape: tuple[int, ...] = (2,)
    hidden_features: int = 512
    num_blocks: int = 4
    latent_size: int = 2
    time_features: int = 64
    num_frequencies: int = 0
    tanh: bool = False

    def __post_init__(self) -> None:
        _check("generator", self, "hidden_features", "num_blocks")
        if len(self.state_shape) not in (1, 3) or min(self.state_shape) < 1:
            raise ValueError(
                f"generator.state_shape is {list(self.state_shape)}; it must be [features] or "
                "[channels, height, width], each at least 1"
            )
        if self.latent_size < 0:
            raise ValueError(f"generator.latent_size is {self.latent_size}; it must be 0 or more")


@dataclass(frozen=True)
class MLPDiscriminatorConfig:
    """Settings of a fully connected discriminator, of points or of small aligned images.

    Args:
        kind: names this network in a configuration.
        hidden_features: width of the hidden layers.
        num_layers: fully connected layers, the output included; the paper has 3.
        time_features: width of the time embedding; even.
        num_frequencies: octaves of sines of the coordinates that join them as input; see `octaves`.
    """

    kind: Literal["mlp"] = "mlp"
    hidden_features: int = 512
    num_layers: int = 3
    time_features: int = 64
    num_frequencies: int = 0

    def __post_init__(self) -> None:
        _check("discriminator", self, "hidden_features", "num_layers")


def _check(section: str, config: MLPConfig | MLPDiscriminatorConfig, *positive: str) -> None:
    for name in positive:
        if getattr(config, name) < 1:
            raise ValueError(f"{section}.{name} is {getattr(config, name)}; it must be at least 1")
    if not 0 <= config.num_frequencies <= 16:
        raise ValueError(f"{section}.num_frequencies is {config.num_frequencies}; it must be in 0..16")
    if config.time_features < 2 or config.time_features % 2:
        raise ValueError(f"{section}.time_features is {config.time_features}; it must be even and at least 2")


def octaves(x: Tensor, count: int) -> Tensor:
    """x (B, F) -> (B, F + 2 F count): x beside sin and cos of pi x, 2 pi x, 4 pi x, ...

    A network of ramps alone is slow to learn what is narrow (spectral bias); these features let it see
    points that lie close together apart.
    """
    angles = [x * (math.pi * 2**k) for k in range(count)]
    return torch.cat([x, *(angle.sin() for angle in angles), *(angle.cos() for angle in angles)], dim=1)


class ModulatedBlock(nn.Module):
    """Layer norm, scale and shift from the embedding, SiLU, Linear, SiLU, Linear; plus its input."""

    def __init__(self, features: int, embedding_features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features, elementwise_affine=False)
        self.modulation = linear(embedding_features, 2 * features)
        self.hidden = linear(features, features)
        self.output = linear(features, features, RESIDUAL_SCALE)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding).chunk(2, dim=1)
        residual = self.hidden(F.silu(torch.addcmul(shift, self.norm(h), 1 + scale)))
        return h + self.output(F.silu(residual))


class MLPGenerator(nn.Module):
    """G(x_t, t, z, y) -> prediction, (B, *state_shape); with tanh the output is in [-1, 1].

    t, z and the class together set scale and shift of every block, as AdaGN does in the U-Net.
    """

    def __init__(self, config: MLPConfig, num_classes: int = 0) -> None:
        super().__init__()
        self.config = config
        values = math.prod(config.state_shape)
        features, embedding = config.hidden_features, 2 * config.time_features
        self.time_embedding = TimeEmbedding(config.time_features, embedding, nn.SiLU())
        self.latent = linear(config.latent_size, embedding) if config.latent_size else None
        self.classes = ClassEmbedding(num_classes, embedding) if num_classes else None
        self.input = linear(values * (1 + 2 * config.num_frequencies), features)
        self.blocks = nn.ModuleList(ModulatedBlock(features, embedding) for _ in range(config.num_blocks))
        self.output_norm = nn.LayerNorm(features)
        self.output = linear(features, values, 0.01)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        embedding = self.time_embedding(t)
        if self.latent is not None:
            embedding = embedding + self.latent(z)
        if self.classes is not None:
            embedding = embedding + self.classes(y, x_t.shape[0])
        embedding = F.silu(embedding)
        h = self.input(octaves(x_t.flatten(1), self.config.num_frequencies))
        for block in self.blocks:
            h = block(h, embedding)
        output = self.output(F.silu(self.output_norm(h))).view_as(x_t)
        return torch.tanh(output) if self.config.tanh else output


class MLPDiscriminator(nn.Module):
    """D(x_prev, x_t, t, y) -> (B,) logits for samples of `num_features` numbers: (B, F) or (B, C, H, W)."""

    def __init__(self, config: MLPDiscriminatorConfig, num_features: int, num_classes: int = 0) -> None:
        super().__init__()
        self.config = config
        values, time = 2 * num_features * (1 + 2 * config.num_frequencies), config.time_features
        self.time_embedding = TimeEmbedding(time, time, nn.LeakyReLU(SLOPE))
        widths = [values + time] + [config.hidden_features] * (config.num_layers - 1) + [1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.projection = ClassProjection(num_classes, widths[-2]) if num_classes else None

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        values = octaves(torch.cat([x_prev.flatten(1), x_t.flatten(1)], dim=1), self.config.num_frequencies)
        h = torch.cat([values, self.time_embedding(t)], dim=1)
        for layer in self.layers[:-1]:
            h = F.leaky_relu(layer(h), SLOPE)
        logits = self.layers[-1](h).squeeze(1)
        return logits if self.projection is None else logits + self.projection(h, y)
