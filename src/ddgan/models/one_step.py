"""OneStepGAN: a generator that maps noise to a sample in one step (paper section 5, Tables 1 to 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from ddgan.models.model import TrainedModel
from ddgan.networks.conditions import Condition
from ddgan.system.randomness import ImageNoise

__all__ = ["OneStepGAN"]


class OneStepGAN(TrainedModel):
    """x_0 = G(x, z) with x ~ N(0, I) of the shape of a sample; the arguments are those of `TrainedModel`."""

    @property
    def nfe(self) -> int:
        """Network evaluations per sample: 1."""
        return 1

    def generate(self, noise: ImageNoise, condition: Condition | None) -> Tensor:
        x = noise(*self.sample_shape)
        return self.predict(x, first_step(x), noise(self.config.generator.latent_size), condition)


def first_step(x: Tensor) -> Tensor:
    """Return t = 1 for each sample of (B, ...), the input of a network without steps."""
    return torch.ones(len(x), dtype=torch.int64, device=x.device)
