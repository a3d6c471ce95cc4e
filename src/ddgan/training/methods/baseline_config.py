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

from ddgan.config.run_config import RunConfig, read_settings

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
class DenoiserConfig:
    """What a Gaussian denoiser is trained for.

    A network that outputs the noise is trained by its mean squared error, as DDPM's. In terms of x_0 that
    error is SNR ||x_0 - x^_0||^2, with SNR = abar_t / (1 - abar_t); a network that outputs x_0 is trained by
    the same, with SNR limited (Hang et al., "Min-SNR weighting", 2023), because it grows without bound.

    Args:
        snr_limit: the largest weight of a step; > 0.
    """

    snr_limit: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.snr_limit < math.inf:
            raise ValueError(f"denoiser.snr_limit is {self.snr_limit}; it must be finite and above 0")


@dataclass(frozen=True)
class BaselineConfig(RunConfig):
    """Settings of a baseline; those that its method does not use are left at their defaults.

    `diffusion` means, for the method

    - "gan", "wgan_gp": the noise that D's images carry. D judges q(x_{t-1} | x_0) for t = 1..T; T = 1 is the
      plain GAN, a larger T the forward process as augmentation (Table 2).
    - "ddpm": the chain that is learned, num_steps its number of steps; prediction "noise" is DDPM's own,
      "x_0" the one of the same loss in terms of the image, see `DenoiserConfig`.

    Args:
        method: "gan" (one step from noise to image), "wgan_gp" or "ddpm" (Gaussian denoiser).
        critic: of WGAN-GP.
        denoiser: of DDPM.
    """

    method: Literal["gan", "wgan_gp", "ddpm"] = "gan"
    critic: CriticConfig = field(default_factory=CriticConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)

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
        if self.generator.latent_size:
            raise ValueError("method ddpm has no latent; set generator.latent_size to 0")
        if self.diffusion.prediction == "x_prev":
            raise ValueError("method ddpm predicts x_0 or noise; set diffusion.prediction to one of them")

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> BaselineConfig:
        """A configuration from nested plain values; what is left out takes its default.

        Raises:
            ValueError: in one line, naming the unknown key, wrong type or broken range.
        """
        rest = dict(settings)
        method = rest.pop("method", "gan")
        parts = {name: _section(name, part, rest.pop(name, {})) for name, part in PARTS.items()}
        return cls.like(RunConfig.from_dict(rest), method=method, **parts)

    @classmethod
    def like(cls, config: RunConfig, **changes: Any) -> BaselineConfig:
        """The settings of a run, as those of a baseline, with changes by name."""
        shared = {f.name: getattr(config, f.name) for f in fields(RunConfig)}
        return cls(**(shared | changes))

    @classmethod
    def load(cls, source: str | Path | RunConfig) -> BaselineConfig:
        """A preset's name, the path of a YAML file, or a BaselineConfig itself."""
        if isinstance(source, RunConfig):
            assert isinstance(source, BaselineConfig)
            return source
        return cls.from_dict(read_settings(source))


PARTS: dict[str, type] = {"critic": CriticConfig, "denoiser": DenoiserConfig}


def _section(name: str, part: type, values: Any) -> Any:
    known = {f.name for f in fields(part)}
    if not isinstance(values, Mapping) or values.keys() - known:
        raise ValueError(f"{name} is {values!r}; it takes {', '.join(sorted(known))}")
    return part(**values)
