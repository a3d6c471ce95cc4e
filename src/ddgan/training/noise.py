"""The random numbers of an iteration, drawn for the global batch from (seed, iteration) alone.

Each process takes its rows, so an image gets the same noise on any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from ddgan.system.randomness import generator_for

__all__ = ["HalfStepNoise", "StepNoise", "draw_noise", "spare_noise"]


@dataclass(frozen=True)
class HalfStepNoise:
    """The random numbers of one update, for a batch of B images."""

    t: Tensor  # int64 (B,) in 1..T
    z: Tensor  # (B, latent_size)
    noise_prev: Tensor  # (B, ...): x_0 -> x_{t-1}
    noise_step: Tensor  # (B, ...): x_{t-1} -> x_t
    noise_posterior: Tensor  # (B, ...): the fake x_{t-1}

    def rows(self, rows: slice) -> HalfStepNoise:
        """Select some of the images."""
        parts = (self.t, self.z, self.noise_prev, self.noise_step, self.noise_posterior)
        return HalfStepNoise(*(part[rows] for part in parts))


@dataclass(frozen=True)
class StepNoise:
    """The random numbers of one iteration."""

    discriminator: HalfStepNoise
    generator: HalfStepNoise

    def rows(self, rows: slice) -> StepNoise:
        """Select some of the images."""
        return StepNoise(self.discriminator.rows(rows), self.generator.rows(rows))


def spare_noise(noise: StepNoise) -> tuple[Tensor, Tensor]:
    """Return two tensors of normal noise (B, ...) that the update of D does not use: those of G's update."""
    return noise.generator.noise_prev, noise.generator.noise_step


def draw_noise(
    seed: int,
    step: int,
    images: Tensor,
    num_steps: int,
    latent_size: int,
    step_weights: Sequence[float] = (),
) -> StepNoise:
    """Draw the noise of iteration `step` for a global batch like `images` (B, ...).

    t is uniform in 1..T, or has probabilities in proportion to `step_weights`.
    """

    def half(purpose: str) -> HalfStepNoise:
        rng = generator_for(seed, purpose, step, device=images.device)

        def normal(shape: torch.Size | tuple[int, ...]) -> Tensor:
            return torch.randn(shape, generator=rng, device=images.device, dtype=images.dtype)

        size = (len(images),)
        if step_weights:
            chances = _weights_on(images.device, tuple(step_weights))
            t = 1 + torch.multinomial(chances, len(images), replacement=True, generator=rng)
        else:
            t = torch.randint(1, num_steps + 1, size, generator=rng, device=images.device)
        z = normal((*size, latent_size))
        return HalfStepNoise(t, z, normal(images.shape), normal(images.shape), normal(images.shape))

    return StepNoise(half("discriminator step"), half("generator step"))


@cache  # copied to the device once, not in every iteration
def _weights_on(device: torch.device, weights: tuple[float, ...]) -> Tensor:
    return torch.tensor(weights, device=device)
