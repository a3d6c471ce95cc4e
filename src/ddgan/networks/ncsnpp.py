"""The NCSN++ U-Net with adaptive group normalisation (paper section 4, "Generator").

The noise level t enters each residual block as an additive bias; the latent z, through a mapping
network, sets scale and shift of every normalisation. On the way down the noisy image itself, FIR
filtered and strided, is added at each scale (the "residual" input pyramid).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks.kernels.group_norm import group_norm_silu
from ddgan.networks.layers import (
    NEARLY_ZERO,
    RESAMPLERS,
    AdaptiveGroupNorm,
    Attention,
    TimeEmbedding,
    conv,
    group_norm,
    linear,
)
from ddgan.networks.mapping import MappingNetwork
from ddgan.networks.resample import blur

HALF = math.sqrt(0.5)
"""A sum of two branches is multiplied by this, so that its variance stays."""


@dataclass(frozen=True)
class NCSNppConfig:
    """Settings of the U-Net generator; the defaults are the paper's for CIFAR-10.

    Args:
        kind: names this network in a configuration.
        image_size: height and width in pixels; divisible by 2^(levels - 1).
        image_channels: channels of an image (1 grey, 3 RGB, any number).
        base_channels: features at full resolution, before the multipliers; even.
        channel_multipliers: one per level, from full resolution down; each level halves the size.
        num_blocks: residual blocks per level on the way down (one more on the way up).
        attention_resolutions: sizes in pixels at which attention follows each block.
        latent_size: nz, the length of z; 0 for a generator without latent.
        mapping_features: width of the mapping network and of w.
        mapping_depth: hidden layers of the mapping network after its first.
        tanh: whether the output is squashed to [-1, 1].
    """

    kind: Literal["ncsnpp"] = "ncsnpp"
    image_size: int = 32
    image_channels: int = 3
    base_channels: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 2, 2)
    num_blocks: int = 2
    attention_resolutions: tuple[int, ...] = (16,)
    latent_size: int = 100
    mapping_features: int = 256
    mapping_depth: int = 4
    tanh: bool = True

    def __post_init__(self) -> None:
        positive = ("image_size", "image_channels", "base_channels", "num_blocks", "mapping_features")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"generator.{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("latent_size", "mapping_depth"):
            if getattr(self, name) < 0:
                raise ValueError(f"generator.{name} is {getattr(self, name)}; it must be 0 or more")
        if self.base_channels < 4 or self.base_channels % 2:
            raise ValueError(
                f"generator.base_channels is {self.base_channels}; it must be even and at least 4"
            )
        if not self.channel_multipliers or min(self.channel_multipliers) < 1:
            raise ValueError(
                f"generator.channel_multipliers is {list(self.channel_multipliers)}; "
                "it must name at least one level, each at least 1"
            )
        halvings = len(self.channel_multipliers) - 1
        if self.image_size % 2**halvings:
            raise ValueError(
                f"generator.image_size is {self.image_size}, which {halvings + 1} channel_multipliers "
                f"cannot halve {halvings} times; use a multiple of {2**halvings} or fewer multipliers"
            )

    @property
    def state_shape(self) -> tuple[int, ...]:
        """The shape of one x_t: (C, H, W)."""
        return (self.image_channels, self.image_size, self.image_size)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The size in pixels of each level, from full resolution down."""
        return tuple(self.image_size >> level for level in range(len(self.channel_multipliers)))


class ResidualBlock(nn.Module):
    """BigGAN-type block: AdaGN, SiLU, resample, conv, + t, AdaGN, SiLU, conv; plus skip, / sqrt(2)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        time_features: int,
        style_features: int,
        resample: Literal["up", "down"] | None = None,
    ) -> None:
        super().__init__()
        self.resample = RESAMPLERS[resample] if resample else nn.Identity()
        self.norm1 = AdaptiveGroupNorm(inputs, style_features)
        self.conv1 = conv(inputs, outputs, 3)
        self.time = linear(time_features, outputs)
        self.norm2 = AdaptiveGroupNorm(outputs, style_features)
        self.conv2 = conv(outputs, outputs, 3, scale=NEARLY_ZERO)
        same = inputs == outputs and resample is None
        self.skip = nn.Identity() if same else conv(inputs, outputs, 1)

    def forward(self, h: Tensor, t: Tensor, w: Tensor | None) -> Tensor:
        """h (B, inputs, H, W); t the activated time embedding; w the mapped latent."""
        residual = self.resample(self.norm1(h, w))
        residual = self.conv1(residual).add_(self.time(t)[:, :, None, None])
        residual = self.conv2(self.norm2(residual, w))
        return (self.skip(self.resample(h)) + residual).mul_(HALF)


class PyramidStep(nn.Module):
    """One scale of the input pyramid: FIR with padding 2, then an unpadded stride-2 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = conv(inputs, outputs, 3)

    def forward(self, pyramid: Tensor) -> Tensor:
        return F.conv2d(blur(pyramid, padding=2), self.conv.weight, self.conv.bias, stride=2)


