"""The NCSN++ U-Net with adaptive group normalisation (paper section 4, "Generator").

The noise level t enters each residual block as an additive bias; the latent z, through a mapping
network, sets the scale and shift of every normalisation. The encoder also adds the noisy image itself, FIR
filtered and strided, at each scale (the "residual" input pyramid). An image condition is appended to the
channels of x_t, for the input and for the pyramid alike; labels and vectors enter the mapping network.
Signals and volumes have the same network with convolutions of one and three dimensions.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

import torch
from annotated_types import Len
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.config.components import register
from ddgan.config.settings import Interval, SettingError
from ddgan.networks.axes import CONVOLVE, check_spatial, in_words, per_channel, spatial_axes
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.layers import (
    NEARLY_ZERO,
    RESAMPLERS,
    AdaptiveGroupNorm,
    Attention,
    ClassEmbedding,
    TimeEmbedding,
    VectorEmbedding,
    conv,
    group_norm,
    group_norm_silu,
    linear,
    with_image,
)
from ddgan.networks.resample import blur

__all__ = ["Generator", "NCSNppConfig"]

HALF = math.sqrt(0.5)
"""Multiplies a sum of two branches, to keep its variance."""


@register("generator", "ncsnpp")
class NCSNppConfig:
    """Settings of the U-Net generator; the defaults are the paper's for CIFAR-10.

    Args:
        base_channels: features at full resolution, before the multipliers; even.
        channel_multipliers: one per level, from full resolution down; each level halves the size.
        num_blocks: residual blocks per level of the encoder; the decoder has one more.
        attention_resolutions: sizes of the levels with attention: those whose longest side is one of them.
        latent_size: nz, the length of z; 0 for a generator without a latent.
        mapping_features: width of the mapping network and of w.
        mapping_depth: hidden layers of the mapping network after its first.
        tanh: whether the output is squashed to [-1, 1].
    """

    base_channels: Annotated[int, Interval(ge=4, le=4096)] = 128
    channel_multipliers: Annotated[
        tuple[Annotated[int, Interval(ge=1, le=64)], ...], Len(min_length=1, max_length=12)
    ] = (1, 2, 2, 2)
    num_blocks: Annotated[int, Interval(ge=1, le=64)] = 2
    attention_resolutions: Annotated[
        tuple[Annotated[int, Interval(ge=1, le=4096)], ...], Len(max_length=12)
    ] = (16,)
    latent_size: Annotated[int, Interval(ge=0, le=65_536)] = 100
    mapping_features: Annotated[int, Interval(ge=1, le=65_536)] = 256
    mapping_depth: Annotated[int, Interval(ge=0, le=64)] = 4
    tanh: bool = True

    def __post_init__(self) -> None:
        if self.base_channels % 2:
            raise SettingError("base_channels", f"is {self.base_channels}; it must be even")

    def resolutions(self, sample_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Return the spatial sizes of each level, from full resolution down.

        Raises:
            SettingError: if the samples have other than 1 to 3 spatial dimensions, or their size cannot be
                halved that often.
        """
        check_spatial("ncsnpp", sample_shape)
        sizes, halvings = sample_shape[1:], len(self.channel_multipliers) - 1
        if any(size % 2**halvings for size in sizes):
            raise SettingError(
                "channel_multipliers",
                f"is {list(self.channel_multipliers)}, which halves the size {halvings} times, but the "
                f"samples have size {in_words(sizes)}; use sizes that are multiples of {2**halvings}, or "
                "fewer multipliers",
            )
        return [tuple(size >> level for size in sizes) for level in range(halvings + 1)]

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> Generator:
        """Build the network for samples (C, *spatial), with newly initialised weights."""
        return Generator(self, sample_shape, conditions)

    def activation_floats(self, sample_shape: tuple[int, ...]) -> int:
        """Estimate how many floats a call of the network needs per sample: 12 feature maps."""
        return 12 * self.base_channels * math.prod(sample_shape[1:])


