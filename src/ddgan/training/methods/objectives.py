"""What adversarial methods share: the settings of the loss and of the penalties, and when they are due."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Len
from torch import Tensor

from ddgan.config.components import Component, find
from ddgan.losses.adversarial import AdversarialLoss
from ddgan.losses.penalties import Penalty
from ddgan.training.state import DISCRIMINATOR, GENERATOR, Method, Update, UpdateStatistics

__all__ = ["Adversarial", "AdversarialMethod", "Due", "Penalties", "lazy_r1"]

Adversarial = Annotated[AdversarialLoss, Component("adversarial")]
Penalties = Annotated[tuple[Annotated[Penalty, Component("penalty")], ...], Len(max_length=8)]


def lazy_r1() -> Any:
    """Field default: R1 with the paper's settings for CIFAR-10."""
    return dataclasses.field(default_factory=lambda: (find("penalty", "r1")(gamma=0.02, every=15),))


class Due:
    """The penalties that are due at an iteration.

    Args:
        penalties: all penalties of the method.
        step: the iteration.
        real: the leaf (B, ...) from which D's logits on real samples are about to be computed.
        fake: the same for fake samples.
    """

    def __init__(self, penalties: Sequence[Penalty], step: int, real: Tensor, fake: Tensor) -> None:
        self._due = [(penalty, weight) for penalty in penalties if (weight := penalty.weight(step)) > 0]
        self._real = real.requires_grad_(any(penalty.on == "real" for penalty, _ in self._due))
        self._fake = fake.requires_grad_(any(penalty.on == "fake" for penalty, _ in self._due))

    def added(
        self, loss: Tensor, d_real: Tensor, d_fake: Tensor, suffix: str = ""
    ) -> tuple[Tensor, UpdateStatistics]:
        """Add the penalties of one D to its loss (B,); also returns each term by its kind and the suffix."""
        terms: UpdateStatistics = {}
        for penalty, weight in self._due:
            logits, x = (d_real, self._real) if penalty.on == "real" else (d_fake, self._fake)
            term = terms[f"{penalty.kind}{suffix}"] = weight * penalty.penalty(logits, x)
            loss = loss + term
        return loss, terms


class AdversarialMethod(Method):
    """A method that updates D, then G against the updated D, with lazy penalties on D."""

    penalties: Penalties

    def updates(self, step: int) -> Sequence[Update]:
        return (
            Update(DISCRIMINATOR, self.discriminator_loss),
            Update(GENERATOR, self.generator_loss, freezes=(DISCRIMINATOR,)),
        )

    def guessing_loss(self) -> float | None:
        loss: AdversarialLoss | None = getattr(self, "adversarial", None)
        return None if loss is None else float(loss.discriminator(torch.zeros(1), torch.zeros(1)))

    def discriminator_loss(self, state: Any, batch: Any, noise: Any) -> tuple[Tensor, UpdateStatistics]:
        """Return L_D (B,) and statistics."""
        raise NotImplementedError

    def generator_loss(self, state: Any, batch: Any, noise: Any) -> tuple[Tensor, UpdateStatistics]:
        """Return L_G (B,) and statistics."""
        raise NotImplementedError

    def iteration_kind(self, step: int) -> Hashable:
        return tuple(penalty.weight(step) for penalty in self.penalties)

    @property
    def period(self) -> int:
        return max((penalty.every for penalty in self.penalties), default=1)
