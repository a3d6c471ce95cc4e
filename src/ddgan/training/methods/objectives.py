"""What adversarial methods share: the settings of the loss and of the penalties, and when they are due."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence
from typing import Annotated, Any

import torch
from annotated_types import Len
from torch import Tensor, nn

from ddgan.config.components import Component, find
from ddgan.losses.adversarial import AdversarialLoss
from ddgan.losses.penalties import Penalty, squared_difference
from ddgan.networks.interfaces import independent_rows
from ddgan.training.state import (
    DISCRIMINATOR,
    GENERATOR,
    Method,
    Terms,
    TrainState,
    Update,
    UpdateStatistics,
)

__all__ = ["ADVERSARIAL", "Adversarial", "AdversarialMethod", "Due", "Penalties", "lazy_r1"]

ADVERSARIAL = "adversarial"
"""The name of the adversarial term of a loss."""

Adversarial = Annotated[AdversarialLoss, Component("adversarial")]
Penalties = Annotated[tuple[Annotated[Penalty, Component("penalty")], ...], Len(max_length=8)]


def lazy_r1() -> Any:
    """Field default: R1 with the paper's settings for CIFAR-10."""
    return dataclasses.field(default_factory=lambda: (find("penalty", "r1")(gamma=0.02, every=15),))


Evaluate = Callable[[Tensor, Tensor], Tensor]
"""(x, rows) -> D's logits (R,) on these rows (R,) of the batch, with x (R, ...) instead of its x_{t-1}."""


class Due:
    """The penalties that are due at an iteration.

    Args:
        penalties: all penalties of the method.
        state: the training state.
        real: the tensor (B, ...) from which D's logits on real samples are about to be computed.
        fake: the same for fake samples.
        directions: normal noise (B, ...) for finite differences at real and at fake samples.
    """

    def __init__(
        self,
        penalties: Sequence[Penalty],
        state: TrainState,
        real: Tensor,
        fake: Tensor,
        directions: tuple[Tensor, Tensor],
    ) -> None:
        self._due = [
            (penalty, scale * state.value(penalty.gamma))
            for penalty in penalties
            if (scale := penalty.scale(state.step)) > 0
        ]
        self._x = {"real": real, "fake": fake}
        self._is_lowered = state.precision is not None
        self._directions = dict(zip(self._x, directions, strict=True))
        for penalty, _ in self._due:
            if penalty.on != "logits" and not epsilon_of(penalty):
                self._x[penalty.on].requires_grad_(True)

    def terms(
        self,
        d_real: Tensor,
        d_fake: Tensor,
        evaluate: Evaluate,
        discriminator: nn.Module,
        suffix: str = "",
    ) -> Terms:
        """Return the weighted penalties of one D, (B,), each by its kind and the suffix.

        Args:
            d_real: D's logits on real samples, (B,).
            d_fake: the same on fake ones.
            evaluate: D's logits elsewhere, for finite differences.
            discriminator: D.
            suffix: of the names of the terms.
        """
        terms: Terms = {}
        for penalty, weight in self._due:
            logits = d_fake if penalty.on == "fake" else d_real
            if penalty.on == "logits":
                value = penalty.penalty(d_real, d_fake)
            elif epsilon := epsilon_of(penalty):
                rows = rows_of(discriminator, len(logits), getattr(penalty, "share", 1.0), logits.device)
                x, direction = self._x[penalty.on][rows].detach(), self._directions[penalty.on][rows]
                moved, here = x + epsilon * direction, logits[rows]
                if self._is_lowered:  # rounding would be as large as a difference: leaves, in float32
                    here, moved = evaluate(x.requires_grad_(True), rows), moved.requires_grad_(True)
                estimate = squared_difference(here, evaluate(moved, rows), epsilon)
                share = len(rows) / len(logits)
                value = torch.zeros_like(logits).index_put((rows,), estimate / share)
            else:
                value = penalty.penalty(logits, self._x[penalty.on])
            terms[f"{penalty.kind}{suffix}"] = weight * value
        return terms


def epsilon_of(penalty: Penalty) -> float:
    """Return the step of a penalty's finite differences; 0 if its gradient is exact."""
    return float(getattr(penalty, "epsilon", 0.0))


def rows_of(discriminator: nn.Module, count: int, share: float, device: torch.device) -> Tensor:
    """Return the rows of `independent_rows` as a tensor, int64 (R,)."""
    return torch.as_tensor(independent_rows(discriminator, count, share), device=device)


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

    def discriminator_loss(self, state: Any, batch: Any, noise: Any) -> tuple[Terms, UpdateStatistics]:
        """Return the terms of L_D, and statistics."""
        raise NotImplementedError

    def generator_loss(self, state: Any, batch: Any, noise: Any) -> tuple[Terms, UpdateStatistics]:
        """Return the terms of L_G, and statistics."""
        raise NotImplementedError

    def iteration_kind(self, step: int) -> Hashable:
        return tuple(penalty.scale(step) for penalty in self.penalties)

    @property
    def period(self) -> int:
        return max((penalty.every for penalty in self.penalties), default=1)

    def due_step(self, step: int) -> int:
        together = math.lcm(*(penalty.every for penalty in self.penalties))
        return step // together * together
