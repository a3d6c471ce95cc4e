"""Fully connected networks: for points in the plane (paper, 25 Gaussians) and for small aligned images.

They have the interfaces of the convolutional networks. On a CPU they learn small aligned images, of a few
hundred pixels, far faster than a U-Net.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.config.components import register
from ddgan.config.settings import Interval, SettingError
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.layers import (
    ClassEmbedding,
    Conditioning,
    TimeEmbedding,
    VectorEmbedding,
    condition_embedding,
    condition_projection,
    embedded,
    image_condition,
    linear,
    projected,
)

__all__ = ["MLPConfig", "MLPDiscriminator", "MLPDiscriminatorConfig", "MLPGenerator"]

SLOPE = 0.2
RESIDUAL_SCALE = 1e-4
"""Initial scale of each block's last layer, so that a block starts close to the identity."""


@register("generator", "mlp")
class MLPConfig:
    """Settings of a fully connected generator.

    Args:
        hidden_features: width of the residual blocks.
        num_blocks: residual blocks of two layers each.
        latent_size: nz, the length of z; may be 0.
        time_features: width of the time embedding; even.
        num_frequencies: octaves of sines and cosines added to the input; see `octaves`.
        tanh: whether the output is squashed to [-1, 1], the range of images.
        skip: whether x_t is added to the output (before tanh), with a weight that is learned from t, z and
            the class; where x_t has little noise, the network then only has to predict what to change.
    """

    hidden_features: Annotated[int, Interval(ge=1, le=65_536)] = 512
    num_blocks: Annotated[int, Interval(ge=1, le=1000)] = 4
    latent_size: Annotated[int, Interval(ge=0, le=65_536)] = 2
    time_features: Annotated[int, Interval(ge=2, le=65_536)] = 64
    num_frequencies: Annotated[int, Interval(ge=0, le=16)] = 0
    tanh: bool = False
    skip: bool = False

    def __post_init__(self) -> None:
        _check_even(self.time_features)

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> MLPGenerator:
        """Build the network for samples of any shape, with newly initialised weights."""
        return MLPGenerator(self, sample_shape, conditions)

    def activation_floats(self, sample_shape: tuple[int, ...]) -> int:
        """Estimate how many floats a call of the network needs per sample."""
        return 4096


@register("discriminator", "mlp")
class MLPDiscriminatorConfig:
    """Settings of a fully connected discriminator, for points or small aligned images.

    Args:
        hidden_features: width of the hidden layers.
        num_layers: fully connected layers, including the output; 3 in the paper.
        time_features: width of the time embedding; even.
        num_frequencies: octaves of sines and cosines added to the input; see `octaves`.
        conditioning: how labels and vectors enter: "projection", or "embedding", added to that of t; an image
            condition is always an input.
    """

    hidden_features: Annotated[int, Interval(ge=1, le=65_536)] = 512
    num_layers: Annotated[int, Interval(ge=1, le=1000)] = 3
    time_features: Annotated[int, Interval(ge=2, le=65_536)] = 64
    num_frequencies: Annotated[int, Interval(ge=0, le=16)] = 0
    conditioning: Conditioning = "projection"

    def __post_init__(self) -> None:
        _check_even(self.time_features)

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> MLPDiscriminator:
        """Build the network for samples of any shape, with newly initialised weights."""
        return MLPDiscriminator(self, sample_shape, conditions)


def _check_even(time_features: int) -> None:
    if time_features % 2:
        raise SettingError("time_features", f"is {time_features}; it must be even")


def octaves(x: Tensor, count: int) -> Tensor:
    """Append sin and cos of pi x, 2 pi x, 4 pi x, ...: x (B, F) -> (B, F + 2 F count).

    A network without them is slow to learn fine detail (spectral bias); they help it tell close points
    apart.
    """
    angles = [x * (math.pi * 2**k) for k in range(count)]
    return torch.cat([x, *(angle.sin() for angle in angles), *(angle.cos() for angle in angles)], dim=1)


def _with_image(values: Tensor, condition: Condition | None, x_t: Tensor, channels: int) -> Tensor:
    """Append all numbers of an image condition, with `channels` channels, to the inputs (B, F) of a layer."""
    if not channels:
        return values
    return torch.cat([values, image_condition(condition, x_t, channels).flatten(1)], dim=1)


class ModulatedBlock(nn.Module):
    """Layer norm, scale and shift from the embedding, twice SiLU and Linear; plus the input."""

    def __init__(self, features: int, embedding_features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features, elementwise_affine=False)
        self.modulation = linear(embedding_features, 2 * features)
        self.hidden = linear(features, features)
        self.output = linear(features, features, RESIDUAL_SCALE)

    def forward(self, h: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding).chunk(2, dim=1)
        residual = self.hidden(F.silu(torch.addcmul(shift, self.norm(h), 1 + scale)))
        update: Tensor = self.output(F.silu(residual))
        return h + update


