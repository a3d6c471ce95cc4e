"""The reverse chain: from noise to images in T calls of the generator (paper section 3).

    x_T ~ N(0, I);  for t = T..1:  z ~ N(0, I),  x_{t-1} ~ q(. | x_t, x_0 = G(x_t, t, z))

It works with any callable (x_t, t, z) -> prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddgan.diffusion.process import Diffusion

__all__ = ["Denoiser", "Noise", "Step", "denoising_steps"]

Denoiser = Callable[[Tensor, Tensor, Tensor], Tensor]
"""denoiser(x_t, t, z) -> prediction (B, *shape), with t (B,) in 1..T."""
Noise = Callable[..., Tensor]
"""noise(*shape) -> (B, *shape) standard normal numbers, new at each call."""


@dataclass(frozen=True)
class Step:
    """One denoising step: from x_t to x_prev, given the generator's `prediction`."""

    t: int
    x_t: Tensor
    prediction: Tensor
    x_prev: Tensor


def denoising_steps(
    denoiser: Denoiser,
    diffusion: Diffusion,
    x_t: Tensor,
    noise: Noise,
    latent_size: int,
    start: int | None = None,
) -> Iterator[Step]:
    """Run the reverse chain from x_t at step `start` (default T) down to x_0, yielding every step.

    Args:
        denoiser: the generator, (x_t, t, z) -> prediction.
        diffusion: the forward process it was trained with.
        x_t: (B, ...), the state at `start`; at T it is standard normal noise.
        noise: called twice per step: for z (B, latent_size), then for the posterior noise (shape of x_t).
        latent_size: nz; may be 0.
        start: the step of x_t, in 1..T.
    """
    first = diffusion.num_steps if start is None else start
    if not 1 <= first <= diffusion.num_steps:
        raise ValueError(f"start is {first}; it must be in 1..{diffusion.num_steps}")
    shape = x_t.shape[1:]
    for step in range(first, 0, -1):
        t = torch.full((x_t.shape[0],), step, dtype=torch.int64, device=x_t.device)
        z = noise(latent_size).to(x_t)
        prediction = denoiser(x_t, t, z)
        x_prev = diffusion.denoise(prediction, x_t, t, noise(*shape).to(x_t))
        yield Step(step, x_t, prediction, x_prev)
        x_t = x_prev
