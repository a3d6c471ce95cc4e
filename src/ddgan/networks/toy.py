"""Small fully connected networks for points in the plane (paper, 25 Gaussians).

Same interfaces as the image networks, with samples of shape (B, num_features).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks.layers import TimeEmbedding

SLOPE = 0.2


@dataclass(frozen=True)
class MLPConfig:
    """Settings of a fully connected generator.

    Args:
        kind: names this network in a configuration.
        num_features: length of a sample (2 for points in the plane).
        hidden_features: width of the hidden layers.
        num_layers: fully connected layers, the output included; the paper has 3.
        latent_size: nz, the length of z; may be 0.
        time_features: width of the time embedding; even.
        num_frequencies: octaves of sines of the coordinates that join them as input; see `octaves`.
    """

    kind: Literal["mlp"] = "mlp"
    num_features: int = 2
    hidden_features: int = 512
    num_layers: int = 3
    latent_size: int = 2
    time_features: int = 64
    num_frequencies: int = 0

    def __post_init__(self) -> None:
        _check("generator", self)
        if self.num_features < 1:
            raise ValueError(f"generator.num_features is {self.num_features}; it must be at least 1")
        if self.latent_size < 0:
            raise ValueError(f"generator.latent_size is {self.latent_size}; it must be 0 or more")

    @property
    def state_shape(self) -> tuple[int, ...]:
        """The shape of one x_t: (num_features,)."""
        return (self.num_features,)


@dataclass(frozen=True)
class MLPDiscriminatorConfig:
    """Settings of a fully connected discriminator.

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
        _check("discriminator", self)


def _check(section: str, config: MLPConfig | MLPDiscriminatorConfig) -> None:
    for name in ("hidden_features", "num_layers"):
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


class _Layers(nn.Module):
    """Fully connected layers over points (B, coordinates), other inputs (B, others) and t (B,)."""

    def __init__(
        self, coordinates: int, others: int, outputs: int, config: MLPConfig | MLPDiscriminatorConfig
    ) -> None:
        super().__init__()
        self.num_frequencies = config.num_frequencies
        inputs = coordinates * (1 + 2 * config.num_frequencies) + others
        features = config.time_features
        self.time_embedding = TimeEmbedding(features, features, nn.LeakyReLU(SLOPE))
        widths = [inputs + features] + [config.hidden_features] * (config.num_layers - 1) + [outputs]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, points: Tensor, others: Tensor, t: Tensor) -> Tensor:
        h = torch.cat([octaves(points, self.num_frequencies), others, self.time_embedding(t)], dim=1)
        for layer in self.layers[:-1]:
            h = F.leaky_relu(layer(h), SLOPE)
        return self.layers[-1](h)


class MLPGenerator(nn.Module):
    """G(x_t, t, z) -> prediction, (B, num_features)."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        self.network = _Layers(config.num_features, config.latent_size, config.num_features, config)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor) -> Tensor:
        return self.network(x_t, z, t)


class MLPDiscriminator(nn.Module):
    """D(x_prev, x_t, t) -> (B,) logits for samples of shape (B, num_features)."""

    def __init__(self, config: MLPDiscriminatorConfig, num_features: int) -> None:
        super().__init__()
        self.config = config
        self.network = _Layers(2 * num_features, 0, 1, config)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        return self.network(torch.cat([x_prev, x_t], dim=1), x_t[:, :0], t).squeeze(1)
