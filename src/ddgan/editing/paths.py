"""Paths between samples, and samples at every step of the chain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.editing.pictures import PURPOSE, OnBatch
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.models.model import Classes
from ddgan.system.randomness import ImageNoise

__all__ = ["Filmstrip", "filmstrip", "interpolate", "mixed"]

NEARLY_PARALLEL = 1e-3
"""Below this sine of their angle, two noises are interpolated linearly."""


@torch.no_grad()
def interpolate(
    model: DDGAN,
    n: int,
    seeds: tuple[int, int] = (0, 1),
    num_frames: int = 8,
    *,
    classes: Classes = None,
    batch_size: int | None = None,
    on_batch: OnBatch = None,
) -> Tensor:
    """Interpolate from samples 0..n-1 of one seed to those of another, through their noises and latents.

    Args:
        model: any DDGAN.
        n: number of paths, at least 1.
        seeds: seeds of the start and the end, each 0 or more; the ends are `model.sample(n, seed)`.
        num_frames: images per path, including both ends, at least 2.
        classes: the class of all paths, or of each; by default path i has class i modulo num_classes.
        batch_size: images at a time, at least one path; by default as memory allows.
        on_batch: called with the number of images of each finished batch.

    Returns:
        (n, num_frames, *sample_shape) on the CPU.

    Raises:
        ValueError: if an argument is out of range, or the model is not a DDGAN.
    """
    check_ddgan(model, PURPOSE)
    if num_frames < 2:
        raise ValueError(f"num_frames is {num_frames}; it must be at least 2, the ends of a path")
    condition = model.condition_for(n, classes)
    shares = torch.linspace(0, 1, num_frames, device=model.device)
    size = model.default_batch_size() if batch_size is None else batch_size
    paths = []
    for indices in model.split(n, max(size // num_frames, min(size, 1))):
        (first, first_noise), (second, second_noise) = (model.start(seed, indices) for seed in seeds)
        noise = _MixedNoise(first_noise, second_noise, shares)
        own = None
        if condition is not None:
            own = condition.rows(slice(indices.start, indices.stop)).repeat_interleave(num_frames)
        x = mixed(first, second, shares)
        for step in model.chain(x, noise, condition=own):
            x = step.x_prev
        paths.append(x.unflatten(0, (len(indices), num_frames)).cpu())
        if on_batch is not None:
            on_batch(len(x))
    return torch.cat(paths)


@dataclass(frozen=True)
class _MixedNoise:
    """The noise of every frame on the paths between two batches of images."""

    first: ImageNoise
    second: ImageNoise
    shares: Tensor

    def __call__(self, *shape: int) -> Tensor:
        return mixed(self.first(*shape), self.second(*shape), self.shares)


def mixed(first: Tensor, second: Tensor, shares: Tensor) -> Tensor:
    """Interpolate spherically between rows of noise (B, ...) at `shares` (F,) in 0..1: (B * F, ...).

    sin((1 - s) w) / sin(w) first + sin(s w) / sin(w) second, where w is the angle between the rows. This
    keeps the length of the vectors typical of noise; linear interpolation would shorten them.
    """
    a, b = (end.flatten(1) for end in (first, second))
    lengths = (a.norm(dim=1) * b.norm(dim=1)).clamp_min(torch.finfo(first.dtype).tiny)
    angle = ((a * b).sum(dim=1) / lengths).clamp(-1, 1).acos()[:, None]
    straight = angle.sin() < NEARLY_PARALLEL
    weights = [
        torch.where(straight, share, (share * angle).sin() / angle.sin()) for share in (1 - shares, shares)
    ]
    paths = weights[0][..., None] * a[:, None] + weights[1][..., None] * b[:, None]
    return paths.flatten(0, 1).reshape(len(first) * len(shares), *first.shape[1:])


@dataclass(frozen=True)
class Filmstrip:
    """Samples at every step of the chain.

    Attributes:
        states: (n, T + 1, *sample_shape), x_T .. x_0; the last are the samples.
        predictions: (n, T, *sample_shape), the generator's outputs at x_T .. x_1.
    """

    states: Tensor
    predictions: Tensor

    def tiles(self) -> Tensor:
        """Return two lines of images per sample, (2 n (T + 1), C, H, W): states, and predictions below."""
        blank = torch.ones_like(self.states[:, :1])
        lower = torch.cat([self.predictions, blank], dim=1)
        return torch.stack([self.states, lower], dim=1).flatten(0, 2)


def filmstrip(model: DDGAN, n: int, seed: int = 0, *, classes: Classes = None) -> Filmstrip:
    """Return samples 0..n-1 of `model.sample` with all intermediate states, on the CPU.

    Raises:
        ValueError: if n is below 1, the seed is negative, classes are given to a model without classes, or
            the model is not a DDGAN.
    """
    check_ddgan(model, PURPOSE)
    if n < 1:
        raise ValueError(f"n is {n}; it must be at least 1")
    steps = model.steps(n, seed, classes)
    states = [steps[0].x_t, *(step.x_prev for step in steps)]
    predictions = [step.prediction for step in steps]
    return Filmstrip(torch.stack(states, dim=1).cpu(), torch.stack(predictions, dim=1).cpu())
