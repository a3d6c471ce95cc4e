"""A discriminator that adds the logits of several (not in the paper).

Networks of different kinds see different things: a convolutional one that strokes are blurred, a fully
connected one that a digit is too rare.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, ClassVar

import torch
from annotated_types import Len
from torch import Tensor, nn

from ddgan.config.components import Component, find, register
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.interfaces import DiscriminatorConfig, build_as, independent_rows, joint_early_layers

__all__ = ["EnsembleDiscriminator", "EnsembleDiscriminatorConfig"]


@register("discriminator", "ensemble")
class EnsembleDiscriminatorConfig:
    """Settings of a discriminator whose logit is the sum of those of several networks.

    Args:
        networks: the discriminators, two or more; by default a convolutional and a fully connected one.
    """

    kind: ClassVar[str]
    networks: Annotated[
        tuple[Annotated[DiscriminatorConfig, Component("discriminator")], ...],
        Len(min_length=2, max_length=8),
    ] = dataclasses.field(
        default_factory=lambda: tuple(find("discriminator", kind)() for kind in ("resnet", "mlp"))
    )

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> EnsembleDiscriminator:
        """Build the networks for samples of this shape, with newly initialised weights.

        Raises:
            SettingError: naming a network that does not suit the samples.
        """
        return EnsembleDiscriminator(
            [
                build_as(f"networks.{index}", network, sample_shape, conditions)
                for index, network in enumerate(self.networks)
            ]
        )


class EnsembleDiscriminator(nn.Module):
    """D(x_prev, x_t, t, condition) -> (B,) logits, the sum of those of its networks."""

    def __init__(self, networks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    @property
    def early_layers(self) -> list[list[nn.Module]]:
        """The modules of each level of all networks, as far as all have levels."""
        return joint_early_layers(self.networks)

    def independent_rows(self, count: int, share: float) -> Sequence[int]:
        """As `Discriminator.independent_rows`; all rows if the networks need different ones."""
        dependent = [network for network in self.networks if hasattr(network, "independent_rows")]
        choices = {tuple(independent_rows(network, count, share)) for network in dependent or self.networks}
        return list(choices.pop()) if len(choices) == 1 else range(count)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        logits = [network(x_prev, x_t, t, condition) for network in self.networks]
        return torch.stack(logits).sum(dim=0)
