"""Gaussian-denoiser diffusion: DDPM, and DDIM over the same network (the paper's Table 1, Figs 4, 6).

What the paper's model is compared with: each reverse step is a Gaussian, which is right for small steps only.
The network predicts the noise e of x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) e, or what is the same, x_0, by
the mean squared error. A step from t to any s < t, with these estimates e^ and x^_0, is

    x_s = sqrt(abar_s) x^_0 + sqrt(1 - abar_s - sigma^2) e^ + sigma e' ,
    sigma = eta sqrt(b) ,   b = (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s)

(Song et al., "Denoising Diffusion Implicit Models", 2021, Eqs 12 and 16). eta = 1 is the ancestral sampling
of DDPM with the posterior's variance b; eta = 0 is DDIM, which draws no noise after x_T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.data.batch import Batch
from ddgan.diffusion.chain import Noise
from ddgan.diffusion.process import Diffusion, DiffusionConfig, step_betas
from ddgan.losses.adversarial import reconstruction_loss
from ddgan.models.baseline import Baseline
from ddgan.system.randomness import ImageNoise, generator_for
from ddgan.training.iteration import Statistics, detached, finish_iteration, run, update
from ddgan.training.methods.baseline_config import BaselineConfig, DenoiserConfig
from ddgan.training.optimizers import OptimizationConfig, decayed
from ddgan.training.state import leave_alone, named_averages

NUM_BINS = 10
"""Bins of t that the loss is averaged over in the log."""


@dataclass(frozen=True)
class ChainConfig:
    """How a Gaussian denoiser is sampled.

    Args:
        num_steps: how many of the trained steps are taken, evenly spaced; 0 for all.
        eta: the share of the posterior's noise: 1 for DDPM, 0 for DDIM.
        variance: of DDPM's step from t to s: "posterior" (b), or "forward", 1 - abar_t / abar_s, the largest
            that a reverse step can need; it is only for eta = 1.
    """

    num_steps: int = 0
    eta: float = 1.0
    variance: Literal["posterior", "forward"] = "posterior"

    def __post_init__(self) -> None:
        if self.num_steps < 0:
            raise ValueError(f"num_steps is {self.num_steps}; it must be 0 (all) or more")
        if not 0 <= self.eta <= 1:
            raise ValueError(f"eta is {self.eta}; it must be in 0..1")
        if self.variance not in ("posterior", "forward"):
            raise ValueError(f"variance is '{self.variance}'; it must be posterior or forward")
        if self.variance == "forward" and self.eta != 1:
            raise ValueError(f"variance is forward, which is for eta 1, but eta is {self.eta}")


def chosen_steps(trained: int, wanted: int) -> list[int]:
    """0 = s_0 < s_1 < ... = trained: `wanted` evenly spaced steps of `trained`; 0 wants all.

    Raises:
        ValueError: if there are not so many.
    """
    count = wanted or trained
    if count > trained:
        raise ValueError(f"num_steps is {wanted}, but the model was trained with {trained}; take no more")
    return [round(trained * place / count) for place in range(count + 1)]


def signal_powers(config: DiffusionConfig) -> list[float]:
    """abar_0 = 1, abar_1, .. abar_N, in double precision."""
    return [1.0, *torch.cumprod(1 - step_betas(config), dim=0).tolist()]


def chain(
    denoiser: Callable[[Tensor, Tensor], Tensor],
    alpha_bar: Sequence[float],
    steps: list[int],
    x_t: Tensor,
    noise: Noise,
    settings: ChainConfig,
    *,
    clip: bool = False,
) -> Iterator[Tensor]:
    """Run the reverse chain down `steps`, yielding x_s after each.

    Args:
        denoiser: (x_t, t) -> estimate of x_0.
        alpha_bar: abar_0 .. abar_N, see `signal_powers`.
        steps: ascending from 0 to the step of x_t, see `chosen_steps`.
        x_t: (B, ...).
        noise: gives (B, ...) standard normal numbers; not asked where eta is 0.
        settings: eta and variance.
        clip: keep the estimate of x_0 in [-1, 1], where images are.
    """
    for s, t in reversed(list(pairwise(steps))):
        at, to = alpha_bar[t], alpha_bar[s]
        x_0 = denoiser(x_t, torch.full((len(x_t),), t, dtype=torch.int64, device=x_t.device))
        if clip:
            x_0 = x_0.clamp(-1, 1)
        predicted = (x_t - math.sqrt(at) * x_0) / math.sqrt(1 - at)
        posterior = (1 - to) / (1 - at) * (1 - at / to)
        spread = settings.eta**2 * posterior
        x_t = math.sqrt(to) * x_0 + math.sqrt(max(1 - to - spread, 0.0)) * predicted
        if spread > 0:
            variance = 1 - at / to if settings.variance == "forward" else spread
            x_t = x_t + math.sqrt(variance) * noise(*x_t.shape[1:]).to(x_t)
        yield x_t


class GaussianDiffusion(Baseline):
    """A trained Gaussian denoiser, with the chain that it is sampled by.

    Args:
        generator: (x_t, t, z) -> what config.diffusion.prediction says; z is empty.
        config: the run's settings.
        license: of the weights, in words.
        chain: how it is sampled; by default as DDPM, over all steps.
    """

    def __init__(
        self,
        generator: nn.Module,
        config: BaselineConfig,
        license: str = "",
        chain: ChainConfig | None = None,
    ) -> None:
        super().__init__(generator, config, license)
        self.chain = chain or ChainConfig()
        self.diffusion = Diffusion(config.diffusion).to(self.device)
        self.chosen = chosen_steps(config.diffusion.num_steps, self.chain.num_steps)

    def sampled_by(self, chain: ChainConfig) -> GaussianDiffusion:
        """The same network under another chain.

        Raises:
            ValueError: if it has more steps than were trained.
        """
        return GaussianDiffusion(self.generator, self.config, self.license, chain)

    @property
    def calls_per_image(self) -> int:
        return len(self.chosen) - 1

    def to(self, device: torch.device | str) -> GaussianDiffusion:
        super().to(device)
        self.diffusion.to(device)
        return self

    def estimate(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The estimate of x_0 from x_t (B, ...) at t (B,)."""
        prediction = self.generator(x_t, t, x_t.new_zeros(len(x_t), 0))
        return self.diffusion.predicted_x_0(prediction, x_t, t)

    def images_of(self, noise: ImageNoise) -> Tensor:
        return self.denoised(noise(*self.state_shape), noise, self.chosen)

    def denoised(self, x_t: Tensor, noise: Noise, steps: list[int]) -> Tensor:
        """x_0 (B, ...) from x_t at the last of `steps`; the estimate of an image is kept in [-1, 1]."""
        is_image, alpha_bar = x_t.ndim == 4, signal_powers(self.config.diffusion)
        for x_s in chain(self.estimate, alpha_bar, steps, x_t, noise, self.chain, clip=is_image):
            x_t = x_s
        return x_t

    @torch.no_grad()
    def edited(self, images: Tensor, signal: float, seed: int = 0) -> Tensor:
        """The edit of SDEdit (Meng et al., 2022): images forward to a noisy x_t, and back by the chain.

        Args:
            images: (B, *state_shape) in [-1, 1].
            signal: abar_t of the step that they are taken to, in 0..1; the nearest of the chain is taken.
            seed: 0 or more; image i depends on (seed, i) and its input alone.

        Returns:
            (B, *state_shape), on the CPU.

        Raises:
            ValueError: if the signal is out of range.
        """
        if not 0 <= signal <= 1:
            raise ValueError(f"signal is {signal}; it is abar_t, in 0..1")
        powers = signal_powers(self.config.diffusion)
        nearest = min(range(len(self.chosen)), key=lambda place: abs(powers[self.chosen[place]] - signal))
        steps = self.chosen[: nearest + 1]
        noise = ImageNoise(seed, range(len(images)), self.device)
        t = torch.full((len(images),), steps[-1], device=self.device)
        x_t = self.diffusion.diffuse(images.to(self.device), t, noise(*self.state_shape))
        return self.denoised(x_t, noise, steps).cpu()


