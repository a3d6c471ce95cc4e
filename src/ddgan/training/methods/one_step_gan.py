"""The one-step GAN and WGAN-GP: an image from noise in a single call (paper section 5, Tables 1 to 3, Fig 6).

    x_0 = G(x, z),   x ~ N(0, I) in the image's shape, z ~ N(0, I)

G and D are the networks of the denoising diffusion GAN: G's noisy image is pure noise, D's second image is
black, and nothing is conditioned on x_t. The losses of the GAN are the run's objective (non-saturating, R1).
With the forward process as augmentation, D judges real and fake images at the noise levels of a chain of T
steps, which it is told (Table 2, "one-shot"; T = 1 leaves the images as they are):

    D( q(x_{t-1} | x_0), t )   against   D( q(x_{t-1} | G(x, z)), t ),   t uniform in 1..T

WGAN-GP (Gulrajani et al., 2017), with u uniform in 0..1 for each pair and x^ = u x_0 + (1 - u) G(x, z):

    L_D = D(G(x, z)) - D(x_0) + lambda (||grad D(x^)|| - 1)^2 ,   L_G = -D(G(x, z))

whose critic can judge noised images too: x_0 and G(x, z) are then those of a noise level, as above.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ddgan.data.batch import Batch
from ddgan.losses import adversarial as losses
from ddgan.models.baseline import Baseline
from ddgan.system.randomness import ImageNoise
from ddgan.training.iteration import Statistics, detached, finish_iteration, run, update, variance
from ddgan.training.methods.baseline_config import BaselineConfig, CriticConfig
from ddgan.training.noise import HalfStepNoise, StepNoise
from ddgan.training.state import TrainState


class OneStepGAN(Baseline):
    """A generator that makes an image in one call."""

    def images_of(self, noise: ImageNoise) -> Tensor:
        x = noise(*self.state_shape)
        return self.generator(x, first_step(x), noise(self.config.generator.latent_size))


def first_step(x: Tensor) -> Tensor:
    """t = 1 for each of (B, ...): what a network is told that knows no steps."""
    return torch.ones(len(x), dtype=torch.int64, device=x.device)


def gan_step(state: TrainState, batch: Batch, noise: StepNoise) -> Statistics:
    """Update D, then G and its averages, on images (B, ...) in [-1, 1]; statistics as in `train_step`."""
    of_d = discriminator_step(state, batch.images, noise.discriminator)
    of_g = generator_step(state, batch.images, noise.generator)
    skipped = of_d["skipped"] + of_g["skipped"]
    finish_iteration(state, len(batch.images), skipped)
    return of_d | of_g | {"skipped": skipped}


def generated(state: TrainState, noise: HalfStepNoise) -> Tensor:
    """G's images for the noise of an iteration, (B, ...)."""
    return run(state, state.generator, noise.noise_step, first_step(noise.noise_step), noise.z)


def both_sides(state: TrainState, x_0: Tensor, noise: HalfStepNoise) -> tuple[Tensor, Tensor]:
    """What D compares: real images and G's, both at the noise level of x_{t-1}; G gets no gradient."""
    with torch.no_grad():
        fake = state.diffusion.diffuse(generated(state, noise), noise.t - 1, noise.noise_posterior)
    return state.diffusion.diffuse(x_0, noise.t - 1, noise.noise_prev), fake


def judged_fake(state: TrainState, images: Tensor, noise: HalfStepNoise) -> Tensor:
    """D's logits of G's images (B, ...) at the noise level of x_{t-1}."""
    return judged(state, state.diffusion.diffuse(images, noise.t - 1, noise.noise_posterior), noise.t)


def judged(state: TrainState, x: Tensor, t: Tensor) -> Tensor:
    """D's logits (B,) of images at the noise level of x_{t-1}; the place of x_t is black."""
    return run(state, state.discriminator, x, torch.zeros_like(x), t)


