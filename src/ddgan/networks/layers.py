"""Building blocks of both networks: initialisation, embeddings, norms, attention.

Shapes: samples and features (B, C, *spatial) of one to three spatial dimensions, embeddings (B, F).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.networks import resample
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.kernels.group_norm import group_norm_silu
from ddgan.networks.kernels.winograd import Conv2d, kernels_kept

__all__ = [
    "AdaptiveGroupNorm",
    "Attention",
    "ClassEmbedding",
    "Conditioning",
    "Conv2d",
    "TimeEmbedding",
    "VectorEmbedding",
    "condition_embedding",
    "condition_projection",
    "conv",
    "embedded",
    "group_norm",
    "group_norm_silu",
    "image_condition",
    "kernels_kept",
    "linear",
    "projected",
    "sinusoidal_embedding",
    "variance_scaling_",
    "with_image",
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


class VectorEmbedding(nn.Module):
    """Vectors and their presence, (B, F + 1) -> (B, features): a linear map, of nothing to zeros.

    Standardised features give a mean square of `scale`^2.
    """

    def __init__(self, vector_inputs: int, features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.linear = nn.Linear(vector_inputs, features, bias=False)
        nn.init.normal_(self.linear.weight, std=scale * vector_inputs**-0.5)

    def forward(self, vector: Tensor | None, batch: int) -> Tensor:
        weight = self.linear.weight
        if vector is None:
            return weight.new_zeros(batch, len(weight))
        features: Tensor = self.linear(vector.to(weight.dtype))
        return features


class ConditionEmbedding(nn.Module):
    """Labels and vectors of B samples -> (B, features), the sum of the embeddings of both.

    Args:
        conditions: what there is; a label, a vector, or both.
        features: of the embedding.
        scale: standard deviation of its values, about.
    """

    def __init__(self, conditions: ConditionShapes, features: int, scale: float = 1.0) -> None:
        super().__init__()
        self.classes = self.vector = None
        if conditions.num_classes:
            self.classes = ClassEmbedding(conditions.num_classes, features)
            nn.init.normal_(self.classes.table.weight, std=scale)
        if conditions.vector_inputs:
            self.vector = VectorEmbedding(conditions.vector_inputs, features, scale)

    def forward(self, condition: Condition | None, batch: int) -> Tensor:
        label, vector, _ = condition or Condition()
        parts: list[Tensor] = []
        if self.classes is not None:
            parts.append(self.classes(label, batch))
        if self.vector is not None:
            parts.append(self.vector(vector, batch))
        return parts[0] if len(parts) == 1 else parts[0] + parts[1]


Conditioning = Literal["projection", "embedding"]
"""How labels and vectors enter a discriminator: the inner product of an embedding with D's features is added
to the logit (Miyato and Koyama, 2018), or an embedding is added to that of t."""


def condition_embedding(
    conditions: ConditionShapes, features: int, scale: float = 1.0
) -> ConditionEmbedding | None:
    """Build the embedding of labels and vectors; None if there are neither."""
    if not conditions.num_classes and not conditions.vector_features:
        return None
    return ConditionEmbedding(conditions, features, scale)


def condition_projection(conditions: ConditionShapes, features: int) -> ConditionEmbedding | None:
    """Build the embedding whose inner product with D's features is added to its logits; see `projected`."""
    return condition_embedding(conditions, features, features**-0.5)


def projected(
    logits: Tensor, projection: ConditionEmbedding | None, features: Tensor, condition: Condition | None
) -> Tensor:
    """Add to D's logits (B,) the part that depends on label and vector, if D has a projection for them."""
    if projection is None:
        return logits
    embedding: Tensor = projection(condition, features.shape[0])
    return logits + (features * embedding).sum(dim=1)


def embedded(time: Tensor, embedding: ConditionEmbedding | None, condition: Condition | None) -> Tensor:
    """Add to the embedding of t (B, F) that of label and vector, if D has one."""
    return time if embedding is None else time + embedding(condition, time.shape[0])


def image_condition(condition: Condition | None, like: Tensor, inputs: int) -> Tensor:
    """Return image conditions with their presence, (B, inputs, *spatial); zeros where there are none.

    Args:
        condition: the conditions.
        like: the samples (B, C, *spatial).
        inputs: C' + 1.
    """
    image = None if condition is None else condition.image
    if image is None:
        return like.new_zeros(like.shape[0], inputs, *like.shape[2:])
    return image.to(like.dtype)


def with_image(x: Tensor, condition: Condition | None, inputs: int) -> Tensor:
    """Append an image condition to the channels of x: (B, C, *spatial) -> (B, C + inputs, *spatial)."""
    return torch.cat([x, image_condition(condition, x, inputs)], dim=1) if inputs else x


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