class MLPGenerator(nn.Module):
    """G(x_t, t, z, condition) -> prediction, (B, *sample_shape); with tanh the output is in [-1, 1].

    t, z, the class and the vector together set the scale and shift of every block, as AdaGN does in the
    U-Net. The values of an image condition are inputs, after those of x_t and without octaves.
    """

    def __init__(
        self,
        config: MLPConfig,
        sample_shape: tuple[int, ...],
        conditions: ConditionShapes = ConditionShapes(),
    ) -> None:
        super().__init__()
        self.config, self.sample_shape = config, sample_shape
        classes, numbers = conditions.num_classes, conditions.vector_inputs
        self.image_channels = conditions.image_inputs
        values = math.prod(sample_shape)
        features, embedding = config.hidden_features, 2 * config.time_features
        self.time_embedding = TimeEmbedding(config.time_features, embedding, nn.SiLU())
        self.latent = linear(config.latent_size, embedding) if config.latent_size else None
        self.classes = ClassEmbedding(classes, embedding) if classes else None
        self.vector = VectorEmbedding(numbers, embedding) if numbers else None
        self.image_inputs = self.image_channels * math.prod(sample_shape[1:])
        self.input = linear(values * (1 + 2 * config.num_frequencies) + self.image_inputs, features)
        self.blocks = nn.ModuleList(ModulatedBlock(features, embedding) for _ in range(config.num_blocks))
        self.output_norm = nn.LayerNorm(features)
        self.output = linear(features, values, 0.01)
        self.skip = linear(embedding, 1, 0.01) if config.skip else None
        self.encoded_size, self.input_blocks = features, 1 + 2 * config.num_frequencies

    @property
    def early_layers(self) -> list[list[nn.Module]]:
        """The modules of each block; the input and t belong to the first."""
        first, *others = self.blocks
        return [[self.time_embedding, self.input, first], *([block] for block in others)]

    def keep_encoder(self) -> None:
        """Drop the output layer, so that only `encode` works."""
        del self.output

    def encode(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Return the features that the output is computed from, (B, encoded_size)."""
        return self._features(x_t, self._embedding(t, z, condition), condition)

    def _embedding(self, t: Tensor, z: Tensor, condition: Condition | None) -> Tensor:
        embedding: Tensor = self.time_embedding(t)
        if self.latent is not None:
            embedding = embedding + self.latent(z)
        label, vector, _ = condition or Condition()
        if self.classes is not None:
            embedding = embedding + self.classes(label, t.shape[0])
        if self.vector is not None:
            embedding = embedding + self.vector(vector, t.shape[0])
        return F.silu(embedding)

    def _features(self, x_t: Tensor, embedding: Tensor, condition: Condition | None) -> Tensor:
        values = octaves(x_t.flatten(1), self.config.num_frequencies)
        h = self.input(_with_image(values, condition, x_t, self.image_channels))
        for block in self.blocks:
            h = block(h, embedding)
        return F.silu(self.output_norm(h))

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        embedding = self._embedding(t, z, condition)
        output = self.output(self._features(x_t, embedding, condition)).view_as(x_t)
        if self.skip is not None:
            output = output + self.skip(embedding).view(-1, *[1] * (x_t.ndim - 1)) * x_t
        return torch.tanh(output) if self.config.tanh else output


class MLPDiscriminator(nn.Module):
    """D(x_prev, x_t, t, condition) -> (B,) logits for samples of any shape, (B, *sample_shape)."""

    def __init__(
        self,
        config: MLPDiscriminatorConfig,
        sample_shape: tuple[int, ...],
        conditions: ConditionShapes = ConditionShapes(),
    ) -> None:
        super().__init__()
        self.config = config
        self.image_channels = conditions.image_inputs
        self.input_blocks = 2 * (1 + 2 * config.num_frequencies)
        values, time = math.prod(sample_shape) * self.input_blocks, config.time_features
        self.time_embedding = TimeEmbedding(time, time, nn.LeakyReLU(SLOPE))
        self.image_inputs = self.image_channels * math.prod(sample_shape[1:])
        inputs = values + time + self.image_inputs
        widths = [inputs] + [config.hidden_features] * (config.num_layers - 1) + [1]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        is_projected = config.conditioning == "projection"
        self.projection = condition_projection(conditions, widths[-2]) if is_projected else None
        self.embedding = None if is_projected else condition_embedding(conditions, time)

    @property
    def early_layers(self) -> list[list[nn.Module]]:
        """The hidden layers; t belongs to the first."""
        first, *others = self.layers[:-1]
        return [[self.time_embedding, first], *([layer] for layer in others)]

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        values = octaves(torch.cat([x_prev.flatten(1), x_t.flatten(1)], dim=1), self.config.num_frequencies)
        time = embedded(self.time_embedding(t), self.embedding, condition)
        h = _with_image(torch.cat([values, time], dim=1), condition, x_t, self.image_channels)
        for layer in self.layers[:-1]:
            h = F.leaky_relu(layer(h), SLOPE)
        logits: Tensor = self.layers[-1](h).squeeze(1)
        return projected(logits, self.projection, h, condition)
