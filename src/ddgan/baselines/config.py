"""BaselineConfig: the settings of a model that the paper compares with, in the terms of a run.

They are those of a denoising diffusion GAN wherever the two share something, so that "the same network,
optimiser and number of iterations" is a comparison of two configurations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from ddgan.config import RunConfig, read_settings

METHODS = ("gan", "wgan_gp", "ddpm")


@dataclass(frozen=True)
class CriticConfig:
    """The critic of a WGAN-GP (Gulrajani et al., 2017).

    Args:
        penalty_weight: lambda of lambda (||grad D|| - 1)^2; > 0.
        updates: updates of the critic, each on new data, for one of the generator; >= 1.
    """

    penalty_weight: float = 10.0
    updates: int = 5

    def __post_init__(self) -> None:
        if not 0 < self.penalty_weight < math.inf:
            raise ValueError(f"critic.penalty_weight is {self.penalty_weight}; it must be finite and above 0")
        if self.updates < 1:
            raise ValueError(f"critic.updates is {self.updates}; it must be at least 1")


@dataclass(frozen=True)
class BaselineConfig(RunConfig):
    """Settings of a baseline; those that its method does not use are left at their defaults.

    `diffusion` means, for the method

    - "gan": the noise that D's images carry. D judges q(x_{t-1} | x_0) for t = 1..T; T = 1 is the plain GAN,
      a larger T the forward process as augmentation (Table 2).
    - "wgan_gp": nothing.
    - "ddpm": the chain that is learned, num_steps its number of steps; prediction must be "noise".

    Args:
        method: "gan" (one step from noise to image), "wgan_gp" or "ddpm" (Gaussian denoiser).
        critic: of WGAN-GP.
    """

    method: Literal["gan", "wgan_gp", "ddpm"] = "gan"
    critic: CriticConfig = field(default_factory=CriticConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method not in METHODS:
            raise ValueError(f"method is '{self.method}'; it must be one of {', '.join(METHODS)}")
        if self.num_classes != 0:
            raise ValueError(f"num_classes is {self.num_classes}; the baselines know no classes, set it to 0")
        if self.training.accumulation != 1 or self.training.score_samples:
            raise ValueError("a baseline is trained with training.accumulation 1 and score_samples 0")
        if self.method != "ddpm":
            return
        if self.diffusion.prediction != "noise" or self.generator.tanh or self.generator.latent_size:
            raise ValueError(
                "method ddpm predicts the noise, which is not bounded and has no latent; set "
                "diffusion.prediction to noise, generator.tanh to false and generator.latent_size to 0"
            )

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> BaselineConfig:
        """A configuration from nested plain values; what is left out takes its default.

        Raises:
            ValueError: in one line, naming the unknown key, wrong type or broken range.
        """
        rest = dict(settings)
        method, critic = rest.pop("method", "gan"), rest.pop("critic", {})
        shared = RunConfig.from_dict(rest)
        known = {f.name for f in fields(CriticConfig)}
        if not isinstance(critic, Mapping) or critic.keys() - known:
            raise ValueError(f"critic is {critic!r}; it takes {', '.join(sorted(known))}")
        return cls.like(shared, method=method, critic=CriticConfig(**critic))

    @classmethod
    def like(cls, config: RunConfig, **changes: Any) -> BaselineConfig:
        """The settings of a run, as those of a baseline, with changes by name."""
        shared = {f.name: getattr(config, f.name) for f in fields(RunConfig)}
        return cls(**(shared | changes))

    @classmethod
    def load(cls, source: str | Path | RunConfig) -> BaselineConfig:
        """The path of a YAML file, or a BaselineConfig itself."""
        if isinstance(source, RunConfig):
            assert isinstance(source, BaselineConfig)
            return source
        return cls.from_dict(read_settings(source))
