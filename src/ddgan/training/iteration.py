"""One training iteration: a discriminator update, then a generator update (paper section 3).

A pure function of (state, batch, noise) but for the update of `state` itself: no files, no clock, no
random numbers of its own. Both updates see the same images with different t, noise and latents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from ddgan.data.batch import Batch
from ddgan.losses import adversarial as losses
from ddgan.training.ema import update_ema
from ddgan.training.noise import HalfStepNoise, StepNoise
from ddgan.training.optimizers import guarded_update
from ddgan.training.state import Learner, TrainState

Statistics = dict[str, Tensor]
"""Detached values by name: (B,) one per sample, or () one per iteration."""


def train_step(
    state: TrainState,
    batch: Batch,
    noise: StepNoise,
    updates: Callable[[TrainState, Batch, StepNoise], Statistics] | None = None,
) -> Statistics:
    """Update D, then G and its averages, on images (B, ...) in [-1, 1] and their classes, if any.

    An update whose gradient is not finite is left out, on every process alike. `updates` makes both updates
    another way than `both_updates` does.

    Returns:
        Per sample, (B,): `t_d`, `d_real`, `d_fake`, `loss_d`, the penalties by name (absent where
        skipped), `t_g`, `loss_g`, `variance_fake` and `variance_real` (of the predicted and the true x_0
        over the batch), and `reconstruction` where it is part of the loss. Per iteration, (): `skipped`,
        how many of the two updates were left out.
    """
    statistics = (updates or both_updates)(state, batch, noise)
    finish_iteration(state, len(batch.images), statistics["skipped"])
    return statistics


def both_updates(state: TrainState, batch: Batch, noise: StepNoise) -> Statistics:
    """The updates of D and of G; all that they change is on the device."""
    of_d = discriminator_step(state, batch, noise.discriminator)
    forget_gradients(state.optimizer_d)
    of_g = generator_step(state, batch, noise.generator)
    forget_gradients(state.optimizer_g)
    return of_d | of_g | {"skipped": of_d["skipped"] + of_g["skipped"]}


def forget_gradients(optimizer: torch.optim.Adam) -> None:
    """Kept until the next update, gradients would lie scattered where activations are to be."""
    optimizer.zero_grad(set_to_none=True)


def finish_iteration(state: Learner, num_images: int, skipped: Tensor) -> None:
    """Move the averages after the generator, and count the iteration."""
    decays = state.optimization.ema_decays(state.batch_size or num_images, state.step)
    for average, decay in zip(state.averages, decays, strict=True):
        update_ema(average, state.generator, decay)
    state.streak = torch.where(skipped > 0, state.streak + 1, 0)
    state.step += 1


def discriminator_step(state: TrainState, batch: Batch, noise: HalfStepNoise) -> Statistics:
    """One update of D: real pairs (x_{t-1}, x_t) against fakes that share x_t. G gets no gradient."""
    state.optimizer_d.zero_grad(set_to_none=True)
    parts = []
    for part, part_noise in in_parts(state.num_parts, batch, noise):
        loss, statistics = discriminator_loss(state, part, part_noise)
        (loss.mean() / state.num_parts).backward()
        parts.append(statistics)
    return joined(parts) | {"skipped": update(state, state.optimizer_d, state.learning_rates()[1])}


def discriminator_loss(state: TrainState, batch: Batch, noise: HalfStepNoise) -> tuple[Tensor, Statistics]:
    """The loss of D per sample, (B,), and what it is made of."""
    diffusion, objective = state.diffusion, state.objective
    x_0, y, t = batch.images, batch.labels, noise.t
    x_prev, x_t = diffusion.pair(x_0, t, noise.noise_prev, noise.noise_step)
    with torch.no_grad():
        prediction = run(state, state.generator, x_t, t, noise.z, y)
        fake_prev = diffusion.denoise(prediction, x_t, t, noise.noise_posterior)

    weights: dict[str, float] = {p.kind: p.weight(state.step) for p in objective.penalties}
    x_prev.requires_grad_(weights.get("r1", 0) > 0)
    fake_prev.requires_grad_(weights.get("r2", 0) > 0)
    d_real = run(state, state.discriminator, x_prev, x_t, t, y)
    d_fake = run(state, state.discriminator, fake_prev, x_t, t, y)
    loss = losses.discriminator_loss(objective.adversarial, d_real, d_fake)
    statistics = {"t_d": t, "d_real": d_real, "d_fake": d_fake, "loss_d": loss}
    for kind, (logits, x) in {"r1": (d_real, x_prev), "r2": (d_fake, fake_prev)}.items():
        if weights.get(kind, 0) > 0:
            statistics[kind] = weights[kind] * losses.squared_gradient(logits, x)
            loss = loss + statistics[kind]
    return loss, detached(statistics)


def generator_step(state: TrainState, batch: Batch, noise: HalfStepNoise) -> Statistics:
    """One update of G against the updated D, whose weights get no gradient."""
    state.discriminator.requires_grad_(False)
    state.optimizer_g.zero_grad(set_to_none=True)
    parts = []
    for part, part_noise in in_parts(state.num_parts, batch, noise):
        loss, statistics = generator_loss(state, part, part_noise)
        (loss.mean() / state.num_parts).backward()
        parts.append(statistics)
    state.discriminator.requires_grad_(True)
    return joined(parts) | {"skipped": update(state, state.optimizer_g, state.learning_rates()[0])}


def generator_loss(state: TrainState, batch: Batch, noise: HalfStepNoise) -> tuple[Tensor, Statistics]:
    """The loss of G per sample, (B,), and what it is made of."""
    diffusion, objective = state.diffusion, state.objective
    x_0, y, t = batch.images, batch.labels, noise.t
    x_prev, x_t = diffusion.pair(x_0, t, noise.noise_prev, noise.noise_step)
    prediction = run(state, state.generator, x_t, t, noise.z, y)
    fake_prev = diffusion.denoise(prediction, x_t, t, noise.noise_posterior)
    d_real = None
    if objective.adversarial == "relativistic":
        with torch.no_grad():
            d_real = run(state, state.discriminator, x_prev, x_t, t, y)
    d_fake = run(state, state.discriminator, fake_prev, x_t, t, y)
    loss = losses.generator_loss(objective.adversarial, d_real, d_fake)
    statistics = {"t_g": t, "loss_g": loss}
    if diffusion.config.prediction != "x_prev":
        predicted = diffusion.predicted_x_0(prediction, x_t, t)
        statistics |= {"variance_fake": variance(predicted.detach()), "variance_real": variance(x_0)}
        if objective.reconstruction != "none":
            error = losses.reconstruction_loss(objective.reconstruction, predicted, x_0)
            statistics["reconstruction"] = error
            signal = diffusion.alpha_bar[t] if objective.reconstruction_by_signal else 1.0
            loss = loss + objective.reconstruction_weight * signal * error
    return loss, detached(statistics)


def run(state: Learner, network: nn.Module, first: Tensor, *others: Tensor | None) -> Tensor:
    """A network's output in the precision of its weights, computed in the state's precision.

    What a penalty differentiates twice is computed in full precision, and without a compiler, which
    cannot do that.
    """
    if first.requires_grad and first.is_leaf:
        return network.forward(first, *others)
    with torch.autocast(first.device.type, state.precision, enabled=state.precision is not None):
        output = network(first, *others)
    return output if state.precision is None else output.to(first.dtype)


def variance(x: Tensor) -> Tensor:
    """The mean squared distance of each sample (B, ...) to the batch's mean, (B,)."""
    return (x - x.mean(dim=0)).square().flatten(1).mean(dim=1)


def in_parts(count: int, batch: Batch, noise: HalfStepNoise) -> Iterator[tuple[Batch, HalfStepNoise]]:
    """The batch and its noise in `count` parts of equal size."""
    size = len(batch.images) // count
    for first in range(0, size * count, size):
        rows = slice(first, first + size)
        yield batch.rows(rows), noise.rows(rows)


def joined(parts: list[Statistics]) -> Statistics:
    """The statistics of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def detached(statistics: Statistics) -> Statistics:
    """The values without what they were computed from."""
    return {name: value.detach() for name, value in statistics.items()}


def update(state: Learner, optimizer: torch.optim.Adam, lr: float) -> Tensor:
    """Adam's step with the gradients' average over all processes; 1.0 where it was left out, else 0.0."""
    state.average_([p.grad for p in optimizer.param_groups[0]["params"] if p.grad is not None])
    return guarded_update(optimizer, lr)