class EncoderLevel(nn.Module):
    """Residual blocks (each followed by attention where asked for), then the step to half the size."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        num_blocks: int,
        embedding: tuple[int, int],
        *,
        attention: bool,
        pyramid_channels: int | None,
    ) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * num_blocks
        self.blocks = nn.ModuleList(ResidualBlock(a, b, *embedding) for a, b in pairwise(widths))
        self.attentions = nn.ModuleList(
            Attention(outputs) if attention else nn.Identity() for _ in range(num_blocks)
        )
        if pyramid_channels is None:  # the coarsest level
            self.down, self.pyramid = None, None
        else:
            self.down = ResidualBlock(outputs, outputs, *embedding, resample="down")
            self.pyramid = PyramidStep(pyramid_channels, outputs)

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
    """Residual blocks over the encoder's features, attention after the last, then twice the size."""

    def __init__(
        self,
        inputs: int,
        skips: list[int],
        outputs: int,
        embedding: tuple[int, int],
        *,
        attention: bool,
        up: bool,
    ) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * (len(skips) - 1)
        self.blocks = nn.ModuleList(
            ResidualBlock(width + skip, outputs, *embedding)
            for width, skip in zip(widths, skips, strict=True)
        )
        self.attention = Attention(outputs) if attention else nn.Identity()
        self.up = ResidualBlock(outputs, outputs, *embedding, resample="up") if up else None

    def forward(self, h: Tensor, t: Tensor, w: Tensor | None, skips: list[Tensor]) -> Tensor:
        for block in self.blocks:
            h = block(torch.cat([h, skips.pop()], dim=1), t, w)
        h = self.attention(h)
        return h if self.up is None else self.up(h, t, w)


class Generator(nn.Module):
    """G(x_t, t, z, y) -> prediction, all of shape (B, C, H, W); with tanh the output is in [-1, 1].

    `t` is int64 (B,) in 1..T, `z` is (B, latent_size), `y` int64 (B,) in 0..num_classes or None. Source:
    paper section 4 and appendix, but for the classes, which are ours; at the default settings it has
    48,432,515 parameters, as published.
    """

    def __init__(self, config: NCSNppConfig, num_classes: int = 0) -> None:
        super().__init__()
        self.config = config
        base = config.base_channels
        widths = [base * multiplier for multiplier in config.channel_multipliers]
        style = config.mapping_features if config.latent_size or num_classes else 0
        embedding = (4 * base, style)

        self.time_embedding = TimeEmbedding(base, 4 * base, nn.SiLU())
        self.mapping = (
            MappingNetwork(config.latent_size, style, config.mapping_depth, num_classes) if style else None
        )
        self.input = conv(config.image_channels, base, 3)

        skips, width, pyramid = [base], base, config.image_channels
        self.encoder = nn.ModuleDict()
        for resolution, outputs in zip(config.resolutions, widths, strict=True):
            last = resolution == config.resolutions[-1]
            self.encoder[f"{resolution}x{resolution}"] = EncoderLevel(
                width,
                outputs,
                config.num_blocks,
                embedding,
                attention=resolution in config.attention_resolutions,
                pyramid_channels=None if last else pyramid,
            )
            skips += [outputs] * (config.num_blocks + (not last))
            width = pyramid = outputs

        self.middle_block1 = ResidualBlock(width, width, *embedding)
        self.middle_attention = Attention(width)
        self.middle_block2 = ResidualBlock(width, width, *embedding)

        self.decoder = nn.ModuleDict()
        for resolution, outputs in zip(config.resolutions[::-1], widths[::-1], strict=True):
            self.decoder[f"{resolution}x{resolution}"] = DecoderLevel(
                width,
                [skips.pop() for _ in range(config.num_blocks + 1)],
                outputs,
                embedding,
                attention=resolution in config.attention_resolutions,
                up=resolution != config.image_size,
            )
            width = outputs
        self.output_norm = group_norm(width)
        self.output = conv(width, config.image_channels, 3, scale=NEARLY_ZERO)

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, y: Tensor | None = None) -> Tensor:
        time = F.silu(self.time_embedding(t))
        w = None if self.mapping is None else self.mapping(z, y)
        h, pyramid = self.input(x_t), x_t
        skips = [h]
        for level in self.encoder.values():
            h, pyramid = level(h, pyramid, time, w, skips)
        h = self.middle_block1(h, time, w)
        h = self.middle_block2(self.middle_attention(h), time, w)
        for level in self.decoder.values():
            h = level(h, time, w, skips)
        h = self.output(group_norm_silu(self.output_norm, h))
        return torch.tanh(h) if self.config.tanh else h
