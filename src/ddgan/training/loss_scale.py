"""Loss scaling for float16: the loss times a factor, so that small gradients do not vanish.

Float16 represents numbers between 6e-8 and 65,504. A loss is multiplied by a power of two before its backward
pass, and its gradients are divided by it in the update, both exactly (Micikevicius et al., 2018). The factor
adapts: it is halved, and the update skipped, when a gradient overflows, and doubled after many updates
without. It stays on the device, so nothing waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GROWTH_INTERVAL", "LEAST", "LossScale"]

START, LEAST, MOST = 2.0**16, 1.0, 2.0**24
GROWTH_INTERVAL = 2000
"""Updates with finite gradients after which the factor is doubled."""


@dataclass(frozen=True)
class LossScale:
    """The loss scale of one optimizer.

    Attributes:
        factor: what the loss is multiplied by, a power of two, float32 ().
        num_finite: updates with finite gradients since it last changed, int64 ().
    """

    factor: Tensor
    num_finite: Tensor

    @classmethod
    def create(cls, device: torch.device | str = "cpu") -> LossScale:
        """Create the loss scale of a new run, on a device."""
        zero = torch.zeros((), dtype=torch.int64, device=device)
        return cls(torch.tensor(START, device=device), zero)

    def adjust(self, skipped: Tensor) -> Tensor:
        """Change the factor, in place, after an update that was `skipped` (1.0) or not (0.0), ().

        Returns:
            Whether the update failed, 0.0 or 1.0, (): a gradient was not finite although the factor was the
            least, so that the loss scale is not the cause.
        """
        failed = skipped * (self.factor <= LEAST)
        num_finite = torch.where(skipped > 0, 0, self.num_finite + 1)
        grows = num_finite >= GROWTH_INTERVAL
        change = torch.where(skipped > 0, 0.5, torch.where(grows, 2.0, 1.0))
        self.factor.mul_(change).clamp_(LEAST, MOST)
        self.num_finite.copy_(torch.where(grows, 0, num_finite))
        return failed

    def values(self) -> list[float]:
        """Return factor and count as plain numbers, for a checkpoint; waits for the device."""
        return [float(self.factor), float(self.num_finite)]

    def restore(self, values: list[float]) -> None:
        """Load what `values` returned."""
        factor, num_finite = values
        self.factor.fill_(factor)
        self.num_finite.fill_(int(num_finite))