def pixel_norm(z: Tensor) -> Tensor:
    """Normalise (B, F) to a mean square of 1 per row."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


class MappingNetwork(nn.Module):
    """z (B, nz) -> w (B, features): pixel norm, Linear, SiLU, depth x [Linear, SiLU].

    With classes, the pixel-normalised class embedding is appended to z; with vectors, their embedding.
    """

    def __init__(
        self, latent_size: int, features: int, depth: int, conditions: ConditionShapes = ConditionShapes()
    ) -> None:
        super().__init__()
        classes, numbers = conditions.num_classes, conditions.vector_inputs
        self.classes = ClassEmbedding(classes, features) if classes else None
        self.vector = VectorEmbedding(numbers, features) if numbers else None
        inputs = latent_size + features * ((classes > 0) + (numbers > 0))
        sizes = [inputs] + [features] * (depth + 1)
        self.layers = nn.ModuleList(map(linear, sizes[:-1], sizes[1:]))

    def forward(self, z: Tensor, condition: Condition | None = None) -> Tensor:
        label, vector, _ = condition or Condition()
        w = pixel_norm(z) if z.shape[1] else z
        if self.classes is not None:
            w = torch.cat([w, pixel_norm(self.classes(label, z.shape[0]))], dim=1)
        if self.vector is not None:
            w = torch.cat([w, self.vector(vector, z.shape[0])], dim=1)
        for layer in self.layers:
            w = F.silu(layer(w))
        return w


class Common(NamedTuple):
    """What the residual blocks of a network have in common.

    Attributes:
        time_features: width of the time embedding.
        style_features: width of w; 0 without one.
        dimensions: number of spatial dimensions.
    """

    time_features: int
    style_features: int
    dimensions: int


class ResidualBlock(nn.Module):
    """BigGAN-type block: AdaGN, SiLU, resample, conv, + t, AdaGN, SiLU, conv; plus skip, / sqrt(2)."""

    is_recomputable = True

    def __init__(
        self,
        inputs: int,
        outputs: int,
        common: Common,
        resample: Literal["up", "down"] | None = None,
    ) -> None:
        super().__init__()
        time_features, style_features, dimensions = common
        self.resample = RESAMPLERS[resample] if resample else nn.Identity()
        self.norm1 = AdaptiveGroupNorm(inputs, style_features)
        self.conv1 = conv(inputs, outputs, 3, dimensions)
        self.time = linear(time_features, outputs)
        self.norm2 = AdaptiveGroupNorm(outputs, style_features)
        self.conv2 = conv(outputs, outputs, 3, dimensions, scale=NEARLY_ZERO)
        same = inputs == outputs and resample is None
        self.skip = nn.Identity() if same else conv(inputs, outputs, 1, dimensions)

    def forward(self, h: Tensor, t: Tensor, w: Tensor | None) -> Tensor:
        """h (B, inputs, *spatial); t the activated time embedding; w the mapped latent."""
        residual: Tensor = self.resample(self.norm1(h, w))
        residual = self.conv1(residual)
        residual = residual.add_(per_channel(self.time(t), residual))
        residual = self.conv2(self.norm2(residual, w))
        skip: Tensor = self.skip(self.resample(h))
        return (skip + residual).mul_(HALF)


class PyramidStep(nn.Module):
    """One step of the input pyramid: FIR with padding 2, then an unpadded stride-2 convolution."""

    def __init__(self, inputs: int, outputs: int, dimensions: int) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, 3, dimensions)

    def forward(self, pyramid: Tensor) -> Tensor:
        convolve = CONVOLVE[pyramid.ndim - 2]
        return convolve(blur(pyramid, padding=2), self.conv.weight, self.conv.bias, stride=2)


class EncoderLevel(nn.Module):
    """Residual blocks, each with optional attention, then downsampling to half the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        num_blocks: int,
        common: Common,
        *,
        attention: bool,
        pyramid_channels: int | None,
    ) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * num_blocks
        self.blocks = nn.ModuleList(ResidualBlock(a, b, common) for a, b in pairwise(widths))
        self.attentions = nn.ModuleList(
            Attention(outputs, common.dimensions) if attention else nn.Identity() for _ in range(num_blocks)
        )
        if pyramid_channels is None:  # the coarsest level
            self.down, self.pyramid = None, None
        else:
            self.down = ResidualBlock(outputs, outputs, common, resample="down")
            self.pyramid = PyramidStep(pyramid_channels, outputs, common.dimensions)

    def forward(
        self, h: Tensor, pyramid: Tensor, t: Tensor, w: Tensor | None, skips: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            h = attention(block(h, t, w))
            skips.append(h)
        if self.down is not None and self.pyramid is not None:
            pyramid = h = (self.pyramid(pyramid) + self.down(h, t, w)) * HALF
            skips.append(h)
        return h, pyramid


class DecoderLevel(nn.Module):
    """Residual blocks with the encoder's skips, optional attention, then upsampling to twice the size."""

    def __init__(
        self,
        inputs: int,
        skips: list[int],
        outputs: int,
        common: Common,
        *,
        attention: bool,
        up: bool,
    ) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * (len(skips) - 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(width + skip, outputs, common) for width, skip in zip(widths, skips, strict=True)
        )
        self.attention = Attention(outputs, common.dimensions) if attention else nn.Identity()
        self.up = ResidualBlock(outputs, outputs, common, resample="up") if up else None

    def forward(self, h: Tensor, t: Tensor, w: Tensor | None, skips: list[Tensor]) -> Tensor:
        for block in self.blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), t, w)
        h = self.attention(h)
        return h if self.up is None else self.up(h, t, w)