def discriminator_step(state: TrainState, x_0: Tensor, noise: HalfStepNoise) -> Statistics:
    """One update of D on images (B, ...) in [-1, 1]; G gets no gradient."""
    objective, t = state.objective, noise.t
    state.optimizer_d.zero_grad(set_to_none=True)
    real, fake = both_sides(state, x_0, noise)
    weights: dict[str, float] = {p.kind: p.weight(state.step) for p in objective.penalties}
    real.requires_grad_(weights.get("r1", 0) > 0)
    fake.requires_grad_(weights.get("r2", 0) > 0)
    d_real, d_fake = judged(state, real, t), judged(state, fake, t)
    loss = losses.discriminator_loss(objective.adversarial, d_real, d_fake)
    statistics = {"t_d": t, "d_real": d_real, "d_fake": d_fake, "loss_d": loss}
    for kind, (logits, x) in {"r1": (d_real, real), "r2": (d_fake, fake)}.items():
        if x.requires_grad:
            statistics[kind] = weights[kind] * losses.squared_gradient(logits, x)
            loss = loss + statistics[kind]
    loss.mean().backward()
    return detached(statistics) | {"skipped": update(state, state.optimizer_d, state.learning_rates()[1])}


def generator_step(state: TrainState, x_0: Tensor, noise: HalfStepNoise) -> Statistics:
    """One update of G against D, whose weights get no gradient."""
    state.discriminator.requires_grad_(False)
    state.optimizer_g.zero_grad(set_to_none=True)
    images, t = generated(state, noise), noise.t
    d_fake = judged_fake(state, images, noise)
    d_real = None
    if state.objective.adversarial == "relativistic":
        with torch.no_grad():
            d_real = judged(state, state.diffusion.diffuse(x_0, t - 1, noise.noise_prev), t)
    loss = losses.generator_loss(state.objective.adversarial, d_real, d_fake)
    loss.mean().backward()
    state.discriminator.requires_grad_(True)
    spread = {"variance_fake": variance(images.detach()), "variance_real": variance(x_0)}
    skipped = update(state, state.optimizer_g, state.learning_rates()[0])
    return detached({"t_g": t, "loss_g": loss}) | spread | {"skipped": skipped}


def wgan_step(critic: CriticConfig) -> Callable[[TrainState, Batch, StepNoise], Statistics]:
    """The iteration of a WGAN-GP: an update of the critic on new data; each `critic.updates`-th also of G."""

    def step(state: TrainState, batch: Batch, noise: StepNoise) -> Statistics:
        statistics = critic_step(state, batch.images, noise, critic)
        skipped = statistics["skipped"]
        if (state.step + 1) % critic.updates == 0:
            of_g = critic_guided_step(state, noise.generator)
            skipped = skipped + of_g["skipped"]
            statistics = statistics | of_g
        finish_iteration(state, len(batch.images), skipped)
        return statistics | {"skipped": skipped}

    return step


def critic_step(state: TrainState, x_0: Tensor, noise: StepNoise, critic: CriticConfig) -> Statistics:
    """One update of the critic on images or points (B, ...)."""
    state.optimizer_d.zero_grad(set_to_none=True)
    t = noise.discriminator.t
    real, fake = both_sides(state, x_0, noise.discriminator)
    spare = noise.generator.noise_prev.flatten(1)[:, 0]  # normal numbers that the update of G has no use for
    share = torch.special.ndtr(spare).view(-1, *[1] * (x_0.ndim - 1))
    between = torch.lerp(fake, real, share).requires_grad_(True)
    d_real, d_fake = judged(state, real, t), judged(state, fake, t)
    slope = losses.squared_gradient(judged(state, between, t), between).clamp_min(1e-12).sqrt()
    penalty = critic.penalty_weight * (slope - 1).square()
    loss = d_fake - d_real + penalty
    loss.mean().backward()
    statistics = {"t_d": t, "d_real": d_real, "d_fake": d_fake, "loss_d": loss, "penalty": penalty}
    return detached(statistics) | {"skipped": update(state, state.optimizer_d, state.learning_rates()[1])}


def critic_guided_step(state: TrainState, noise: HalfStepNoise) -> Statistics:
    """One update of G, whose loss is what the critic says of its images."""
    state.discriminator.requires_grad_(False)
    state.optimizer_g.zero_grad(set_to_none=True)
    loss = -judged_fake(state, generated(state, noise), noise)
    loss.mean().backward()
    state.discriminator.requires_grad_(True)
    skipped = update(state, state.optimizer_g, state.learning_rates()[0])
    return detached({"t_g": noise.t, "loss_g": loss}) | {"skipped": skipped}


def num_levels(config: BaselineConfig) -> int:
    """How many noise levels D sees."""
    return config.diffusion.num_steps
