"""Augmentation of D: random transforms of what it sees, so that it cannot memorise (not in the paper).

D judges (A x_{t-1}, A x_t), with one random transform A for both images of a pair, the same kind for real and
fake pairs. Each transform is applied with a probability below 1, so it does not leak into what G learns:
StyleGAN2-ADA (Karras et al., arXiv 2006.06676) shows why. The geometric ones are one affine map with bilinear
interpolation, the others a change of contrast and brightness. An image condition goes through the same map.
"""

from __future__ import annotations

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from ddgan.config.ramps import Ramp
from ddgan.config.settings import Interval, settings

__all__ = ["NUM_UNIFORMS", "PairAugmentation", "PairAugmentationConfig", "adapted"]

NUM_UNIFORMS = 12
"""Uniform random numbers per sample: a decision for each of six transforms, and their sizes."""
NAMES = ("flip", "turn", "shift", "scale", "rotate", "color")
MOST = 0.8
"""Largest probability: beyond, transforms begin to leak."""


@settings
class PairAugmentationConfig:
    """Settings of the augmentation of D.

    Args:
        probability: of each transform, or its ramp; at most 0.8. With a `target`, the first value.
        target: change the probability so that the mean sign of D's logits on real pairs stays at this value:
            0.6 is usual; 0 leaves the probability alone.
        images: thousands of images over which the probability may go from 0 to 1 to keep the target.
        flips: mirror left to right.
        turns: turn by multiples of 90 degrees (for square images).
        shift: largest shift, as a share of the size; 0 for none.
        scale: standard deviation of log2 of the size; 0 for none.
        rotate: rotate by any angle.
        color: largest change of brightness, on the scale -1..1, and standard deviation of log2 of the
            contrast; 0 for none.
    """

    probability: Annotated[float, Interval(ge=0, le=MOST)] | Ramp = 0.2
    target: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    images: Annotated[float, Interval(gt=0, le=1e9)] = 500.0
    flips: bool = True
    turns: bool = False
    shift: Annotated[float, Interval(ge=0, le=0.5)] = 0.125
    scale: Annotated[float, Interval(ge=0, le=1)] = 0.2
    rotate: bool = False
    color: Annotated[float, Interval(ge=0, le=1)] = 0.2


class PairAugmentation:
    """The transforms of a batch.

    Args:
        config: which there are.
        probability: of each, a number or a tensor ().
        uniform: random numbers in [0, 1), (B, NUM_UNIFORMS).
    """

    def __init__(self, config: PairAugmentationConfig, probability: float | Tensor, uniform: Tensor) -> None:
        decisions, sizes = uniform[:, :6] < probability, uniform[:, 6:]
        on = dict(
            zip(("flip", "turn", "shift", "scale", "rotate", "color"), decisions.unbind(1), strict=True)
        )
        one, zero = torch.ones_like(sizes[:, 0]), torch.zeros_like(sizes[:, 0])
        angle = zero
        if config.turns:
            angle = torch.where(on["turn"], math.pi / 2 * (4 * sizes[:, 0]).floor(), angle)
        if config.rotate:
            angle = angle + torch.where(on["rotate"], 2 * math.pi * sizes[:, 1], zero)
        size = torch.where(on["scale"], torch.exp2(config.scale * normal(sizes[:, 2])), one)
        mirror = torch.where(on["flip"], -one, one) if config.flips else one
        shifts = [torch.where(on["shift"], 2 * config.shift * (2 * sizes[:, k] - 1), zero) for k in (3, 4)]
        cos, sin = angle.cos() / size, angle.sin() / size
        self._map = torch.stack(
            [torch.stack([mirror * cos, -sin, shifts[0]], 1), torch.stack([mirror * sin, cos, shifts[1]], 1)],
            1,
        )
        brightness = torch.where(on["color"], config.color * (2 * sizes[:, 5] - 1), zero)
        # The fraction of a uniform number between two values of another is itself uniform.
        contrast = torch.where(on["color"], torch.exp2(config.color * normal((64 * sizes[:, 5]) % 1)), one)
        self._color = (contrast if config.color else one), brightness

    def __call__(self, x: Tensor) -> Tensor:
        """Transform images (B, C, H, W), differentiably; each by its own transform."""
        contrast, brightness = (part.to(x.dtype).view(-1, 1, 1, 1) for part in self._color)
        return self.moved(x) * contrast + brightness

    def moved(self, x: Tensor) -> Tensor:
        """Transform images, as `__call__`, by the affine maps alone; this is how image conditions follow."""
        grid = F.affine_grid(self._map.to(x.dtype), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def normal(uniform: Tensor) -> Tensor:
    """Convert uniform random numbers to normal ones."""
    found: Tensor = torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))
    return found


def adapted(probability: float, sign: float, target: float, images: float, seen: float) -> float:
    """Return the probability after `seen` thousand images whose logits on real pairs had this mean sign.

    It moves to the target at a constant rate: from 0 to 1 in `images` thousand images (ADA, section 3.1).
    """
    step = seen / images
    return min(max(probability + (step if sign > target else -step), 0.0), MOST)
