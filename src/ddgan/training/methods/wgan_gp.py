"""WGAN-GP (Gulrajani et al., 2017).

With u uniform in 0..1 for each pair and x^ = u x_0 + (1 - u) G(x, z):

    L_D = D(G(x, z)) - D(x_0) + lambda (||grad D(x^)|| - 1)^2 ,   L_G = -D(G(x, z))

The critic can also compare diffused samples, see `one_step_gan`: x_0 and G(x, z) are then taken at a noise
level.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated

import torch

from ddgan.config.components import Component, default, register
from ddgan.config.settings import Interval
from ddgan.data.batch import Batch
from ddgan.losses.penalties import squared_gradient
from ddgan.networks.interfaces import DiscriminatorConfig
from ddgan.training.methods.objectives import ADVERSARIAL
from ddgan.training.methods.one_step_gan import (
    SingleDiscriminator,
    both_sides,
    fake_logits,
    generated,
    logits_of,
)
from ddgan.training.noise import StepNoise
from ddgan.training.state import DISCRIMINATOR, GENERATOR, Terms, TrainState, Update, UpdateStatistics

__all__ = ["WGANGP"]


@register("method", "wgan_gp")
class WGANGP(SingleDiscriminator):
    """A one-step GAN trained on the Wasserstein distance.

    Args:
        penalty_weight: lambda; above 0.
        critic_updates: updates of the critic, each on new data, per update of the generator.
        discriminator: the critic.
    """

    penalty_weight: Annotated[float, Interval(gt=0, le=1e6)] = 10.0
    critic_updates: Annotated[int, Interval(ge=1, le=1000)] = 5
    discriminator: Annotated[DiscriminatorConfig, Component("discriminator")] = default(
        "discriminator", "resnet"
    )

    def updates(self, step: int) -> Sequence[Update]:
        """Update the critic, and in every `critic_updates`-th iteration G."""
        critic = Update(DISCRIMINATOR, self.critic_loss)
        if (step + 1) % self.critic_updates:
            return (critic,)
        return (critic, Update(GENERATOR, self.generator_loss, freezes=(DISCRIMINATOR,)))

    def iteration_kind(self, step: int) -> Hashable:
        return (step + 1) % self.critic_updates == 0

    @property
    def period(self) -> int:
        return self.critic_updates

    def critic_loss(
        self, state: TrainState, batch: Batch, noise: StepNoise
    ) -> tuple[Terms, UpdateStatistics]:
        """Return L_D's terms; statistics: `t`, `d_real`, `d_fake`, `loss_d` and `penalty`."""
        own = noise.discriminator
        real, fake = both_sides(state, batch, own)
        spare = noise.generator.noise_prev.flatten(1)[:, 0]  # unused by the update of G
        share = torch.special.ndtr(spare).view(-1, *[1] * (batch.x.ndim - 1))
        between = torch.lerp(fake, real, share).requires_grad_(True)
        d_real, d_fake = logits_of(state, real, own.t, batch), logits_of(state, fake, own.t, batch)
        slope = squared_gradient(logits_of(state, between, own.t, batch), between).clamp_min(1e-12).sqrt()
        penalty = self.penalty_weight * (slope - 1).square()
        terms = {ADVERSARIAL: d_fake - d_real, "penalty": penalty}
        loss = terms[ADVERSARIAL] + penalty
        return terms, {"t": own.t, "d_real": d_real, "d_fake": d_fake, "loss_d": loss, "penalty": penalty}

    def generator_loss(
        self, state: TrainState, batch: Batch, noise: StepNoise
    ) -> tuple[Terms, UpdateStatistics]:
        """Return L_G, the negated output of the critic; statistics: `t` and `loss_g`."""
        loss = -fake_logits(state, generated(state, batch, noise.generator), noise.generator, batch)
        return {ADVERSARIAL: loss}, {"t": noise.generator.t, "loss_g": loss}
