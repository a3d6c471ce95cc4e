"""A discriminator that has the encoder of a generator, and can start as that of a trained one.

A denoiser's encoder already knows the images and their noise. D's trunk takes its weights (not in the paper):
it reads x_{t-1} as the denoiser did, ignores x_t at first, and a new head makes the logit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ddgan.config.components import Component, default, register
from ddgan.config.settings import Interval, SettingError
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.interfaces import GeneratorConfig, build_as, early_layers, image_inputs, input_blocks
from ddgan.networks.layers import Conditioning, condition_projection, linear, projected
from ddgan.networks.resnet import SLOPE, minibatch_stddev, whole_groups

__all__ = ["EncoderDiscriminator", "EncoderDiscriminatorConfig", "give_encoder"]


@register("discriminator", "encoder")
class EncoderDiscriminatorConfig:
    """Settings of a discriminator that has a generator's encoder.

    Its trunk starts as the encoder of G after `method.denoise_first` iterations, or with `init`, in all
    tensors that fit; so give it G's settings, or fewer blocks.

    Args:
        network: the generator whose encoder it is; a kind with an encoder: mlp, ncsnpp or subbands.
        stddev_group: samples per group of the minibatch standard deviation; 0 disables it.
        conditioning: how labels and vectors enter: "projection", or "embedding", that of the generator; an
            image condition always enters as the generator's.
    """

    kind: ClassVar[str]
    network: Annotated[GeneratorConfig, Component("generator")] = default("generator", "ncsnpp")
    stddev_group: Annotated[int, Interval(ge=0, le=65_536)] = 4
    conditioning: Conditioning = "projection"

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> EncoderDiscriminator:
        """Build the network for samples of this shape, with newly initialised weights.

        Raises:
            SettingError: if the generator has no encoder, or does not suit the samples.
        """
        channels, *sizes = sample_shape
        of_trunk, of_head = conditions, ConditionShapes()
        if self.conditioning == "projection":
            of_trunk, of_head = ConditionShapes(image_channels=conditions.image_channels), conditions
        trunk: Any = build_as("network", self.network, (2 * channels, *sizes), of_trunk)
        if not getattr(trunk, "encoded_size", 0):
            raise SettingError(
                "network.kind", f"is {getattr(self.network, 'kind', None)}, which has no encoder"
            )
        trunk.keep_encoder()
        return EncoderDiscriminator(trunk, self.network.latent_size, self.stddev_group, of_head)


class EncoderDiscriminator(nn.Module):
    """D(x_prev, x_t, t, condition) -> (B,) logits, from the features of an encoder.

    Args:
        trunk: the encoder, of samples with twice the channels: those of x_{t-1}, then those of x_t. It has
            `encode(x, t, z, condition) -> (B, F)`, its `encoded_size` F, and `input_blocks`, see `_widened`.
        latent_size: nz of the trunk, whose latent is always 0.
        stddev_group: samples per group of the minibatch standard deviation; 0 disables it.
        conditions: those of the projection.
    """

    def __init__(
        self,
        trunk: Any,
        latent_size: int,
        stddev_group: int,
        conditions: ConditionShapes = ConditionShapes(),
    ) -> None:
        super().__init__()
        self.trunk, self.latent_size, self.stddev_group = trunk, latent_size, stddev_group
        features = trunk.encoded_size
        self.hidden = linear(features + (stddev_group > 0), features)
        self.output = linear(features, 1)
        self.projection = condition_projection(conditions, features)

    @property
    def input_blocks(self) -> int:
        """Two for each of the trunk's, of x_{t-1} and x_t."""
        return 2 * input_blocks(self.trunk)

    @property
    def image_inputs(self) -> int:
        """Those of the trunk."""
        return image_inputs(self.trunk)

    @property
    def early_layers(self) -> Sequence[Sequence[nn.Module]]:
        """Those of the trunk."""
        return early_layers(self.trunk)

    def independent_rows(self, count: int, share: float) -> Sequence[int]:
        """As `Discriminator.independent_rows`."""
        return whole_groups(self.stddev_group, count, share)

    @torch.no_grad()
    def take_encoder(self, generator: nn.Module) -> int:
        """Copy a generator's weights into the trunk wherever names and shapes fit; returns how many fitted.

        Weights of the input are those of x_{t-1}; x_t gets zeros.
        """
        count, blocks, images = 0, input_blocks(self.trunk), self.image_inputs
        theirs = dict(generator.named_parameters())
        for name, own in self.trunk.named_parameters():
            if name not in theirs:
                continue
            found: Tensor = theirs[name]
            is_whole = found.shape == own.shape
            if own.ndim > 1 and not is_whole and found.shape == own[:, : (own.shape[1] + images) // 2].shape:
                found = _widened(found, blocks, images)
            if found.shape == own.shape:
                own.copy_(found)
                count += 1
        return count

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        z = x_t.new_zeros(len(x_t), self.latent_size)
        h: Tensor = self.trunk.encode(torch.cat([x_prev, x_t], dim=1), t, z, condition)
        if self.stddev_group:
            h = minibatch_stddev(h, self.stddev_group)
        features = F.leaky_relu(self.hidden(h), SLOPE)
        logits: Tensor = self.output(features).squeeze(1)
        return projected(logits, self.projection, features, condition)


def give_encoder(generator: nn.Module, discriminators: nn.ModuleDict) -> list[str]:
    """Start each D that has the encoder of a generator as that of G; returns their roles."""
    found = []
    for role, discriminator in discriminators.items():
        if isinstance(discriminator, EncoderDiscriminator) and discriminator.take_encoder(generator):
            found.append(role)
    return found


def _widened(weight: Tensor, blocks: int, images: int) -> Tensor:
    """Give the input weights (O, blocks * N + images, ...) of N values zeros for as many further values.

    An input layer of several blocks gets N values, then N functions of them, and so on, and at last an image
    condition.
    """
    size = weight.shape[1] - images
    parts = weight[:, :size].unflatten(1, (blocks, -1))
    twice = torch.cat([parts, torch.zeros_like(parts)], dim=2).flatten(1, 2)
    return torch.cat([twice, weight[:, size:]], dim=1)
