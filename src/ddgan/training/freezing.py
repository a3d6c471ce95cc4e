"""Freezing: early layers of a network that keep the weights they start from.

For fine-tuning on few images: the early layers of a discriminator already tell edges and textures, and frozen
they cannot memorise the images (FreezeD, Mo et al., 2020). Frozen weights have no gradients and no moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from torch import nn

from ddgan.config.settings import SettingError, shown
from ddgan.config.training import FreezeConfig
from ddgan.networks.interfaces import early_layers

__all__ = ["freeze_layers", "trained"]


def trained(network: nn.Module) -> list[nn.Parameter]:
    """Return the weights of a network that are trained, before anything is frozen for an update."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def freeze_layers(networks: Mapping[str, nn.Module], settings: FreezeConfig) -> None:
    """Turn off the gradients of the weights that the settings freeze.

    Args:
        networks: by name, "generator" and "discriminator" (a ModuleDict by role).
        settings: what to freeze of each.

    Raises:
        SettingError: if a network has fewer levels, a pattern fits no weight, or no weight is left to train.
    """
    if settings.discriminator and "discriminator" not in networks:
        raise SettingError("training.freeze.discriminator", "is set, but the method has none; leave it out")
    for name, network in networks.items():
        given = getattr(settings, name, 0)
        if not given:
            continue
        setting = f"training.freeze.{name}"
        of_role = network.items() if isinstance(network, nn.ModuleDict) else [(name, network)]
        try:
            frozen = (
                [parameter for role, one in of_role for parameter in _first_levels(one, given, role)]
                if isinstance(given, int)
                else list(_named(network, given))
            )
        except ValueError as error:
            raise SettingError(setting, str(error)) from None
        for parameter in frozen:
            parameter.requires_grad_(False)
        if not trained(network):
            raise SettingError(setting, f"is {shown(given)}, which freezes all weights; leave some to train")


def _first_levels(network: nn.Module, count: int, role: str) -> Iterator[nn.Parameter]:
    levels = early_layers(network)
    if count > len(levels):
        has = f"has {len(levels)}" if len(levels) else "names none (early_layers); give patterns of names"
        raise ValueError(f"is {count} levels, but the network '{role}' {has}")
    for modules in levels[:count]:
        for module in modules:
            yield from module.parameters()


def _named(network: nn.Module, patterns: tuple[str, ...]) -> Iterator[nn.Parameter]:
    named = dict(network.named_parameters())
    for pattern in patterns:
        found = [parameter for name, parameter in named.items() if fnmatchcase(name, pattern)]
        if not found:
            few = ", ".join([*list(named)[:3], "..."])
            raise ValueError(f"has the pattern {shown(pattern)}, which fits no weight; the names are {few}")
        yield from found
