"""The denoising diffusion GAN (paper section 3): a conditional GAN models each of T large denoising steps.

    x^_{t-1} ~ q(. | x_t, G(x_t, t, z))
    L_D = adversarial(D(x_{t-1}, x_t, t), D(x^_{t-1}, x_t, t)) + penalties
    L_G = adversarial(D(x^_{t-1}, x_t, t)) + reconstruction(G(x_t, t, z), x_0)

Real pairs come from the forward process, x_0 -> x_{t-1} -> x_t; t is uniform in 1..T unless `step_weights`
says otherwise. Both updates of an iteration use the same images with different t, noise and latents. A
marginal discriminator D(x_{t-1}, t), which does not see x_t, can be added, or can replace the first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

import torch
from annotated_types import Len
from torch import Tensor, nn

from ddgan.config.components import Component, default, find, register
from ddgan.config.ramps import at
from ddgan.config.run_config import RunConfig
from ddgan.config.settings import Interval, SettingError
from ddgan.data.batch import Batch
from ddgan.losses.pair_augmentation import (
    NUM_UNIFORMS,
    PairAugmentation,
    PairAugmentationConfig,
    adapted,
)
from ddgan.losses.reconstruction import Reconstruction, power_at, squared_error
from ddgan.losses.transport import TransportConfig, squared_distance
from ddgan.models.ddgan import DDGAN
from ddgan.networks.encoder import give_encoder
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
from ddgan.training.state import GENERATOR, Terms, TrainState, Update, UpdateStatistics

__all__ = ["DenoisingGAN"]

Role = Literal["pair", "marginal"]
PAIR: Role = "pair"


@register("method", "denoising_gan")
class DenoisingGAN(AdversarialMethod):
    """The paper's method; the defaults are its settings for CIFAR-10.

    Args:
        adversarial: the adversarial loss.
        penalties: gradient penalties on D.
        reconstruction: distance between the predicted and the true x_0, added to G's loss; none in the
            paper.
        transport: the cost of moving x_t to the predicted x_0, in the losses of both networks; none in the
            paper.
        augmentation: random transforms of what D sees; none in the paper.
        denoise_first: iterations at the start in which G alone is trained, to predict x_0 with the least mean
            squared error, and D waits; a D of the kind `encoder` then starts as G's. 0 in the paper.
        step_weights: how often each t of 1..T is trained, relative to the others; by default all alike, as in
            the paper. Samples lose most in the last steps, of the smallest t.
        discriminators: by role: "pair" sees (x_{t-1}, x_t), "marginal" only x_{t-1}; their losses are
            added.
    """

    adversarial: Adversarial = default("adversarial", "nonsaturating")
    penalties: Penalties = lazy_r1()
    reconstruction: Annotated[Reconstruction, Component("reconstruction")] | None = None
    transport: TransportConfig | None = None
    augmentation: PairAugmentationConfig | None = None
    denoise_first: Annotated[int, Interval(ge=0, le=10**9)] = 0
    step_weights: tuple[Annotated[float, Interval(ge=1e-6, le=1e6)], ...] = ()
    discriminators: Annotated[
        dict[Role, Annotated[DiscriminatorConfig, Component("discriminator")]], Len(min_length=1)
    ] = dataclasses.field(default_factory=lambda: {PAIR: find("discriminator", "resnet")()})

    def check(self, config: RunConfig) -> None:
        terms = {
            "reconstruction": self.reconstruction,
            "transport": self.transport,
            "denoise_first": self.denoise_first or None,
        }
        for name, term in terms.items() if config.diffusion.prediction == "x_prev" else ():
            if term is not None:
                raise SettingError(
                    f"method.{name}",
                    "compares x_0, which diffusion.prediction x_prev does not give; leave it out",
                )

        if self.step_weights and len(self.step_weights) != config.diffusion.num_steps:
            raise SettingError(
                "method.step_weights",
                f"has {len(self.step_weights)} weights, but diffusion.num_steps is "
                f"{config.diffusion.num_steps}; give a weight for each t of 1..T, or none",
            )

    def discriminators_of(self) -> Mapping[str, DiscriminatorConfig]:
        return {role: config for role, config in self.discriminators.items()}  # noqa: C416 (roles are text)

    @property
    def first_strength(self) -> float:
        return 0.0 if self.augmentation is None else at(self.augmentation.probability, 0, 1)

    def adapted_strength(self, strength: float, record: Mapping[str, Any], seen: float) -> float | None:
        config = self.augmentation
        sign = next((record[name] for name in ("sign_real", "sign_real_marginal") if name in record), None)
        if config is None or not config.target or sign is None:
            return None
        return adapted(strength, sign, config.target, config.images, seen)

    def prepare(self, state: TrainState) -> None:
        if state.step == self.denoise_first > 0:
            give_encoder(state.generator, state.discriminators)

    def updates(self, step: int) -> Sequence[Update]:
        if step < self.denoise_first:
            return (Update(GENERATOR, self.denoising_loss),)
        return super().updates(step)

    def iteration_kind(self, step: int) -> Hashable:
        return step < self.denoise_first or super().iteration_kind(step)

    @property
    def first_usual(self) -> int:
        return self.denoise_first

    def draw(self, config: RunConfig, step: int, x: Tensor) -> StepNoise:
        sizes = config.diffusion.num_steps, config.generator.latent_size
        return draw_noise(config.seed, step, x, *sizes, self.step_weights)

    def open(
        self, generator: nn.Module, config: RunConfig, sample_shape: tuple[int, ...], license: str = ""
    ) -> DDGAN:
        return DDGAN(generator, config, sample_shape, license)

    def discriminator_loss(
        self, state: TrainState, batch: Batch, noise: StepNoise
    ) -> tuple[Terms, UpdateStatistics]:
        """Return L_D's terms: real pairs (x_{t-1}, x_t) against fakes that share x_t. G gets no gradient.

        Statistics per sample: `t`, `d_real`, `d_fake`, `loss_d`, and the due penalties by kind; those of a
        marginal D end in `_marginal`.
        """
        diffusion, own = state.diffusion, noise.discriminator
        x_prev, x_t = diffusion.pair(batch.x, own.t, own.noise_prev, own.noise_step)
        with torch.no_grad():
            prediction, fake_prev = self._fake(state, batch, own, x_t)
            paid = self.transport is not None
            predicted = self._predicted(state, prediction, x_t, own.t) if paid else None
            cost = self._transport_cost(state, predicted, x_t)
        augment, given = self._augmentation(state, batch, noise.generator)
        x_prev, fake_prev, x_t = augment(x_prev), augment(fake_prev), augment(x_t)
        due = Due(self.penalties, state, x_prev, fake_prev, spare_noise(noise))
        statistics: UpdateStatistics = {"t": own.t}
        terms: Terms = {}
        for suffix, discriminator, seen in self._roles(state, x_t):
            d_real = run(state, discriminator, x_prev, seen, own.t, given.condition)
            d_fake = run(state, discriminator, fake_prev, seen, own.t, given.condition)
            loss = self.adversarial.discriminator(d_real, d_fake if cost is None else d_fake - cost)
            statistics |= {f"d_real{suffix}": d_real, f"d_fake{suffix}": d_fake, f"loss_d{suffix}": loss}
            evaluate = partial(self._logits, state, given, own, discriminator, seen)
            penalties = due.terms(d_real, d_fake, evaluate, discriminator, suffix)
            terms |= {f"{ADVERSARIAL}{suffix}": loss} | penalties
            statistics |= penalties
            if self.augmentation is not None and self.augmentation.target:
                statistics[f"sign_real{suffix}"] = d_real.sign()
        return terms, statistics

    def generator_loss(
        self, state: TrainState, batch: Batch, noise: StepNoise
    ) -> tuple[Terms, UpdateStatistics]:
        """Return L_G's terms against the updated D.

        Statistics per sample: `t`, `loss_g`, `variance_fake` and `variance_real` (of the predicted and true
        x_0 over the batch), and `reconstruction` if it is part of the loss.
        """
        diffusion, own = state.diffusion, noise.generator
        x_prev, x_t = diffusion.pair(batch.x, own.t, own.noise_prev, own.noise_step)
        prediction, fake_prev = self._fake(state, batch, own, x_t)
        predicted = self._predicted(state, prediction, x_t, own.t)
        cost = self._transport_cost(state, predicted, x_t)
        augment, given = self._augmentation(state, batch, noise.discriminator)
        fake_prev, seen_t = augment(fake_prev), augment(x_t)
        if self.adversarial.needs_real:
            x_prev = augment(x_prev)
        statistics: UpdateStatistics = {"t": own.t}
        terms: Terms = {}
        for suffix, discriminator, seen in self._roles(state, seen_t):
            d_real = None
            if self.adversarial.needs_real:
                with torch.no_grad():
                    d_real = run(state, discriminator, x_prev, seen, own.t, given.condition)
            d_fake = run(state, discriminator, fake_prev, seen, own.t, given.condition)
            if cost is not None and self.transport is not None and self.transport.form == "logit":
                d_fake = d_fake - cost
            loss = self.adversarial.generator(d_real, d_fake)
            terms[f"{ADVERSARIAL}{suffix}"] = statistics[f"loss_g{suffix}"] = loss
        if cost is not None and self.transport is not None:
            statistics["transport"] = cost
            if self.transport.form == "added":
                terms["transport"] = cost
        if predicted is not None:
            statistics |= spread(predicted, batch.x)
            if self.reconstruction is not None:
                error = self.reconstruction.error(predicted, batch.x)
                statistics["reconstruction"] = error
                power = power_at(self.reconstruction, diffusion.alpha_bar[own.t])
                terms["reconstruction"] = self.reconstruction.weight * power * error
        return terms, statistics

    def denoising_loss(
        self, state: TrainState, batch: Batch, noise: StepNoise
    ) -> tuple[Terms, UpdateStatistics]:
        """Return the mean squared error of the predicted x_0, which trains G before D exists for it.

        Statistics per sample: `t`, `reconstruction`, `variance_fake` and `variance_real`.
        """
        diffusion, own = state.diffusion, noise.generator
        _, x_t = diffusion.pair(batch.x, own.t, own.noise_prev, own.noise_step)
        prediction = run(state, state.generator, x_t, own.t, own.z, batch.condition)
        predicted = diffusion.predicted_x_0(prediction, x_t, own.t)
        error = squared_error(predicted, batch.x)
        return {"reconstruction": error}, {"t": own.t, "reconstruction": error} | spread(predicted, batch.x)

    def _augmentation(
        self, state: TrainState, batch: Batch, spare: HalfStepNoise
    ) -> tuple[Callable[[Tensor], Tensor], Batch]:
        """Return the transforms of D's inputs in this update, and the batch with D's image conditions.

        `spare` is the noise of the other update.
        """
        config = self.augmentation
        if config is None:
            return (lambda x: x), batch
        drawn = spare.noise_posterior.flatten(1)
        if spare.noise_posterior.ndim != 4 or drawn.shape[1] < NUM_UNIFORMS:
            raise SettingError(
                "method.augmentation",
                f"transforms images, but the samples have shape {list(spare.noise_posterior.shape[1:])}; "
                "leave it out",
            )
        probability = state.strength if config.target else state.value(config.probability)
        augment = PairAugmentation(config, probability, torch.special.ndtr(drawn[:, :NUM_UNIFORMS]))
        condition = batch.condition
        if condition is not None and condition.image is not None:
            condition = condition._replace(image=augment.moved(condition.image))
        return augment, Batch(batch.x, condition)

    def _predicted(self, state: TrainState, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor | None:
        """Return the x_0 (B, ...) that a prediction means; None if it is an x_{t-1}."""
        if state.diffusion.config.prediction == "x_prev":
            return None
        return state.diffusion.predicted_x_0(prediction, x_t, t)

    def _transport_cost(self, state: TrainState, predicted: Tensor | None, x_t: Tensor) -> Tensor | None:
        """Return the transport cost of a predicted x_0, (B,); None if the method has none."""
        if self.transport is None or predicted is None:
            return None
        cost: Tensor = state.value(self.transport.weight) * squared_distance(predicted, x_t)
        return cost

    def _fake(
        self, state: TrainState, batch: Batch, noise: HalfStepNoise, x_t: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return G's prediction, and the fake x_{t-1} drawn from it."""
        prediction = run(state, state.generator, x_t, noise.t, noise.z, batch.condition)
        return prediction, state.diffusion.denoise(prediction, x_t, noise.t, noise.noise_posterior)

    def _logits(
        self,
        state: TrainState,
        batch: Batch,
        noise: HalfStepNoise,
        discriminator: nn.Module,
        seen: Tensor,
        x_prev: Tensor,
        rows: Tensor,
    ) -> Tensor:
        """Return D's logits (R,) on rows (R,) of the batch, with other x_{t-1} (R, ...)."""
        return run(state, discriminator, x_prev, seen[rows], noise.t[rows], batch.rows(rows).condition)

    def _roles(self, state: TrainState, x_t: Tensor) -> Iterator[tuple[str, nn.Module, Tensor]]:
        """Yield for each discriminator the suffix of its statistics, itself, and its second input."""
        for role, discriminator in state.discriminators.items():
            is_pair = role == PAIR
            yield ("" if is_pair else f"_{role}"), discriminator, (x_t if is_pair else torch.zeros_like(x_t))

    def held_out_logits(self, state: TrainState, batch: Batch, seed: int) -> Tensor | None:
        if PAIR not in state.discriminators:
            return None
        noise = draw_noise(seed, 0, batch.x, state.diffusion.num_steps, 0).discriminator
        x_prev, x_t = state.diffusion.pair(batch.x, noise.t, noise.noise_prev, noise.noise_step)
        size, logits = max(state.batch_size // state.num_parts, 1), []
        for first in range(0, len(batch.x), size):  # no more at once than in training
            rows = slice(first, first + size)
            d: Any = state.discriminators[PAIR]
            condition = batch.rows(rows).condition
            logits.append(d.forward(x_prev[rows], x_t[rows], noise.t[rows], condition))  # uncompiled
        return torch.cat(logits)
