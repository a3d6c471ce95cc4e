"""Baselines: what the paper compares denoising diffusion GANs with, trained by the same run.

    run = train_baseline(BaselineConfig(...), "runs/ddpm")      # resumable, as every run
    model = load_baseline("runs/ddpm")
    images = model.sample(64)
    ddgan.evaluate(model)

`gan` has the one-step GAN and WGAN-GP, `diffusion` the Gaussian denoiser with DDPM's and DDIM's chains.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ddgan.models.baseline import Baseline
from ddgan.models.weights_file import BASELINE_FORMAT, WEIGHTS_NAME, load_weights, read_weights
from ddgan.networks import build_generator
from ddgan.training.methods.baseline_config import BaselineConfig, CriticConfig, DenoiserConfig
from ddgan.training.methods.gaussian_diffusion import ChainConfig, GaussianDiffusion
from ddgan.training.methods.one_step_gan import OneStepGAN

if TYPE_CHECKING:
    from ddgan.training.trainer import Run

__all__ = [
    "Baseline",
    "BaselineConfig",
    "ChainConfig",
    "CriticConfig",
    "DenoiserConfig",
    "GaussianDiffusion",
    "OneStepGAN",
    "load_baseline",
    "resume_baseline",
    "train_baseline",
]

MODELS: dict[str, type[Baseline]] = {"gan": OneStepGAN, "wgan_gp": OneStepGAN, "ddpm": GaussianDiffusion}


def train_baseline(
    config: BaselineConfig, out: str | Path, *, verbose: bool = True, overwrite: bool = False
) -> Run:
    """Train a baseline in a new run folder; `ddgan.train` says what that holds, and what it raises."""
    from ddgan.training.methods.methods import method_of
    from ddgan.training.trainer import train

    return train(config, out, verbose=verbose, overwrite=overwrite, method=method_of(config))


def resume_baseline(run: str | Path, *, verbose: bool = True) -> Run:
    """Go on with a baseline's run, to the same end as if it had never stopped; see `ddgan.resume`."""
    from ddgan.models.run_folder import CONFIG_NAME
    from ddgan.training.methods.methods import method_of
    from ddgan.training.trainer import resume

    config = BaselineConfig.load(Path(run) / CONFIG_NAME)
    return resume(run, verbose=verbose, method=method_of(config))


def load_baseline(source: str | Path) -> Baseline:
    """Open a baseline's run folder or .safetensors file.

    Raises:
        ValueError: if it is no baseline, or damaged.
    """
    path = Path(source)
    if path.is_dir():
        path = path / WEIGHTS_NAME
    if not path.is_file():
        raise ValueError(f"'{path}' does not exist; name a baseline's run folder or weights file")
    tensors, config, license = read_weights(path, BaselineConfig.from_dict, BASELINE_FORMAT)
    generator = build_generator(config.generator)
    load_weights(generator, tensors, path)
    return MODELS[config.method](generator, config, license)
