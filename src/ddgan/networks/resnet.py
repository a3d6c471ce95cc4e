"""The time-dependent discriminator D(x_{t-1}, x_t, t) (paper section 4, "Discriminator").

A residual network over the two images side by side; one class covers the published small (32 px) and
large (256 px) ones, which differ in the number of blocks and in where they halve the size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks.layers import NEARLY_ZERO, ClassProjection, TimeEmbedding, conv, linear
from ddgan.networks.resample import downsample

SLOPE = 0.2
"""Negative slope of every leaky ReLU."""


@dataclass(frozen=True)
class ResNetDiscriminatorConfig:
    """Settings of the convolutional discriminator; the defaults are the paper's for CIFAR-10.

    The published large one has channel_multipliers (2, 4, 4, 4, 4, 4), each block halving the size.

    Args:
        kind: names this network in a configuration.
        base_channels: features after the first convolution.
        channel_multipliers: output features of each residual block, in units of base_channels.
        downsample: for each block, whether it halves height and width.
        time_features: width of the time embedding; even.
        stddev_group: images per group of the minibatch standard deviation; 0 leaves it out.
    """

    kind: Literal["resnet"] = "resnet"
    base_channels: int = 128
    channel_multipliers: tuple[int, ...] = (1, 2, 4, 4)
    downsample: tuple[bool, ...] = (False, True, True, True)
    time_features: int = 256
    stddev_group: int = 4

    def __post_init__(self) -> None:
        if self.base_channels < 1:
            raise ValueError(f"discriminator.base_channels is {self.base_channels}; it must be at least 1")
        if len(self.downsample) != len(self.channel_multipliers) or not self.downsample:
            raise ValueError(
                f"discriminator.downsample has {len(self.downsample)} entries and channel_multipliers "
                f"{len(self.channel_multipliers)}; each needs one per block"
            )
        if min(self.channel_multipliers) < 1:
            raise ValueError("discriminator.channel_multipliers must each be at least 1")
        if self.time_features < 2 or self.time_features % 2:
            raise ValueError(
                f"discriminator.time_features is {self.time_features}; it must be even and at least 2"
            )
        if self.stddev_group < 0:
            raise ValueError(f"discriminator.stddev_group is {self.stddev_group}; it must be 0 or more")

    @property
    def size_divisor(self) -> int:
        """Height and width must be multiples of this."""
        return int(2 ** sum(self.downsample))


class DiscriminatorBlock(nn.Module):
    """act, conv, + t, act, [FIR / 2 on both branches], conv; plus skip, / sqrt(2)."""

    def __init__(self, inputs: int, outputs: int, time_features: int, *, down: bool) -> None:
        super().__init__()
        self.resample = downsample if down else nn.Identity()
        self.conv1 = conv(inputs, outputs, 3)
        self.time = linear(time_features, outputs)
        self.conv2 = conv(outputs, outputs, 3, scale=NEARLY_ZERO)
        self.skip = conv(inputs, outputs, 1, bias=False)

    def forward(self, h: Tensor, t: Tensor) -> Tensor:
        residual = self.conv1(F.leaky_relu(h, SLOPE)).add_(self.time(t)[:, :, None, None])
        residual = self.conv2(self.resample(F.leaky_relu_(residual, SLOPE)))
        return (self.skip(self.resample(h)) + residual).mul_(math.sqrt(0.5))


def minibatch_stddev(h: Tensor, group: int) -> Tensor:
    """Append one map with the standard deviation over groups of images: (B, C, H, W) -> (B, C+1, H, W).

    With M = ceil(B / group) groups, group j holds the images j, j + M, j + 2M, ..., so any batch size
    works: the groups' sizes differ by at most one and never exceed `group`.
    """
    batch, _, height, width = h.shape
    num_groups = -(-batch // group)
    rows = -(-batch // num_groups)
    size = torch.full((num_groups,), rows, device=h.device, dtype=h.dtype)
    missing = rows * num_groups - batch
    if missing:
        size[num_groups - missing :] -= 1
    size = size.view(-1, 1, 1, 1)

    def grouped(values: Tensor) -> Tensor:  # (B, ...) -> (rows, M, ...), zeros where an image lacks
        filled = torch.cat([values, values.new_zeros(missing, *values.shape[1:])]) if missing else values
        return filled.unflatten(0, (rows, num_groups))

    mean = grouped(h).sum(dim=0) / size
    deviation = h - mean.repeat(rows, 1, 1, 1)[:batch]
    variance = grouped(deviation.square()).sum(dim=0) / size
    stddev = (variance + 1e-8).sqrt().mean(dim=(1, 2, 3))  # (M,)
    maps = stddev.repeat(rows)[:batch].view(-1, 1, 1, 1).expand(-1, 1, height, width)
    return torch.cat([h, maps], dim=1)


class Discriminator(nn.Module):
    """D(x_prev, x_t, t, y) -> (B,) logits: is (x_{t-1}, x_t) a true pair of the forward process?

    x_prev and x_t are (B, C, H, W), t is int64 (B,) in 1..T, y int64 (B,) in 0..num_classes or None.
    Classes, which the paper does not have, enter as a projection (Miyato and Koyama, 2018).
    """

    def __init__(self, config: ResNetDiscriminatorConfig, image_channels: int, num_classes: int = 0) -> None:
        super().__init__()
        self.config = config
        features = config.time_features
        widths = [config.base_channels * m for m in (1, *config.channel_multipliers)]
        self.time_embedding = TimeEmbedding(features, features, nn.LeakyReLU(SLOPE))
        self.input = conv(2 * image_channels, widths[0], 1)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(a, b, features, down=down)
            for a, b, down in zip(widths[:-1], widths[1:], config.downsample, strict=True)
        )
        last = widths[-1]
        self.output_conv = conv(last + (config.stddev_group > 0), last, 3, scale=NEARLY_ZERO)
        self.output = linear(last, 1)
        self.projection = ClassProjection(num_classes, last) if num_classes else None

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, y: Tensor | None = None) -> Tensor:
        time = F.leaky_relu(self.time_embedding(t), SLOPE)
        h = self.input(torch.cat([x_prev, x_t], dim=1))
        for block in self.blocks:
            h = block(h, time)
        if self.config.stddev_group:
            h = minibatch_stddev(h, self.config.stddev_group)
        h = F.leaky_relu(self.output_conv(h), SLOPE)
        features = h.sum(dim=(2, 3))
        logits = self.output(features).squeeze(1)
        return logits if self.projection is None else logits + self.projection(features, y)
