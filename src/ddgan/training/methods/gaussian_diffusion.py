"""The Gaussian denoiser: what DDPM and DDIM sample from (the paper's Table 1, Figs 4 and 6).

Each reverse step is a Gaussian, which is right for small steps only. The network predicts the noise e of
x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e, or what is the same, x_0, by the mean squared error. In terms of
x_0 the error of e is SNR ||x_0 - x^_0||^2 with SNR = abar_t / (1 - abar_t); a network that outputs x_0 is
trained by the same, with SNR limited (Hang et al., "Min-SNR weighting", 2023), because it grows without
bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from ddgan.config.components import register
from ddgan.config.run_config import RunConfig
from ddgan.config.settings import Interval, SettingError
from ddgan.data.batch import Batch
from ddgan.diffusion.ancestral import ChainConfig
from ddgan.losses.reconstruction import squared_error
from ddgan.models.gaussian import GaussianDiffusion
from ddgan.system.randomness import generator_for
from ddgan.training.forward import run
from ddgan.training.state import GENERATOR, Method, Terms, TrainState, Update, UpdateStatistics

__all__ = ["GaussianDiffusionMethod"]

NUM_BINS = 10
"""Bins of t that the loss is averaged over in the log."""


@dataclass(frozen=True)
class DenoisingNoise:
    """The random numbers of one iteration, for a batch of B samples."""

    t: Tensor  # int64 (B,) in 1..N
    noise: Tensor  # (B, ...): x_0 -> x_t

    def rows(self, rows: slice) -> DenoisingNoise:
        """Those of some of the samples."""
        return DenoisingNoise(self.t[rows], self.noise[rows])


@register("method", "gaussian_diffusion")
class GaussianDiffusionMethod(Method):
    """A denoiser trained by the mean squared error, over `diffusion.num_steps` steps.

    Args:
        snr_limit: the largest weight of a step, for a network that predicts x_0; above 0.
        chain: how the model is sampled, unless something else is asked for: DDPM over all steps by default.
    """

    snr_limit: Annotated[float, Interval(gt=0, le=1e6)] = 5.0
    chain: ChainConfig = ChainConfig()

    def check(self, config: RunConfig) -> None:
        if config.generator.latent_size:
            raise SettingError(
                "generator.latent_size",
                f"is {config.generator.latent_size}, but the method {self.kind} has no latent; set it to 0",
            )
        if config.diffusion.prediction == "x_prev":
            raise SettingError(
                "diffusion.prediction", f"is x_prev, but the method {self.kind} predicts x_0 or noise"
            )
        if self.chain.num_steps > config.diffusion.num_steps:
            raise SettingError(
                "method.chain.num_steps",
                f"is {self.chain.num_steps}; it must be at most diffusion.num_steps, "
                f"{config.diffusion.num_steps}",
            )

    def updates(self, step: int) -> Sequence[Update]:
        return (Update(GENERATOR, self.denoising_loss),)

    def draw(self, config: RunConfig, step: int, x: Tensor) -> DenoisingNoise:
        rng = generator_for(config.seed, "denoising step", step, device=x.device)
        t = torch.randint(1, config.diffusion.num_steps + 1, (len(x),), generator=rng, device=x.device)
        noise = torch.randn(x.shape, generator=rng, device=x.device, dtype=x.dtype)
        return DenoisingNoise(t, noise)

    def open(
        self, generator: nn.Module, config: RunConfig, sample_shape: tuple[int, ...], license: str = ""
    ) -> GaussianDiffusion:
        return GaussianDiffusion(generator, config, sample_shape, license)

    def num_bins(self, config: RunConfig) -> int:
        return NUM_BINS

    def denoising_loss(
        self, state: TrainState, batch: Batch, noise: DenoisingNoise
    ) -> tuple[Terms, UpdateStatistics]:
        """Return the weighted mean squared error; statistics: `loss_g`, and `t`, its bin in 1..10."""
        x_0, t = batch.x, noise.t
        x_t = state.diffusion.diffuse(x_0, t, noise.noise)
        z = x_t.new_zeros(len(x_t), 0)
        predicted = run(state, state.generator, x_t, t, z, batch.condition)
        if state.diffusion.config.prediction == "noise":
            loss = squared_error(predicted, noise.noise)
        else:
            power = state.diffusion.alpha_bar[t]
            loss = (power / (1 - power)).clamp_max(self.snr_limit) * squared_error(predicted, x_0)
        return {"error": loss}, {"t": 1 + (t - 1) * NUM_BINS // state.diffusion.num_steps, "loss_g": loss}
