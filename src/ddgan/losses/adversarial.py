"""Adversarial losses: pure functions of the logits on real and fake pairs.

With softplus(x) = log(1 + e^x), per sample:

- non-saturating (the paper's): L_D = softplus(-D_real) + softplus(D_fake), L_G = softplus(-D_fake)
- relativistic pairing (R3GAN, arXiv 2501.05441): L_D = softplus(-(D_real - D_fake)), L_G the reverse
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from torch import Tensor
from torch.nn.functional import softplus

from ddgan.config.components import register

__all__ = ["AdversarialLoss", "NonSaturatingLoss", "RelativisticLoss"]


class AdversarialLoss(Protocol):
    """Interface of every kind of adversarial loss: one value per sample, (B,); the caller averages.

    Attributes:
        needs_real: whether G's loss uses D's logits on real pairs.
    """

    @property
    def needs_real(self) -> bool: ...

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """Return L_D from logits (B,) on real and fake pairs."""
        ...

    def generator(self, d_real: Tensor | None, d_fake: Tensor) -> Tensor:
        """Return L_G; `d_real` is None unless `needs_real`."""
        ...


@register("adversarial", "nonsaturating")
class NonSaturatingLoss:
    """The paper's loss."""

    needs_real: ClassVar[bool] = False

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """softplus(-D(real)) + softplus(D(fake)), (B,)."""
        return softplus(-d_real) + softplus(d_fake)

    def generator(self, d_real: Tensor | None, d_fake: Tensor) -> Tensor:
        """softplus(-D(fake)), (B,)."""
        return softplus(-d_fake)


@register("adversarial", "relativistic")
class RelativisticLoss:
    """R3GAN's pairing loss: each fake pair against the real pair of the same image."""

    needs_real: ClassVar[bool] = True

    def discriminator(self, d_real: Tensor, d_fake: Tensor) -> Tensor:
        """softplus(D(fake) - D(real)), (B,)."""
        return softplus(d_fake - d_real)

    def generator(self, d_real: Tensor | None, d_fake: Tensor) -> Tensor:
        """softplus(D(real) - D(fake)), (B,)."""
        assert d_real is not None
        return softplus(d_real - d_fake)
