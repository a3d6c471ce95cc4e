"""Transport cost: how far the predicted x_0 is from x_t, as in optimal transport (not in the paper).

    c = tau ||G(x_t, t, z) - x_t||^2

D judges fake pairs by D(x^_{t-1}, x_t, t) - c, in its own loss and in G's, which makes the adversarial game
the semi-dual form of an (unbalanced) optimal transport problem: of all generators that fool D, the one that
moves samples least (Choi et al., arXiv 2305.14777; RDUOT uses it in the steps of a denoising diffusion GAN).
"""

from __future__ import annotations

from typing import Annotated, Literal

from torch import Tensor

from ddgan.config.ramps import Ramp
from ddgan.config.settings import Interval, settings

__all__ = ["TransportConfig", "squared_distance"]


@settings
class TransportConfig:
    """Settings of the transport cost.

    Args:
        weight: tau, per squared value; about 1e-4 to 4e-3; above 0.
        form: how G pays: "logit", as part of D's logit, or "added", to its loss.
    """

    weight: Annotated[float, Interval(gt=0, le=1e6)] | Ramp = 1e-3
    form: Literal["logit", "added"] = "logit"


def squared_distance(predicted: Tensor, x_t: Tensor) -> Tensor:
    """Return the squared distance per sample, summed over its values: (B, ...) -> (B,)."""
    return (predicted - x_t).square().flatten(1).sum(dim=1)
