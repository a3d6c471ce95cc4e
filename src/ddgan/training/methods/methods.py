"""How the run trains each baseline: the states, steps and noises of `gan` and `diffusion` as methods."""

from __future__ import annotations

import torch

from ddgan.diffusion.process import Diffusion
from ddgan.networks import build_generator
from ddgan.system.processes import Processes
from ddgan.training.method import Method
from ddgan.training.methods.baseline_config import BaselineConfig
from ddgan.training.methods.gaussian_diffusion import (
    NUM_BINS,
    DenoiserState,
    GaussianDiffusion,
    denoising_step,
    draw_denoising,
)
from ddgan.training.methods.one_step_gan import OneStepGAN, gan_step, num_levels, wgan_step
from ddgan.training.optimizers import adam
from ddgan.training.setup import arithmetic, create_state, drawn_noise, seeded_weights, switch_on
from ddgan.training.state import new_averages


def method_of(config: BaselineConfig) -> Method:
    """How a baseline with these settings is trained."""
    if config.method == "ddpm":
        return Method(
            BaselineConfig,
            create_denoiser,
            denoising_step,
            draw_denoising,
            lambda settings: NUM_BINS,
            GaussianDiffusion,
        )
    step = gan_step if config.method == "gan" else wgan_step(config.critic)
    return Method(BaselineConfig, create_state, step, drawn_noise, num_levels, OneStepGAN)


def create_denoiser(config: BaselineConfig, processes: Processes) -> DenoiserState:
    """A network with weights from the seed, and its optimizer, at step 0."""
    training, optimization = config.training, config.optimization
    with seeded_weights(config.seed):
        generator = build_generator(config.generator).to(processes.device)
    state = DenoiserState(
        generator,
        new_averages(generator, optimization),
        adam(generator, optimization.generator_lr, optimization.betas),
        Diffusion(config.diffusion).to(processes.device),
        optimization,
        training.planned_iterations,
        batch_size=training.batch_size,
        precision=arithmetic(training, processes.device),
        snr_limit=config.denoiser.snr_limit,
        average_=processes.average_,
        streak=torch.zeros((), dtype=torch.int64, device=processes.device),
    )
    switch_on(config, processes.device, generator)
    return state