def level_name(resolution: tuple[int, ...]) -> str:
    """Return the name of a level's module, such as "32x32"; of signals, "length32"."""
    return "x".join(map(str, resolution)) if len(resolution) > 1 else f"length{resolution[0]}"


class Generator(nn.Module):
    """G(x_t, t, z, condition) -> prediction, of the shape of x_t (B, C, *spatial); with tanh in [-1, 1].

    `t` is int64 (B,) in 1..T, `z` is (B, latent_size). Source: paper section 4 and appendix, except for the
    conditions, which are ours. With default settings it has 48,432,515 parameters for CIFAR-10, as published.
    """

    def __init__(
        self,
        config: NCSNppConfig,
        sample_shape: tuple[int, ...],
        conditions: ConditionShapes = ConditionShapes(),
    ) -> None:
        super().__init__()
        self.config, self.sample_shape = config, sample_shape
        resolutions, channels = config.resolutions(sample_shape), sample_shape[0]
        self.image_inputs = conditions.image_inputs
        base = config.base_channels
        widths = [base * multiplier for multiplier in config.channel_multipliers]
        has_style = config.latent_size or conditions.num_classes or conditions.vector_features
        style = config.mapping_features if has_style else 0
        common = Common(4 * base, style, len(sample_shape) - 1)

        self.time_embedding = TimeEmbedding(base, 4 * base, nn.SiLU())
        self.mapping = (
            MappingNetwork(config.latent_size, style, config.mapping_depth, conditions) if style else None
        )
        inputs = channels + self.image_inputs
        self.input = conv(inputs, base, 3, common.dimensions)

        skips, width, pyramid = [base], base, inputs
        self.encoder = nn.ModuleDict()
        for resolution, outputs in zip(resolutions, widths, strict=True):
            last = resolution == resolutions[-1]
            self.encoder[level_name(resolution)] = EncoderLevel(
                width,
                outputs,
                config.num_blocks,
                common,
                attention=max(resolution) in config.attention_resolutions,
                pyramid_channels=None if last else pyramid,
            )
            skips += [outputs] * (config.num_blocks + (not last))
            width = pyramid = outputs

        self.middle_block1 = ResidualBlock(width, width, common)
        self.middle_attention = Attention(width, common.dimensions)
        self.middle_block2 = ResidualBlock(width, width, common)

        self.decoder = nn.ModuleDict()
        for resolution, outputs in zip(resolutions[::-1], widths[::-1], strict=True):
            self.decoder[level_name(resolution)] = DecoderLevel(
                width,
                [skips.pop() for _ in range(config.num_blocks + 1)],
                outputs,
                common,
                attention=max(resolution) in config.attention_resolutions,
                up=resolution != resolutions[0],
            )
            width = outputs
        self.output_norm = group_norm(width)
        self.output = conv(width, channels, 3, common.dimensions, scale=NEARLY_ZERO)
        self.encoded_size = widths[-1]

    @property
    def early_layers(self) -> list[list[nn.Module]]:
        """The modules of each level of the encoder; the input and t belong to the first."""
        first, *others = self.encoder.values()
        return [[self.time_embedding, self.input, first], *([level] for level in others)]

    def keep_encoder(self) -> None:
        """Drop the decoder, so that only `encode` works."""
        del self.decoder, self.output_norm, self.output

    def encode(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Return the mean features of the coarsest level, activated, (B, encoded_size)."""
        h, *_ = self._encoded(x_t, t, z, condition)
        return F.silu(h).mean(dim=spatial_axes(h))

    def _encoded(
        self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None
    ) -> tuple[Tensor, Tensor, Tensor | None, list[Tensor]]:
        """Return the coarsest features, the activated time embedding, w, and the skips."""
        time = F.silu(self.time_embedding(t))
        w = None if self.mapping is None else self.mapping(z, condition)
        pyramid = with_image(x_t, condition, self.image_inputs)
        h = self.input(pyramid)
        skips = [h]
        for level in self.encoder.values():
            h, pyramid = level(h, pyramid, time, w, skips)
        h = self.middle_block1(h, time, w)
        return self.middle_block2(self.middle_attention(h), time, w), time, w, skips

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        h, time, w, skips = self._encoded(x_t, t, z, condition)
        for level in self.decoder.values():
            h = level(h, time, w, skips)
        h = self.output(group_norm_silu(self.output_norm, h))
        return torch.tanh(h) if self.config.tanh else h
