"""Networks on a quarter of the pixels: any generator and discriminator between a transform and its inverse.

    unshuffle   the four pixels of each 2 x 2 block become four channels
    haar        the four Haar sub-bands of the block: its mean, and horizontal, vertical and diagonal details

Both are orthonormal, so noise stays noise: x_t has the same distribution of noise in every channel. A network
then costs about a quarter (WaveDiff, arXiv 2211.16152, does this with DDGAN's networks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.config.components import Component, default, register
from ddgan.config.settings import SettingError
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.interfaces import (
    DiscriminatorConfig,
    GeneratorConfig,
    early_layers,
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
SIGNS = ((1, 1, 1, 1), (1, -1, 1, -1), (1, 1, -1, -1), (1, -1, -1, 1))
"""Signs of the pixels (top left, top right, bottom left, bottom right) in the four Haar sub-bands."""
LARGEST = {"haar": 2.0, "unshuffle": 1.0}
"""Largest absolute value in a sub-band of an image in [-1, 1]."""


def split(x: Tensor, transform: Transform) -> Tensor:
    """Split images into sub-bands: (B, C, H, W) -> (B, 4C, H/2, W/2); H and W are even."""
    blocks = F.pixel_unshuffle(x, 2)
    return _mixed(blocks) if transform == "haar" else blocks


def merged(bands: Tensor, transform: Transform) -> Tensor:
    """Merge sub-bands into images, the inverse of `split`: (B, 4C, H, W) -> (B, C, 2H, 2W)."""
    return F.pixel_shuffle(_mixed(bands) if transform == "haar" else bands, 2)


def _mixed(x: Tensor) -> Tensor:
    """Multiply each four channels by the Haar matrix, which is its own inverse."""
    matrix = torch.tensor(SIGNS, dtype=x.dtype, device=x.device) / 2
    return torch.einsum("ij,bcjhw->bcihw", matrix, x.unflatten(1, (-1, 4))).flatten(1, 2)


def inner_shape(sample_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that the inner network sees.

    Raises:
        SettingError: if the samples are not images with an even height and width.
    """
    if len(sample_shape) != 3 or any(size % 2 for size in sample_shape[1:]):
        raise SettingError(
            "kind",
            f"is subbands, which needs images of even height and width, but the samples have shape "
            f"{list(sample_shape)}; use the inner network alone",
        )
    channels, height, width = sample_shape
    return 4 * channels, height // 2, width // 2


def _inner(
    network: GeneratorConfig | DiscriminatorConfig,
    sample_shape: tuple[int, ...],
    conditions: ConditionShapes,
) -> nn.Module:
    """Build the network of the sub-bands of samples (C, H, W)."""
    shape = inner_shape(sample_shape)
    try:
        return network.build(shape, conditions)
    except SettingError as error:
        raise error.within("network") from None


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
        """Build the network for samples (C, H, W), with newly initialised weights."""
        return SubbandGenerator(self.transform, _inner(self.network, sample_shape, conditions))

    def activation_floats(self, sample_shape: tuple[int, ...]) -> int:
        """Estimate how many floats a call of the network needs per sample."""
        shape = inner_shape(sample_shape)
        estimate = getattr(self.network, "activation_floats", None)
        return int(estimate(shape)) if estimate else 64 * shape[0] * shape[1] * shape[2]


class _OnSubbands(nn.Module):
    """A network around another, which works on sub-bands."""

    def __init__(self, transform: Transform, network: nn.Module) -> None:
        super().__init__()
        self.transform, self.network = transform, network

    @property
    def input_blocks(self) -> int:
        """Those of the inner network."""
        return input_blocks(self.network)

    @property
    def early_layers(self) -> Sequence[Sequence[nn.Module]]:
        """Those of the inner network."""
        return early_layers(self.network)


class SubbandGenerator(_OnSubbands):
    """G(x_t, t, z, condition) -> the prediction, (B, C, H, W), computed on sub-bands."""

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
        features: Tensor = inner.encode(split(x_t, self.transform), t, z, condition)
        return features

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        bands = self.network(split(x_t, self.transform), t, z, condition)
        return merged(LARGEST[self.transform] * bands, self.transform)


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
        """Build the network for samples (C, H, W), with newly initialised weights."""
        return SubbandDiscriminator(self.transform, _inner(self.network, sample_shape, conditions))


class SubbandDiscriminator(_OnSubbands):
    """D(x_prev, x_t, t, condition) -> logits (B,), computed on sub-bands."""

    def independent_rows(self, count: int, share: float) -> Sequence[int]:
        """As `Discriminator.independent_rows`, of the inner network."""
        return independent_rows(self.network, count, share)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        logits: Tensor = self.network(split(x_prev, self.transform), split(x_t, self.transform), t, condition)
        return logits
