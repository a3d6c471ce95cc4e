"""The reverse chains of a Gaussian denoiser: DDPM, and DDIM with the same network (Table 1, Figs 4 and 6).

Given the estimates e^ of the noise and x^_0 of the image, a step from t to any s < t is

    x_s = sqrt(abar_s) x^_0 + sqrt(1 - abar_s - sigma^2) e^ + sigma e' ,
    sigma = eta sqrt(b) ,   b = (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s)

(Song et al., "Denoising Diffusion Implicit Models", 2021, Eqs 12 and 16). eta = 1 is DDPM's ancestral
sampling with the posterior variance b; eta = 0 is DDIM, which draws no noise after x_T.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Literal

import torch
from torch import Tensor

from ddgan.config.settings import Interval, SettingError, settings
from ddgan.diffusion.chain import Noise
from ddgan.diffusion.process import DiffusionConfig
from ddgan.diffusion.schedules import MOST_STEPS, step_betas

__all__ = ["ChainConfig", "ancestral_chain", "chosen_steps", "signal_powers"]


@settings
class ChainConfig:
    """How a Gaussian denoiser is sampled.

    Args:
        num_steps: number of steps to take, evenly spaced among the trained ones; 0 for all.
        eta: fraction of the posterior noise that is added: 1 for DDPM, 0 for DDIM.
        variance: variance of a step from t to s: "posterior" (b), or "forward", 1 - abar_t / abar_s, the
            upper bound for a reverse step; "forward" requires eta = 1.
    """

    num_steps: Annotated[int, Interval(ge=0, le=MOST_STEPS)] = 0
    eta: Annotated[float, Interval(ge=0, le=1)] = 1.0
    variance: Literal["posterior", "forward"] = "posterior"

    def __post_init__(self) -> None:
        if self.variance == "forward" and self.eta != 1:
            raise SettingError("variance", f"is forward, which requires eta 1, but eta is {self.eta:g}")


def chosen_steps(trained: int, wanted: int) -> list[int]:
    """Return 0 = s_0 < s_1 < ... = trained: `wanted` evenly spaced steps, or all `trained` steps for 0.

    Raises:
        ValueError: if `wanted` exceeds `trained`.
    """
    count = wanted or trained
    if count > trained:
        raise ValueError(f"num_steps is {wanted}; it must be at most {trained}, the number of trained steps")
    return [round(trained * place / count) for place in range(count + 1)]


def signal_powers(config: DiffusionConfig) -> list[float]:
    """Return abar_0 = 1, abar_1, ..., abar_N in double precision."""
    return [1.0, *torch.cumprod(1 - step_betas(config.schedule, config.num_steps), dim=0).tolist()]


def ancestral_chain(
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
        noise: returns (B, ...) standard normal numbers; not called if eta is 0.
        settings: eta and variance.
        clip: clamp the estimate of x_0 to [-1, 1], the range of images.
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