@dataclass(frozen=True)
class DenoisingNoise:
    """The random numbers of one iteration, for a batch of B images."""

    t: Tensor  # int64 (B,) in 1..N
    noise: Tensor  # (B, ...): x_0 -> x_t

    def rows(self, rows: slice) -> DenoisingNoise:
        """Those of some of the images."""
        return DenoisingNoise(self.t[rows], self.noise[rows])


def draw_denoising(config: RunConfig, step: int, images: Tensor) -> DenoisingNoise:
    """The noise of iteration `step` for a whole batch like `images` (B, ...); t is uniform in 1..N."""
    rng = generator_for(config.seed, "denoising step", step, device=images.device)
    size = (len(images),)
    t = torch.randint(1, config.diffusion.num_steps + 1, size, generator=rng, device=images.device)
    noise = torch.randn(images.shape, generator=rng, device=images.device, dtype=images.dtype)
    return DenoisingNoise(t, noise)


@dataclass
class DenoiserState:
    """Everything that the training of a Gaussian denoiser changes; see `ddgan.training.state`."""

    generator: nn.Module
    averages: tuple[nn.Module, ...]
    optimizer_g: torch.optim.Adam
    diffusion: Diffusion
    optimization: OptimizationConfig
    num_iterations: int
    is_budgeted: bool = False
    batch_size: int = 0
    precision: torch.dtype | None = None
    snr_limit: float = DenoiserConfig.snr_limit
    average_: Callable[[Iterable[Tensor]], None] = leave_alone
    step: int = 0
    streak: Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.int64))
    license: str = ""

    @property
    def ema(self) -> nn.Module:
        """The average that a run ends with."""
        return self.averages[0]

    def networks(self) -> dict[str, nn.Module]:
        """What a checkpoint holds the weights of, by name."""
        return {"generator": self.generator, **named_averages(self.averages)}

    def optimizers(self) -> dict[str, tuple[nn.Module, torch.optim.Adam]]:
        """What a checkpoint holds the moments of, by name, each with its network."""
        return {"optimizer_g": (self.generator, self.optimizer_g)}

    def learning_rates(self) -> tuple[float, ...]:
        """That of the network at this iteration."""
        rate = self.optimization.generator_lr
        return (decayed(rate, self.optimization, self.step, self.num_iterations),)


def denoising_step(state: DenoiserState, batch: Batch, noise: DenoisingNoise) -> Statistics:
    """Update the denoiser and its averages, on images (B, ...) in [-1, 1].

    Returns:
        Per sample, (B,): `loss_g`, the weighted mean squared error, and `t_g`, the bin of t in 1..10.
        Per iteration, (): `skipped`.
    """
    state.optimizer_g.zero_grad(set_to_none=True)
    x_0, t = batch.images, noise.t
    x_t = state.diffusion.diffuse(x_0, t, noise.noise)
    predicted = run(state, state.generator, x_t, t, x_t.new_zeros(len(x_t), 0))
    if state.diffusion.config.prediction == "noise":
        loss = reconstruction_loss("l2", predicted, noise.noise)
    else:
        power = state.diffusion.alpha_bar[t]
        loss = (power / (1 - power)).clamp_max(state.snr_limit) * reconstruction_loss("l2", predicted, x_0)
    loss.mean().backward()
    skipped = update(state, state.optimizer_g, state.learning_rates()[0])
    finish_iteration(state, len(x_0), skipped)
    bins = 1 + (t - 1) * NUM_BINS // state.diffusion.num_steps
    return detached({"t_g": bins, "loss_g": loss}) | {"skipped": skipped}
