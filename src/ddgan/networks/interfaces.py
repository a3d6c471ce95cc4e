"""The interfaces of network settings, common to all families."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from torch import nn

from ddgan.config.settings import SettingError
from ddgan.networks.conditions import ConditionShapes

__all__ = [
    "DiscriminatorConfig",
    "GeneratorConfig",
    "activation_floats",
    "build_as",
    "early_layers",
    "image_inputs",
    "independent_rows",
    "input_blocks",
    "joint_early_layers",
]


class GeneratorConfig(Protocol):
    """Settings of a generator. An optional setting `tanh` that is true promises outputs in [-1, 1].

    An optional method `activation_floats(sample_shape)` estimates the memory per sample, which decides the
    batch size of sampling, see the function of this name.

    Its network may have the property `early_layers`: for each level of its encoder, from the input on, the
    modules that are frozen with it, see `training.freeze`.
    """

    kind: Any

    @property
    def latent_size(self) -> int:
        """nz, the length of z; 0 for no latent."""
        ...

    def build(self, sample_shape: tuple[int, ...], conditions: ConditionShapes) -> nn.Module:
        """Build G(x_t, t, z, condition) for samples of this shape, with newly initialised weights."""
        ...


class DiscriminatorConfig(Protocol):
    """Settings of a discriminator.

    A discriminator whose logits depend on other rows of the batch has a method `independent_rows(count,
    share)`, see the function of this name. `early_layers` are as those of a generator.
    """

    kind: Any

    def build(self, sample_shape: tuple[int, ...], conditions: ConditionShapes) -> nn.Module:
        """Build D(x_prev, x_t, t, condition) for samples of this shape, with newly initialised weights."""
        ...


def build_as(
    name: str,
    network: GeneratorConfig | DiscriminatorConfig,
    sample_shape: tuple[int, ...],
    conditions: ConditionShapes = ConditionShapes(),
) -> nn.Module:
    """Build a network that is the setting `name` of another component.

    Raises:
        SettingError: as the network's, with its setting named within `name`.
    """
    try:
        return network.build(sample_shape, conditions)
    except SettingError as error:
        raise error.within(name) from None


def activation_floats(network: GeneratorConfig, sample_shape: tuple[int, ...]) -> int:
    """Estimate how many floats a call of a generator needs per sample; by default 64 times its values."""
    estimate = getattr(network, "activation_floats", None)
    return int(estimate(sample_shape)) if estimate else 64 * math.prod(sample_shape)


def independent_rows(discriminator: nn.Module, count: int, share: float) -> Sequence[int]:
    """Return about a share of the rows of a batch of `count` that D judges as it judges them in the whole.

    By default the first ones, at least one.
    """
    choose = getattr(discriminator, "independent_rows", None)
    return list(choose(count, share)) if choose else range(max(1, round(share * count)))


def early_layers(network: nn.Module) -> Sequence[Sequence[nn.Module]]:
    """Return the modules of each early level of a network, from the input on; none by default."""
    return getattr(network, "early_layers", ())


def joint_early_layers(networks: Iterable[nn.Module]) -> list[list[nn.Module]]:
    """Return the modules of each early level of several networks, as far as all of them have levels."""
    levels = zip(*map(early_layers, networks), strict=False)
    return [[module for modules in level for module in modules] for level in levels]


def input_blocks(network: nn.Module) -> int:
    """Return how many times the values of a sample, or functions of them, are in the input of a network.

    A discriminator's input has those of x_{t-1} and those of x_t, so its property `input_blocks` is 2. By
    default 1; a network made of several with their own has none.
    """
    return int(getattr(network, "input_blocks", 1))


def image_inputs(network: nn.Module) -> int:
    """Return how many of the inputs of a network are the image condition's, after those of samples.

    They are its property `image_inputs`; by default 0.
    """
    return int(getattr(network, "image_inputs", 0))
