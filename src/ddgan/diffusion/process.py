"""The forward process of a denoising diffusion GAN and its posterior (paper section 2).

A few large steps turn an image into noise::

    q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I)               t = 1..T
    q(x_t | x_0)     = N(sqrt(abar_t) x_0, (1 - abar_t) I),   abar_t = prod_{s<=t} (1 - beta_s)

The reverse step is modelled by a conditional GAN: a generator proposes x_0 and x_{t-1} is drawn from
the Gaussian posterior q(x_{t-1} | x_t, x_0), which is known in closed form.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ddgan.config.components import Component, default
from ddgan.config.settings import Interval, settings
from ddgan.diffusion.schedules import MOST_STEPS, Schedule, step_betas

__all__ = ["Diffusion", "DiffusionConfig", "at"]


@settings
class DiffusionConfig:
    """The noise schedule and what the generator's output means.

    Args:
        num_steps: T, the number of denoising steps, from 1 to 10,000.
        schedule: how the noise grows over the steps.
        prediction: what the generator outputs: "x_0" (the paper's), "noise", or "x_prev" (Table 2); the last
            two are unbounded and need `generator.tanh` false.
    """

    num_steps: Annotated[int, Interval(ge=1, le=MOST_STEPS)] = 4
    schedule: Annotated[Schedule, Component("schedule")] = default("schedule", "vp")
    prediction: Literal["x_0", "noise", "x_prev"] = "x_0"

    def __post_init__(self) -> None:
        step_betas(self.schedule, self.num_steps)  # raises if no signal is left


class Diffusion(nn.Module):
    """Schedule tables and the distributions that they define.

    Every table is indexed by t in 0..T, where t = 0 is the clean image. Samples may have any shape
    (B, ...); `t` is an int64 tensor (B,) with values in 1..T. The tables are computed in float64 and
    kept as buffers in `dtype`; they are not part of a state dict.
    """

    alpha_bar: Tensor  # abar_t
    beta: Tensor  # beta_t; beta_0 = 0
    signal_scale: Tensor  # sqrt(abar_t)
    noise_scale: Tensor  # sqrt(1 - abar_t)
    step_signal: Tensor  # sqrt(1 - beta_t)
    step_noise: Tensor  # sqrt(beta_t)
    mean_x_0: Tensor  # the posterior mean's coefficient of x_0
    mean_x_t: Tensor  # the posterior mean's coefficient of x_t
    posterior_variance: Tensor

    def __init__(self, config: DiffusionConfig, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        zero = torch.zeros(1, dtype=torch.float64)
        beta = torch.cat([zero, step_betas(config.schedule, config.num_steps)])
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        previous = torch.cat([zero + 1, alpha_bar[:-1]])
        remaining = (1 - alpha_bar).clamp_min(torch.finfo(torch.float64).tiny)  # 0 only at t = 0
        tables = {
            "alpha_bar": alpha_bar,
            "beta": beta,
            "signal_scale": alpha_bar.sqrt(),
            "noise_scale": (1 - alpha_bar).sqrt(),
            "step_signal": (1 - beta).sqrt(),
            "step_noise": beta.sqrt(),
            "mean_x_0": previous.sqrt() * beta / remaining,
            "mean_x_t": (1 - beta).sqrt() * (1 - previous) / remaining,
            "posterior_variance": beta * (1 - previous) / remaining,
        }
        for name, table in tables.items():
            self.register_buffer(name, table.to(dtype), persistent=False)

    @property
    def num_steps(self) -> int:
        """T."""
        return self.config.num_steps

    def diffuse(self, x_0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Sample from q(x_t | x_0); t may be 0, which returns x_0."""
        return at(self.signal_scale, t, x_0) * x_0 + at(self.noise_scale, t, x_0) * noise

    def pair(self, x_0: Tensor, t: Tensor, noise_prev: Tensor, noise_step: Tensor) -> tuple[Tensor, Tensor]:
        """Sample a real pair (x_{t-1}, x_t): x_{t-1} from q(. | x_0), then one forward step."""
        x_prev = self.diffuse(x_0, t - 1, noise_prev)
        return x_prev, self.renoise(x_prev, t, noise_step)

    def renoise(self, x_prev: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Sample from q(x_t | x_{t-1}): one forward step."""
        return at(self.step_signal, t, x_prev) * x_prev + at(self.step_noise, t, x_prev) * noise

    def posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean (B, ...) and variance (B, 1, ...) of q(x_{t-1} | x_t, x_0).

        mean = sqrt(abar_{t-1}) beta_t / (1 - abar_t) x_0
             + sqrt(1 - beta_t) (1 - abar_{t-1}) / (1 - abar_t) x_t
        variance = beta_t (1 - abar_{t-1}) / (1 - abar_t); at t = 1 they are x_0 and 0.
        """
        mean = at(self.mean_x_0, t, x_0) * x_0 + at(self.mean_x_t, t, x_t) * x_t
        return mean, at(self.posterior_variance, t, x_t)

    def sample_posterior(self, x_0: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Sample from q(x_{t-1} | x_t, x_0), given standard normal `noise`."""
        mean, variance = self.posterior(x_0, x_t, t)
        return mean + variance.sqrt() * noise

    def predicted_x_0(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Compute x_0 from the generator's output.

        Raises:
            ValueError: if the generator outputs x_{t-1}, which does not determine x_0.
        """
        match self.config.prediction:
            case "x_0":
                return prediction
            case "noise":
                noise = at(self.noise_scale, t, x_t) * prediction
                return (x_t - noise) / at(self.signal_scale, t, x_t)
            case "x_prev":
                raise ValueError(
                    "a generator with prediction x_prev does not predict x_0; use prediction x_0 or noise"
                )

    def denoise(self, prediction: Tensor, x_t: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """Sample from the model's p(x_{t-1} | x_t), given the generator's output at (x_t, t)."""
        if self.config.prediction == "x_prev":
            return prediction
        return self.sample_posterior(self.predicted_x_0(prediction, x_t, t), x_t, t, noise)


def at(table: Tensor, t: Tensor, like: Tensor) -> Tensor:
    """Return table[t] with shape (B, 1, ...), ready to multiply `like`."""
    return table[t].reshape(-1, *[1] * (like.ndim - 1))
