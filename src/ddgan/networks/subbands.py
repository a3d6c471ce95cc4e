"""Networks on a quarter of the pixels: any generator and discriminator between a transform and its inverse.

    unshuffle   the four pixels of each 2 x 2 block become four channels
    haar        the four Haar sub-bands of the block: its mean, and horizontal, vertical and diagonal details

Both are orthonormal, so noise stays noise: x_t has the same distribution of noise in every channel. A network
then costs about a quarter (WaveDiff, arXiv 2211.16152, does this with DDGAN's networks). Signals are split
into two sub-bands, from blocks of two values, and volumes into eight. An image condition is split as the
samples are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.config.components import Component, default, register
from ddgan.config.settings import SettingError
from ddgan.networks.axes import check_spatial, in_words, spatial_axes
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.interfaces import (
    DiscriminatorConfig,
    GeneratorConfig,
    activation_floats,
    build_as,
    early_layers,
    image_inputs,
    independent_rows,
    input_blocks,
)

__all__ = [
    "SubbandDiscriminator",
    "SubbandDiscriminatorConfig",
    "SubbandGenerator",
    "SubbandGeneratorConfig",
    "merged",
    "split",
]

Transform = Literal["haar", "unshuffle"]


def split(x: Tensor, transform: Transform) -> Tensor:
    """Split samples into K sub-bands: (B, C, *sizes) -> (B, K C, *(sizes / 2)); all sizes are even.

    K is 2, 4 or 8, a factor of 2 for each spatial dimension. The sub-bands of a channel are side by side.
    """
    blocks = F.pixel_unshuffle(x, 2) if x.ndim == 4 else _unshuffled(x)
    return _mixed(blocks) if transform == "haar" else blocks


def merged(bands: Tensor, transform: Transform) -> Tensor:
    """Merge K sub-bands into samples, the inverse of `split`: (B, K C, *sizes) -> (B, C, *(2 sizes))."""
    blocks = _mixed(bands) if transform == "haar" else bands
    return F.pixel_shuffle(blocks, 2) if bands.ndim == 4 else _shuffled(blocks)


def _unshuffled(x: Tensor) -> Tensor:
    """Do as `F.pixel_unshuffle` in any number of dimensions: the values of each block become channels."""
    dimensions = x.ndim - 2
    for axis in range(dimensions):
        x = x.unflatten(2 + 2 * axis, (-1, 2))  # (B, C, size / 2, 2, ...)
    outer, inner = range(2, x.ndim, 2), range(3, x.ndim, 2)
    return x.permute(0, 1, *inner, *outer).flatten(1, 1 + dimensions)


def _shuffled(blocks: Tensor) -> Tensor:
    """Do as `F.pixel_shuffle` in any number of dimensions, the inverse of `_unshuffled`."""
    dimensions = blocks.ndim - 2
    x: Tensor = blocks.unflatten(1, (-1, *[2] * dimensions))
    pairs = [axis for one in range(dimensions) for axis in (2 + dimensions + one, 2 + one)]
    x = x.permute(0, 1, *pairs)
    for axis in range(dimensions):
        x = x.flatten(2 + axis, 3 + axis)
    return x


def _mixed(x: Tensor) -> Tensor:
    """Multiply the K channels of each block by the Haar matrix, which is its own inverse."""
    dimensions = x.ndim - 2
    matrix = torch.tensor(_signs(dimensions), dtype=x.dtype, device=x.device) / largest("haar", dimensions)
    bands: Tensor = torch.einsum("ij,bcj...->bci...", matrix, x.unflatten(1, (-1, 2**dimensions)))
    return bands.flatten(1, 2)


def _signs(dimensions: int) -> list[list[int]]:
    """Return the signs of a block's values in each Haar sub-band, (K, K).

    Those of an image's pixels (top left, top right, bottom left, bottom right) are (1, 1, 1, 1),
    (1, -1, 1, -1), (1, 1, -1, -1) and (1, -1, -1, 1): a sub-band is a difference along some of the axes, and
    each along which a value is the second changes its sign.
    """
    count = range(2**dimensions)
    return [[(-1) ** (band & place).bit_count() for place in count] for band in count]


def largest(transform: Transform, dimensions: int) -> float:
    """Return the largest absolute value in a sub-band of a sample in [-1, 1]."""
    return math.sqrt(2**dimensions) if transform == "haar" else 1.0


def inner_shape(sample_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that the inner network sees.

    Raises:
        SettingError: if the samples have other than 1 to 3 spatial dimensions, or an odd size.
    """
    check_spatial("subbands", sample_shape)
    channels, *sizes = sample_shape
    if any(size % 2 for size in sizes):
        raise SettingError(
            "kind",
            f"is subbands, which needs even sizes, but the samples have size {in_words(sizes)}; use the "
            "inner network alone",
        )
    return 2 ** len(sizes) * channels, *(size // 2 for size in sizes)


def _inner(
    network: GeneratorConfig | DiscriminatorConfig,
    sample_shape: tuple[int, ...],
    conditions: ConditionShapes,
) -> nn.Module:
    """Build the network of the sub-bands of samples (C, *spatial), and of those of their image conditions."""
    shape = inner_shape(sample_shape)
    channels = conditions.image_channels * (shape[0] // sample_shape[0])
    return build_as("network", network, shape, conditions._replace(image_channels=channels))


@register("generator", "subbands")
class SubbandGeneratorConfig:
    """A generator that works on sub-bands.

    Args:
        transform: "haar" or "unshuffle".
        network: the generator of the sub-bands; if it has tanh, they reach the largest value of a sub-band.
    """

    kind: ClassVar[str]
    transform: Transform = "haar"
    network: Annotated[GeneratorConfig, Component("generator")] = default("generator", "ncsnpp")

    @property
    def latent_size(self) -> int:
        return self.network.latent_size

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> SubbandGenerator:
        """Build the network for samples (C, *spatial), with newly initialised weights."""
        return SubbandGenerator(self.transform, _inner(self.network, sample_shape, conditions))

    def activation_floats(self, sample_shape: tuple[int, ...]) -> int:
        """Estimate how many floats a call of the network needs per sample."""
        return activation_floats(self.network, inner_shape(sample_shape))


class _OnSubbands(nn.Module):
    """A network around another, which works on sub-bands."""

    def __init__(self, transform: Transform, network: nn.Module) -> None:
        super().__init__()
        self.transform, self.network = transform, network

    def _inside(self, condition: Condition | None) -> Condition | None:
        """Return the conditions of the sub-bands: of an image, its own and its presence at their size."""
        if condition is None or condition.image is None:
            return condition
        image, presence = condition.image[:, :-1], condition.image[:, -1:]
        for axis in spatial_axes(image):
            presence = presence.unflatten(axis, (-1, 2)).select(axis + 1, 0)
        return condition._replace(image=torch.cat([split(image, self.transform), presence], dim=1))

    @property
    def input_blocks(self) -> int:
        """Those of the inner network."""
        return input_blocks(self.network)

    @property
    def image_inputs(self) -> int:
        """Those of the inner network."""
        return image_inputs(self.network)

    @property
    def early_layers(self) -> Sequence[Sequence[nn.Module]]:
        """Those of the inner network."""
        return early_layers(self.network)


class SubbandGenerator(_OnSubbands):
    """G(x_t, t, z, condition) -> the prediction, (B, C, *spatial), computed on sub-bands."""

    @property
    def encoded_size(self) -> int:
        """Number of features of the inner network's encoder; 0 if it has none."""
        return int(getattr(self.network, "encoded_size", 0))

    def keep_encoder(self) -> None:
        """Drop the decoder of the inner network, so that only `encode` works."""
        inner: Any = self.network
        inner.keep_encoder()

    def encode(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        """Return the features of the inner network's encoder, (B, encoded_size)."""
        inner: Any = self.network
        features: Tensor = inner.encode(split(x_t, self.transform), t, z, self._inside(condition))
        return features

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        bands = self.network(split(x_t, self.transform), t, z, self._inside(condition))
        return merged(largest(self.transform, x_t.ndim - 2) * bands, self.transform)


@register("discriminator", "subbands")
class SubbandDiscriminatorConfig:
    """A discriminator that works on sub-bands.

    Args:
        transform: "haar" or "unshuffle".
        network: the discriminator of the sub-bands.
    """

    kind: ClassVar[str]
    transform: Transform = "haar"
    network: Annotated[DiscriminatorConfig, Component("discriminator")] = default("discriminator", "resnet")

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> SubbandDiscriminator:
        """Build the network for samples (C, *spatial), with newly initialised weights."""
        return SubbandDiscriminator(self.transform, _inner(self.network, sample_shape, conditions))


class SubbandDiscriminator(_OnSubbands):
    """D(x_prev, x_t, t, condition) -> logits (B,), computed on sub-bands."""

    def independent_rows(self, count: int, share: float) -> Sequence[int]:
        """As `Discriminator.independent_rows`, of the inner network."""
        return independent_rows(self.network, count, share)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        bands = split(x_prev, self.transform), split(x_t, self.transform)
        logits: Tensor = self.network(*bands, t, self._inside(condition))
        return logits
