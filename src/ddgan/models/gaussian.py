"""GaussianDiffusion: a trained Gaussian denoiser that samples in many small steps, as DDPM or DDIM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.config.settings import plain
from ddgan.diffusion.ancestral import ChainConfig, ancestral_chain, chosen_steps, signal_powers
from ddgan.diffusion.chain import Noise
from ddgan.models.model import TrainedModel
from ddgan.networks.conditions import Condition
from ddgan.system.arguments import check_seed
from ddgan.system.randomness import ImageNoise

__all__ = ["GaussianDiffusion"]


class GaussianDiffusion(TrainedModel):
    """A Gaussian denoiser and its sampling chain.

    Args:
        generator: (x_t, t, z, condition) -> the prediction named in config.diffusion.prediction; z is empty.
        config: the settings of the run.
        sample_shape: the shape of one sample.
        license: licence of the weights, in words.
        chain: the sampling chain; by default that of the method's settings.
    """

    def __init__(
        self,
        generator: nn.Module,
        config: RunConfig,
        sample_shape: Sequence[int],
        license: str = "",
        chain: ChainConfig | None = None,
    ) -> None:
        super().__init__(generator, config, sample_shape, license)
        self.chain: ChainConfig = chain or getattr(config.method, "chain", None) or ChainConfig()
        self.chosen = chosen_steps(config.diffusion.num_steps, self.chain.num_steps)

    def sampled_by(self, chain: ChainConfig) -> GaussianDiffusion:
        """Return a model with the same network and another chain.

        Raises:
            ValueError: if the chain has more steps than the training.
        """
        other = GaussianDiffusion(self.generator, self.config, self.sample_shape, self.license, chain)
        other.source, other.data_checksum = self.source, self.data_checksum
        return other.set_precision(self.precision)

    @property
    def chain_settings(self) -> dict[str, Any]:
        return dict(plain(self.chain))

    @property
    def nfe(self) -> int:
        """Number of steps of the chain."""
        return len(self.chosen) - 1

    def generate(self, noise: ImageNoise, condition: Condition | None) -> Tensor:
        return self.denoised(noise(*self.sample_shape), noise, self.chosen, condition)

    def estimate(self, x_t: Tensor, t: Tensor, condition: Condition | None = None) -> Tensor:
        """Estimate x_0 from x_t (B, ...) at t (B,)."""
        prediction = self.predict(x_t, t, x_t.new_zeros(len(x_t), 0), condition)
        return self.diffusion.predicted_x_0(prediction, x_t, t)

    def denoised(
        self, x_t: Tensor, noise: Noise, steps: list[int], condition: Condition | None = None
    ) -> Tensor:
        """Denoise x_t at the last of `steps` to x_0 (B, ...); estimates of images are clipped to [-1, 1]."""
        is_image, powers = x_t.ndim > 2, signal_powers(self.config.diffusion)

        def denoiser(x: Tensor, t: Tensor) -> Tensor:
            return self.estimate(x, t, condition)

        for x_s in ancestral_chain(denoiser, powers, steps, x_t, noise, self.chain, clip=is_image):
            x_t = x_s
        return x_t

    @torch.no_grad()
    def edited(self, images: Tensor, signal: float, seed: int = 0) -> Tensor:
        """Edit as SDEdit does (Meng et al., 2022): noise images to x_t and denoise them by the chain.

        Args:
            images: (B, *sample_shape) in [-1, 1].
            signal: abar_t of the step that they are noised to, in 0..1; the chain's nearest step is used.
            seed: 0 or more; image i depends only on (seed, i) and its input.

        Returns:
            (B, *sample_shape), on the CPU.

        Raises:
            ValueError: if the signal is out of range.
        """
        check_seed(seed)
        if not 0 <= signal <= 1:
            raise ValueError(f"signal is {signal}; it must be an abar_t, in 0..1")
        powers = signal_powers(self.config.diffusion)
        nearest = min(range(len(self.chosen)), key=lambda place: abs(powers[self.chosen[place]] - signal))
        steps = self.chosen[: nearest + 1]
        noise = ImageNoise(seed, range(len(images)), self.device)
        t = torch.full((len(images),), steps[-1], device=self.device)
        x_t = self.diffusion.diffuse(images.to(self.device), t, noise(*self.sample_shape))
        return self.denoised(x_t, noise, steps).cpu()
