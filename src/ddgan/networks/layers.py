"""Building blocks of both networks: initialisation, embeddings, norms, attention.

Shapes: samples and features (B, C, *spatial) of one to three spatial dimensions, embeddings (B, F).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks import resample
from ddgan.networks.conditions import Condition
from ddgan.networks.kernels.group_norm import group_norm_silu
from ddgan.networks.kernels.winograd import Conv2d, kernels_kept

__all__ = [
    "AdaptiveGroupNorm",
    "Attention",
    "ClassEmbedding",
    "ClassProjection",
    "Conv2d",
    "TimeEmbedding",
    "conv",
    "group_norm",
    "group_norm_silu",
    "kernels_kept",
    "linear",
    "sinusoidal_embedding",
    "variance_scaling_",
    "with_class",
]

NEARLY_ZERO = 1e-10
"""Initial scale of the last layer of a block, so that the block starts as its skip path."""
Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVOLUTIONS: Mapping[int, Callable[..., Conv]] = {1: nn.Conv1d, 2: Conv2d, 3: nn.Conv3d}
"""Number of spatial dimensions -> the class of its convolutions."""


def variance_scaling_(weight: Tensor, scale: float = 1.0) -> None:
    """Initialise uniformly with variance scale / fan_average, in place."""
    receptive = math.prod(weight.shape[2:])
    fan_average = (weight.shape[0] + weight.shape[1]) * receptive / 2
    bound = math.sqrt(3 * scale / fan_average)
    nn.init.uniform_(weight, -bound, bound)


def linear(inputs: int, outputs: int, scale: float = 1.0) -> nn.Linear:
    """Build a linear layer with variance scaling and zero bias."""
    layer = nn.Linear(inputs, outputs)
    variance_scaling_(layer.weight, scale)
    nn.init.zeros_(layer.bias)
    return layer


def conv(
    inputs: int, outputs: int, size: int, dimensions: int = 2, *, scale: float = 1.0, bias: bool = True
) -> Conv:
    """Build a convolution that keeps the spatial sizes (`size` is odd), variance scaling, zero bias."""
    layer = CONVOLUTIONS[dimensions](inputs, outputs, size, padding=size // 2, bias=bias)
    variance_scaling_(layer.weight, scale)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def sinusoidal_embedding(index: Tensor, features: int, dtype: torch.dtype) -> Tensor:
    """Embed indices (B,) as (B, features): sines, then cosines, at frequencies 10000^(-i / (half - 1))."""
    half = features // 2
    exponent = torch.arange(half, device=index.device, dtype=dtype) / max(half - 1, 1)
    angle = index[:, None].to(dtype) * torch.exp(-math.log(10000.0) * exponent)
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """t in 1..T -> (B, features): sinusoid of t - 1 -> Linear -> activation -> Linear."""

    def __init__(self, frequencies: int, features: int, activation: nn.Module) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.input = linear(frequencies, features)
        self.activation = activation
        self.output = linear(features, features)

    def forward(self, t: Tensor) -> Tensor:
        dtype = self.input.weight.dtype
        exact = torch.promote_types(dtype, torch.float32)  # angles are too large for bfloat16
        embedding = sinusoidal_embedding(t - 1, self.frequencies, exact).to(dtype)
        features: Tensor = self.output(self.activation(self.input(embedding)))
        return features


class ClassEmbedding(nn.Module):
    """Classes int64 (B,) -> (B, features); class `num_classes` is the null class ("no class given").

    Without labels (None), every sample gets the null class.
    """

    def __init__(self, num_classes: int, features: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.table = nn.Embedding(num_classes + 1, features)

    def forward(self, y: Tensor | None, batch: int) -> Tensor:
        if y is None:
            y = torch.full((batch,), self.num_classes, device=self.table.weight.device)
        features: Tensor = self.table(y)
        return features


class ClassProjection(nn.Module):
    """Discriminator features (B, F) and classes (B,) -> (B,): the class-dependent part of the logit."""

    def __init__(self, num_classes: int, features: int) -> None:
        super().__init__()
        self.classes = ClassEmbedding(num_classes, features)
        nn.init.normal_(self.classes.table.weight, std=features**-0.5)

    def forward(self, features: Tensor, y: Tensor | None) -> Tensor:
        of_class: Tensor = self.classes(y, len(features))
        return (features * of_class).sum(dim=1)


def with_class(
    logits: Tensor, projection: ClassProjection | None, features: Tensor, condition: Condition | None
) -> Tensor:
    """Add to D's logits (B,) the part that depends on the class, if D has a projection for it."""
    if projection is None:
        return logits
    of_class: Tensor = projection(features, None if condition is None else condition.label)
    return logits + of_class


def num_groups(channels: int) -> int:
    """Number of groups of a group norm: the largest divisor of `channels` up to min(channels / 4, 32)."""
    limit = max(min(channels // 4, 32), 1)
    return next(groups for groups in range(limit, 0, -1) if channels % groups == 0)


def group_norm(channels: int) -> nn.GroupNorm:
    """Build a group norm with learned scale and shift."""
    return nn.GroupNorm(num_groups(channels), channels, eps=1e-6)


class AdaptiveGroupNorm(nn.Module):
    """Group norm with scale and shift from the mapped latent w (B, style_features), then SiLU.

    With style_features = 0 there is no latent, and scale and shift are parameters.
    """

    def __init__(self, channels: int, style_features: int) -> None:
        super().__init__()
        if style_features:
            self.norm = nn.GroupNorm(num_groups(channels), channels, eps=1e-6, affine=False)
            self.style: nn.Linear | None = linear(style_features, 2 * channels)
            nn.init.ones_(self.style.bias[:channels])
        else:
            self.norm = group_norm(channels)
            self.style = None

    def forward(self, h: Tensor, w: Tensor | None) -> Tensor:
        if self.style is None:
            return group_norm_silu(self.norm, h)
        scale, shift = self.style(w).chunk(2, dim=1)
        return group_norm_silu(self.norm, h, scale, shift)


class Attention(nn.Module):
    """Self-attention over positions, one head, scaled by channels^-1/2; (h + attended) / sqrt(2)."""

    def __init__(self, channels: int, dimensions: int = 2) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.query = conv(channels, channels, 1, dimensions, scale=0.1)
        self.key = conv(channels, channels, 1, dimensions, scale=0.1)
        self.value = conv(channels, channels, 1, dimensions, scale=0.1)
        self.output = conv(channels, channels, 1, dimensions, scale=NEARLY_ZERO)

    def forward(self, h: Tensor) -> Tensor:
        normed = self.norm(h)
        query, key, value = (
            layer(normed).flatten(2).transpose(1, 2).unsqueeze(1)  # (B, 1, places, C)
            for layer in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        attended = attended.squeeze(1).transpose(1, 2).reshape(h.shape)
        update: Tensor = self.output(attended)
        return (h + update) * math.sqrt(0.5)


RESAMPLERS = {"up": resample.upsample, "down": resample.downsample}
