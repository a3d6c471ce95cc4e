"""The time-dependent discriminator D(x_{t-1}, x_t, t) (paper section 4, "Discriminator").

A residual network on the concatenated images, signals or volumes. One class covers the published small
(32 px) and large (256 px) discriminators, which differ in the number of blocks and in where they halve the
size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from annotated_types import Len
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.config.components import register
from ddgan.config.settings import Interval, SettingError
from ddgan.networks.axes import check_spatial, in_words, per_channel, spatial_axes
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.layers import (
    NEARLY_ZERO,
    Conditioning,
    TimeEmbedding,
    condition_embedding,
    condition_projection,
    conv,
    embedded,
    linear,
    projected,
    with_image,
)
from ddgan.networks.resample import downsample

__all__ = ["SLOPE", "Discriminator", "ResNetDiscriminatorConfig", "minibatch_stddev", "whole_groups"]

SLOPE = 0.2
"""Negative slope of every leaky ReLU."""


@register("discriminator", "resnet")
class ResNetDiscriminatorConfig:
    """Settings of the convolutional discriminator; the defaults are the paper's for CIFAR-10.

    The published large one has channel_multipliers (2, 4, 4, 4, 4, 4), and each block halves the size.

    Args:
        base_channels: features after the first convolution.
        channel_multipliers: output features of each residual block, in units of base_channels.
        downsample: for each block, whether it halves the size.
        time_features: width of the time embedding; even.
        stddev_group: images per group of the minibatch standard deviation; 0 disables it.
        pooling: how the last features become the logit: "sum" over all places, or "flat": a hidden layer
            sees each place, which suits aligned images; not in the paper.
        conditioning: how labels and vectors enter: "projection", or "embedding", added to that of t; an image
            condition is always appended to the channels.
    """

    base_channels: Annotated[int, Interval(ge=1, le=4096)] = 128
    channel_multipliers: Annotated[
        tuple[Annotated[int, Interval(ge=1, le=64)], ...], Len(min_length=1, max_length=32)
    ] = (1, 2, 4, 4)
    downsample: Annotated[tuple[bool, ...], Len(min_length=1, max_length=32)] = (False, True, True, True)
    time_features: Annotated[int, Interval(ge=2, le=65_536)] = 256
    stddev_group: Annotated[int, Interval(ge=0, le=65_536)] = 4
    pooling: Literal["sum", "flat"] = "sum"
    conditioning: Conditioning = "projection"

    def __post_init__(self) -> None:
        if len(self.downsample) != len(self.channel_multipliers):
            raise SettingError(
                "downsample",
                f"has {len(self.downsample)} entries and channel_multipliers "
                f"{len(self.channel_multipliers)}; each needs one per block",
            )
        if self.time_features % 2:
            raise SettingError("time_features", f"is {self.time_features}; it must be even")

    @property
    def size_divisor(self) -> int:
        """The spatial sizes must be multiples of this number."""
        return int(2 ** sum(self.downsample))

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> Discriminator:
        """Build the network for samples (C, *spatial), with newly initialised weights.

        Raises:
            SettingError: if the samples have other than 1 to 3 spatial dimensions, or their size cannot be
                halved that often.
        """
        check_spatial("resnet", sample_shape)
        if any(size % self.size_divisor for size in sample_shape[1:]):
            raise SettingError(
                "downsample",
                f"halves the size {sum(self.downsample)} times, but the samples have size "
                f"{in_words(sample_shape[1:])}; use sizes that are multiples of {self.size_divisor}, or "
                "fewer halvings",
            )
        channels, *sizes = sample_shape
        places = math.prod(size // self.size_divisor for size in sizes)
        return Discriminator(self, channels, conditions, places, len(sizes))


class DiscriminatorBlock(nn.Module):
    """act, conv, + t, act, [FIR / 2 on both branches], conv; plus skip, / sqrt(2)."""

    is_recomputable = True

    def __init__(self, inputs: int, outputs: int, time_features: int, dimensions: int, *, down: bool) -> None:
        super().__init__()
        self.resample = downsample if down else nn.Identity()
        self.conv1 = conv(inputs, outputs, 3, dimensions)
        self.time = linear(time_features, outputs)
        self.conv2 = conv(outputs, outputs, 3, dimensions, scale=NEARLY_ZERO)
        self.skip = conv(inputs, outputs, 1, dimensions, bias=False)

    def forward(self, h: Tensor, t: Tensor) -> Tensor:
        residual: Tensor = self.conv1(F.leaky_relu(h, SLOPE))
        residual = residual.add_(per_channel(self.time(t), residual))
        residual = self.conv2(self.resample(F.leaky_relu_(residual, SLOPE)))
        skip: Tensor = self.skip(self.resample(h))
        return (skip + residual).mul_(math.sqrt(0.5))


def minibatch_stddev(h: Tensor, group: int) -> Tensor:
    """Append a map with the standard deviation over groups of samples, (B, C, *spatial) -> (B, C+1, ...).

    With M = ceil(B / group) groups, group j holds the samples j, j + M, j + 2M, ..., so any batch size
    works: group sizes differ by at most one and never exceed `group`. Of float16 features it is computed in
    float32, as squares of small deviations would vanish.
    """
    given, h = h, (h.float() if h.dtype == torch.float16 else h)
    batch, each = h.shape[0], [1] * (h.ndim - 1)
    num_groups = -(-batch // group)
    rows = -(-batch // num_groups)
    size = torch.full((num_groups,), rows, device=h.device, dtype=h.dtype)
    missing = rows * num_groups - batch
    if missing:
        size[num_groups - missing :] -= 1
    size = size.view(-1, *each)

    def grouped(values: Tensor) -> Tensor:  # (B, ...) -> (rows, M, ...), zeros for missing samples
        filled = torch.cat([values, values.new_zeros(missing, *values.shape[1:])]) if missing else values
        by_row: Tensor = filled.unflatten(0, (rows, num_groups))
        return by_row

    mean = grouped(h).sum(dim=0) / size
    deviation = h - mean.repeat(rows, *each)[:batch]
    variance = grouped(deviation.square()).sum(dim=0) / size
    stddev = (variance + 1e-8).sqrt().mean(dim=(1, *spatial_axes(h)))  # (M,)
    maps = stddev.repeat(rows)[:batch].view(-1, *each).expand(-1, 1, *h.shape[2:])
    return torch.cat([given, maps.to(given.dtype)], dim=1)


def whole_groups(group: int, count: int, share: float) -> Sequence[int]:
    """Return about a share of `count` rows: whole groups of the minibatch standard deviation, kept in order.

    All rows if the groups differ in size.
    """
    group = group or 1
    num_groups = -(-count // group)
    if group * num_groups != count:
        return range(count)
    chosen = max(1, round(share * num_groups))
    return [row * num_groups + index for row in range(group) for index in range(chosen)]


class Discriminator(nn.Module):
    """D(x_prev, x_t, t, condition) -> (B,) logits: is (x_{t-1}, x_t) a real pair of the forward process?

    x_prev and x_t are (B, C, *spatial), t is int64 (B,) in 1..T. Conditions are not in the paper: labels and
    vectors enter through a projection (Miyato and Koyama, 2018), or as the settings say, and an image is
    appended to the channels of the pair.

    Args:
        config: its settings.
        channels: C of a sample.
        conditions: what it is conditioned on.
        places: number of places of the last feature map, which a `flat` pooling needs.
        dimensions: number of spatial dimensions.
    """

    input_blocks = 2

    def __init__(
        self,
        config: ResNetDiscriminatorConfig,
        channels: int,
        conditions: ConditionShapes = ConditionShapes(),
        places: int = 1,
        dimensions: int = 2,
    ) -> None:
        super().__init__()
        self.config = config
        self.image_inputs = conditions.image_inputs
        features = config.time_features
        widths = [config.base_channels * m for m in (1, *config.channel_multipliers)]
        self.time_embedding = TimeEmbedding(features, features, nn.LeakyReLU(SLOPE))
        self.input = conv(2 * channels + self.image_inputs, widths[0], 1, dimensions)
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(a, b, features, dimensions, down=down)
            for a, b, down in zip(widths[:-1], widths[1:], config.downsample, strict=True)
        )
        last = widths[-1]
        self.output_conv = conv(last + (config.stddev_group > 0), last, 3, dimensions, scale=NEARLY_ZERO)
        self.hidden = linear(places * last, last) if config.pooling == "flat" else None
        self.output = linear(last, 1)
        is_projected = config.conditioning == "projection"
        self.projection = condition_projection(conditions, last) if is_projected else None
        self.embedding = None if is_projected else condition_embedding(conditions, features)

    @property
    def early_layers(self) -> list[list[nn.Module]]:
        """The modules of each block; the input and t belong to the first."""
        first, *others = self.blocks
        return [[self.time_embedding, self.input, first], *([block] for block in others)]

    def independent_rows(self, count: int, share: float) -> Sequence[int]:
        """Return about a share of `count` rows, whose logits do not depend on the others."""
        return whole_groups(self.config.stddev_group, count, share)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        time = F.leaky_relu(embedded(self.time_embedding(t), self.embedding, condition), SLOPE)
        h = self.input(with_image(torch.cat([x_prev, x_t], dim=1), condition, self.image_inputs))
        for block in self.blocks:
            h = block(h, time)
        if self.config.stddev_group:
            h = minibatch_stddev(h, self.config.stddev_group)
        h = F.leaky_relu(self.output_conv(h), SLOPE)
        if self.hidden is None:
            features = h.sum(dim=spatial_axes(h))
        else:
            features = F.leaky_relu(self.hidden(h.flatten(1)), SLOPE)
        logits: Tensor = self.output(features).squeeze(1)
        return projected(logits, self.projection, features, condition)
