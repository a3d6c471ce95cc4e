"""The types of the settings that adversarial methods share: the loss, and the penalties on D."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

from annotated_types import Len

from ddgan.config.components import Component, find
from ddgan.losses.adversarial import AdversarialLoss
from ddgan.losses.penalties import Penalty

__all__ = ["Adversarial", "Penalties", "lazy_r1"]

Adversarial = Annotated[AdversarialLoss, Component("adversarial")]
Penalties = Annotated[tuple[Annotated[Penalty, Component("penalty")], ...], Len(max_length=8)]


def lazy_r1() -> Any:
    """A field's default: R1 as in the paper's settings for CIFAR-10."""
    return dataclasses.field(default_factory=lambda: (find("penalty", "r1")(gamma=0.02, every=15),))
