"""One training iteration: a discriminator update, then a generator update (paper section 3).

A pure function of (state, batch, noise) but for the update of `state` itself: no files, no clock, no
random numbers of its own. Both updates see the same images with different t, noise and latents.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from ddgan import losses
from ddgan.data.base import Batch
from ddgan.diffusion import Diffusion
from ddgan.losses import ObjectiveConfig
from ddgan.random import generator_for
from ddgan.training.ema import update_ema


@dataclass(frozen=True)
class OptimizationConfig:
    """Optimizers, their schedule and the average; the defaults are the paper's for CIFAR-10.

    Args:
        generator_lr: Adam's learning rate for G.
        discriminator_lr: Adam's learning rate for D.
        betas: Adam's decay rates.
        final_lr: where the cosine decay ends, at the last iteration.
        decay_every: iterations between two changes of the learning rate (the paper: one epoch).
        ema_decay: decay of the average of G's weights, per iteration; 0 keeps the weights themselves.
    """

    generator_lr: float = 1.6e-4
    discriminator_lr: float = 1.25e-4
    betas: tuple[float, float] = (0.5, 0.9)
    final_lr: float = 1e-5
    decay_every: int = 1
    ema_decay: float = 0.9999

    def __post_init__(self) -> None:
        for name in ("generator_lr", "discriminator_lr"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"optimization.{name} is {getattr(self, name)}; it must be finite and above 0"
                )
        if self.decay_every < 1:
            raise ValueError(f"optimization.decay_every is {self.decay_every}; it must be at least 1")
        if not 0 <= self.final_lr < math.inf:
            raise ValueError(f"optimization.final_lr is {self.final_lr}; it must be finite and 0 or more")
        for name in ("betas", "ema_decay"):
            values = getattr(self, name)
            if not all(0 <= value < 1 for value in (values if name == "betas" else [values])):
                raise ValueError(f"optimization.{name} is {values}; it must be in [0, 1)")


@dataclass(frozen=True)
class HalfStepNoise:
    """The random numbers of one update, for a batch of B images."""

    t: Tensor  # int64 (B,) in 1..T
    z: Tensor  # (B, latent_size)
    noise_prev: Tensor  # (B, ...): x_0 -> x_{t-1}
    noise_step: Tensor  # (B, ...): x_{t-1} -> x_t
    noise_posterior: Tensor  # (B, ...): the fake x_{t-1}


@dataclass(frozen=True)
class StepNoise:
    """The random numbers of one iteration."""

    discriminator: HalfStepNoise
    generator: HalfStepNoise


def draw_noise(seed: int, step: int, images: Tensor, num_steps: int, latent_size: int) -> StepNoise:
    """The noise of iteration `step` for a global batch like `images` (B, ...); t is uniform in 1..T."""

    def half(purpose: str) -> HalfStepNoise:
        rng = generator_for(seed, purpose, step, device=images.device)

        def normal(shape: torch.Size | tuple[int, ...]) -> Tensor:
            return torch.randn(shape, generator=rng, device=images.device, dtype=images.dtype)

        size = (len(images),)
        t = torch.randint(1, num_steps + 1, size, generator=rng, device=images.device)
        z = normal((*size, latent_size))
        return HalfStepNoise(t, z, normal(images.shape), normal(images.shape), normal(images.shape))

    return StepNoise(half("discriminator step"), half("generator step"))


@dataclass
class TrainState:
    """Everything that training changes, and the fixed parts that a step needs."""

    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module
    optimizer_g: torch.optim.Adam
    optimizer_d: torch.optim.Adam
    schedulers: tuple[CosineAnnealingLR, CosineAnnealingLR]
    diffusion: Diffusion
    objective: ObjectiveConfig
    ema_decay: float
    decay_every: int = 1
    step: int = 0

    @classmethod
    def create(
        cls,
        generator: nn.Module,
        discriminator: nn.Module,
        diffusion: Diffusion,
        objective: ObjectiveConfig,
        optimization: OptimizationConfig,
        num_iterations: int,
    ) -> TrainState:
        """A state at step 0; the learning rates follow a cosine over `num_iterations`."""
        optimizers = [
            torch.optim.Adam(network.parameters(), lr=lr, betas=optimization.betas, fused=True)
            for network, lr in (
                (generator, optimization.generator_lr),
                (discriminator, optimization.discriminator_lr),
            )
        ]
        periods = max(num_iterations // optimization.decay_every, 1)
        schedulers = [
            CosineAnnealingLR(optimizer, periods, eta_min=optimization.final_lr) for optimizer in optimizers
        ]
        return cls(
            generator,
            discriminator,
            copy.deepcopy(generator).requires_grad_(False).eval(),
            optimizers[0],
            optimizers[1],
            (schedulers[0], schedulers[1]),
            diffusion,
            objective,
            optimization.ema_decay,
            optimization.decay_every,
        )


def train_step(state: TrainState, batch: Batch, noise: StepNoise) -> dict[str, Tensor]:
    """Update D, then G and its average, on images (B, ...) in [-1, 1] and their classes, if any.

    Returns:
        Detached values per sample, (B,): `t_d`, `d_real`, `d_fake`, `loss_d`, the penalties by name
        (absent where skipped), `t_g`, `loss_g`, and `reconstruction` where it is part of the loss.
    """
    statistics = discriminator_step(state, batch, noise.discriminator)
    statistics |= generator_step(state, batch, noise.generator)
    update_ema(state.ema, state.generator, state.ema_decay if state.step else 0.0)
    state.step += 1
    if state.step % state.decay_every == 0:
        for scheduler in state.schedulers:
            scheduler.step()
    return statistics


def discriminator_step(state: TrainState, batch: Batch, noise: HalfStepNoise) -> dict[str, Tensor]:
    """One update of D: real pairs (x_{t-1}, x_t) against fakes that share x_t. G gets no gradient."""
    diffusion, objective = state.diffusion, state.objective
    x_0, y, t = batch.images, batch.labels, noise.t
    x_prev, x_t = diffusion.pair(x_0, t, noise.noise_prev, noise.noise_step)
    with torch.no_grad():
        prediction = state.generator(x_t, t, noise.z, y)
        fake_prev = diffusion.denoise(prediction, x_t, t, noise.noise_posterior)

    weights: dict[str, float] = {p.kind: p.weight(state.step) for p in objective.penalties}
    x_prev.requires_grad_(weights.get("r1", 0) > 0)
    fake_prev.requires_grad_(weights.get("r2", 0) > 0)
    d_real = state.discriminator(x_prev, x_t, t, y)
    d_fake = state.discriminator(fake_prev, x_t, t, y)
    loss = losses.discriminator_loss(objective.adversarial, d_real, d_fake)
    statistics = {"t_d": t, "d_real": d_real, "d_fake": d_fake, "loss_d": loss}
    for kind, (logits, x) in {"r1": (d_real, x_prev), "r2": (d_fake, fake_prev)}.items():
        if weights.get(kind, 0) > 0:
            statistics[kind] = weights[kind] * losses.squared_gradient(logits, x)
            loss = loss + statistics[kind]

    _update(state.optimizer_d, loss)
    return {name: value.detach() for name, value in statistics.items()}


def generator_step(state: TrainState, batch: Batch, noise: HalfStepNoise) -> dict[str, Tensor]:
    """One update of G against the updated D, whose weights get no gradient."""
    diffusion, objective = state.diffusion, state.objective
    x_0, y, t = batch.images, batch.labels, noise.t
    x_prev, x_t = diffusion.pair(x_0, t, noise.noise_prev, noise.noise_step)
    state.discriminator.requires_grad_(False)
    prediction = state.generator(x_t, t, noise.z, y)
    fake_prev = diffusion.denoise(prediction, x_t, t, noise.noise_posterior)
    d_real = None
    if objective.adversarial == "relativistic":
        with torch.no_grad():
            d_real = state.discriminator(x_prev, x_t, t, y)
    d_fake = state.discriminator(fake_prev, x_t, t, y)
    loss = losses.generator_loss(objective.adversarial, d_real, d_fake)
    statistics = {"t_g": t, "loss_g": loss}
    if objective.reconstruction != "none":
        predicted = diffusion.predicted_x_0(prediction, x_t, t)
        error = losses.reconstruction_loss(objective.reconstruction, predicted, x_0)
        statistics["reconstruction"] = error
        signal = diffusion.alpha_bar[t] if objective.reconstruction_by_signal else 1.0
        loss = loss + objective.reconstruction_weight * signal * error

    _update(state.optimizer_g, loss)
    state.discriminator.requires_grad_(True)
    return {name: value.detach() for name, value in statistics.items()}


def _update(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.mean().backward()
    optimizer.step()
