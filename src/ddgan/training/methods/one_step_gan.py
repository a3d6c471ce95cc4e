"""The one-step GAN: a sample from noise in a single call (paper section 5, Tables 1 to 3, Fig 6).

    x_0 = G(x, z),   x ~ N(0, I) in the shape of a sample, z ~ N(0, I)

G and D are the networks of the denoising diffusion GAN: G's input image is pure noise, D's second image is
zero, and nothing is conditioned on x_t. With the forward process as augmentation, D compares real and fake
samples at the noise levels t of a chain of T = `diffusion.num_steps` steps (Table 2, "one-shot"; T = 1 leaves
the samples unchanged):

    D( q(x_{t-1} | x_0), t )   against   D( q(x_{t-1} | G(x, z)), t ),   t uniform in 1..T
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch
from torch import Tensor, nn

from ddgan.config.components import Component, default, register
from ddgan.config.run_config import RunConfig
from ddgan.data.batch import Batch
from ddgan.models.one_step import OneStepGAN, first_step
from ddgan.networks.interfaces import DiscriminatorConfig
from ddgan.training.forward import run, spread
from ddgan.training.methods.objectives import (
    ADVERSARIAL,
    Adversarial,
    AdversarialMethod,
    Due,
    Penalties,
    lazy_r1,
)
from ddgan.training.noise import HalfStepNoise, StepNoise, draw_noise, spare_noise
from ddgan.training.state import Method, Terms, TrainState, UpdateStatistics

__all__ = ["OneStepGANMethod", "SingleDiscriminator"]

ONLY = "sample"
"""The role of the discriminator, which sees single samples."""


class SingleDiscriminator(Method):
    """Base of the methods in which one D compares real samples with those made in one step."""

    discriminator: DiscriminatorConfig

    def discriminators_of(self) -> Mapping[str, DiscriminatorConfig]:
        return {ONLY: self.discriminator}

    def draw(self, config: RunConfig, step: int, x: Tensor) -> StepNoise:
        return draw_noise(config.seed, step, x, config.diffusion.num_steps, config.generator.latent_size)

    def open(
        self, generator: nn.Module, config: RunConfig, sample_shape: tuple[int, ...], license: str = ""
    ) -> OneStepGAN:
        return OneStepGAN(generator, config, sample_shape, license)


def generated(state: TrainState, batch: Batch, noise: HalfStepNoise) -> Tensor:
    """Return G's samples (B, ...) for the noise of an iteration."""
    x = noise.noise_step
    return run(state, state.generator, x, first_step(x), noise.z, batch.condition)


def both_sides(state: TrainState, batch: Batch, noise: HalfStepNoise) -> tuple[Tensor, Tensor]:
    """Return real and fake samples for D, both at the noise level of x_{t-1}; G gets no gradient."""
    with torch.no_grad():
        fake = state.diffusion.diffuse(generated(state, batch, noise), noise.t - 1, noise.noise_posterior)
    return state.diffusion.diffuse(batch.x, noise.t - 1, noise.noise_prev), fake


def logits_of(state: TrainState, x: Tensor, t: Tensor, batch: Batch) -> Tensor:
    """Return D's logits (B,) on samples at the noise level of x_{t-1}; x_t is replaced by zeros."""
    return run(state, state.discriminators[ONLY], x, torch.zeros_like(x), t, batch.condition)


def fake_logits(state: TrainState, samples: Tensor, noise: HalfStepNoise, batch: Batch) -> Tensor:
    """Return D's logits on G's samples (B, ...), diffused to the noise level of x_{t-1}."""
    noised = state.diffusion.diffuse(samples, noise.t - 1, noise.noise_posterior)
    return logits_of(state, noised, noise.t, batch)


@register("method", "one_step_gan")
class OneStepGANMethod(SingleDiscriminator, AdversarialMethod):
    """A one-step GAN.

    Args:
        adversarial: the adversarial loss.
        penalties: gradient penalties on D.
        discriminator: the network D.
    """

    adversarial: Adversarial = default("adversarial", "nonsaturating")
    penalties: Penalties = lazy_r1()
    discriminator: Annotated[DiscriminatorConfig, Component("discriminator")] = default(
        "discriminator", "resnet"
    )

    def discriminator_loss(
        self, state: TrainState, batch: Batch, noise: StepNoise
    ) -> tuple[Terms, UpdateStatistics]:
        """Return L_D's terms; statistics: `t`, `d_real`, `d_fake`, `loss_d`, and due penalties by kind."""
        own = noise.discriminator
        real, fake = both_sides(state, batch, own)
        due = Due(self.penalties, state, real, fake, spare_noise(noise))
        d_real, d_fake = (logits_of(state, x, own.t, batch) for x in (real, fake))
        loss = self.adversarial.discriminator(d_real, d_fake)
        statistics = {"t": own.t, "d_real": d_real, "d_fake": d_fake, "loss_d": loss}

        def evaluate(x: Tensor, rows: Tensor) -> Tensor:
            return logits_of(state, x, own.t[rows], batch.rows(rows))

        penalties = due.terms(d_real, d_fake, evaluate, state.discriminators[ONLY])
        return {ADVERSARIAL: loss} | penalties, statistics | penalties

    def generator_loss(
        self, state: TrainState, batch: Batch, noise: StepNoise
    ) -> tuple[Terms, UpdateStatistics]:
        """Return L_G's terms; statistics: `t`, `loss_g`, `variance_fake` and `variance_real`."""
        own = noise.generator
        samples = generated(state, batch, own)
        d_fake, d_real = fake_logits(state, samples, own, batch), None
        if self.adversarial.needs_real:
            with torch.no_grad():
                d_real = logits_of(
                    state, state.diffusion.diffuse(batch.x, own.t - 1, own.noise_prev), own.t, batch
                )
        loss = self.adversarial.generator(d_real, d_fake)
        return {ADVERSARIAL: loss}, {"t": own.t, "loss_g": loss} | spread(samples, batch.x)
