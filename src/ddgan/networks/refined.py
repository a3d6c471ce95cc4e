"""A generator of two networks: the first predicts the sample, the second refines that (not in the paper).

    h = coarse(x_t, t, z)
    prediction = tanh(h + fine((x_t, tanh h), t, z))

A fully connected network soon learns the layout of aligned images, but leaves them noisy. A convolutional one
removes noise with few operations, but learns layout slowly. Together they do both.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from ddgan.config.components import Component, find, register
from ddgan.config.settings import SettingError
from ddgan.networks.conditions import Condition, ConditionShapes
from ddgan.networks.interfaces import GeneratorConfig, activation_floats, build_as, joint_early_layers

__all__ = ["RefinedGenerator", "RefinedGeneratorConfig"]


@register("generator", "refined")
class RefinedGeneratorConfig:
    """Settings of a generator whose second network refines the prediction of its first.

    Args:
        coarse: the generator that sees x_t; without tanh.
        fine: the generator that sees x_t and the prediction of `coarse`, twice the channels; without tanh.
            Its latent has the size of that of `coarse`, or 0.
        tanh: whether the output is squashed to [-1, 1].
    """

    kind: ClassVar[str]
    coarse: Annotated[GeneratorConfig, Component("generator")] = dataclasses.field(
        default_factory=lambda: find("generator", "mlp")(latent_size=100)
    )
    fine: Annotated[GeneratorConfig, Component("generator")] = dataclasses.field(
        default_factory=lambda: find("generator", "subbands")(network=find("generator", "ncsnpp")(tanh=False))
    )
    tanh: bool = True

    def __post_init__(self) -> None:
        for name, network in (("coarse", self.coarse), ("fine", self.fine)):
            if getattr(network, "tanh", False):
                raise SettingError(
                    f"{name}.tanh", "is true, but predictions are added before tanh; set it to false"
                )
        if self.fine.latent_size not in (0, self.coarse.latent_size):
            raise SettingError(
                "fine",
                f"has a latent_size of {self.fine.latent_size}; it must be that of coarse, "
                f"{self.coarse.latent_size}, or 0",
            )

    @property
    def latent_size(self) -> int:
        return self.coarse.latent_size

    def build(
        self, sample_shape: tuple[int, ...], conditions: ConditionShapes = ConditionShapes()
    ) -> RefinedGenerator:
        """Build both networks for samples of this shape, with newly initialised weights.

        Raises:
            SettingError: naming the network that does not suit the samples.
        """
        coarse = build_as("coarse", self.coarse, sample_shape, conditions)
        return RefinedGenerator(self, coarse, build_as("fine", self.fine, _doubled(sample_shape), conditions))

    def activation_floats(self, sample_shape: tuple[int, ...]) -> int:
        """Estimate how many floats a call of the networks needs per sample: the larger of the two."""
        return max(
            activation_floats(self.coarse, sample_shape), activation_floats(self.fine, _doubled(sample_shape))
        )


def _doubled(sample_shape: tuple[int, ...]) -> tuple[int, ...]:
    return 2 * sample_shape[0], *sample_shape[1:]


class RefinedGenerator(nn.Module):
    """G(x_t, t, z, condition) -> prediction, of the shape of x_t; with tanh it is in [-1, 1]."""

    def __init__(self, config: RefinedGeneratorConfig, coarse: nn.Module, fine: nn.Module) -> None:
        super().__init__()
        self.config, self.coarse, self.fine = config, coarse, fine

    @property
    def early_layers(self) -> list[list[nn.Module]]:
        """The modules of each level of both networks, as far as both have levels."""
        return joint_early_layers([self.coarse, self.fine])

    def forward(self, x_t: Tensor, t: Tensor, z: Tensor, condition: Condition | None = None) -> Tensor:
        h = self.coarse(x_t, t, z, condition)
        seen = torch.cat([x_t, torch.tanh(h)], dim=1)
        z = z if self.config.fine.latent_size else z[:, :0]
        h = h + self.fine(seen, t, z, condition)[:, : x_t.shape[1]]
        return torch.tanh(h) if self.config.tanh else h
