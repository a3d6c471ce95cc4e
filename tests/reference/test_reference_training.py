"""Whole training steps, in float64, leave what the published implementation leaves."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ddgan.config.optimization import EMAConfig, OptimizationConfig
from ddgan.data.batch import Batch
from ddgan.diffusion.process import Diffusion
from ddgan.interop.nvlabs import (
    discriminator_from_state_dict,
    generator_from_state_dict,
    published_state_dict,
)
from ddgan.losses.penalties import R1Config
from ddgan.networks.ncsnpp import Generator, NCSNppConfig
from ddgan.networks.resnet import Discriminator, ResNetDiscriminatorConfig
from ddgan.training.iteration import iterate
from ddgan.training.methods.denoising_gan import DenoisingGAN
from ddgan.training.noise import HalfStepNoise, StepNoise
from ddgan.training.optimizers import AdamConfig
from ddgan.training.state import TrainState
from ddgan.training.statistics import Statistics
from reference import helpers
from reference.helpers import error, noise

TOLERANCE = 1e-5


@pytest.mark.usefixtures("path")
def test_losses_weights_and_outputs(training_entry: str) -> None:
    config, values = helpers.config_of(training_entry), helpers.values(training_entry)
    state = start(config)
    ours: dict[str, Tensor | float] = {}
    for step in range(config["steps"]):
        images, given = inputs(training_entry, step, config)
        statistics = iterate(state, Batch(images), given)
        ours |= {f"{step}/{name}": value for name, value in losses(statistics).items()}
    ours |= norms("G", state.generator) | norms("D", discriminator_of(state))
    ours |= probes(training_entry, state, config)

    assert ours.keys() == values.keys()
    errors = {name: error(ours[name], values[name]) for name in values}
    assert {name: e for name, e in errors.items() if not e < TOLERANCE} == {}


def start(config: dict[str, Any]) -> TrainState:
    """The state before the first step: the rule's weights in both networks."""
    shape = (config["num_channels"], config["image_size"], config["image_size"])
    with torch.device("meta"):
        generator = NCSNppConfig(
            base_channels=config["num_channels_dae"],
            channel_multipliers=tuple(config["ch_mult"]),
            num_blocks=config["num_res_blocks"],
            attention_resolutions=tuple(config["attn_resolutions"]),
            latent_size=config["nz"],
            mapping_features=config["z_emb_dim"],
            mapping_depth=config["n_mlp"],
        ).build(shape)
        discriminator = ResNetDiscriminatorConfig(
            base_channels=2 * config["ngf"], time_features=config["t_emb_dim"]
        ).build(shape)
    pair = discriminator_from_state_dict(rule_weights(discriminator), kind="Discriminator_small")
    betas = tuple(config["betas"])
    return TrainState.create(
        DenoisingGAN(penalties=(R1Config(gamma=config["r1_gamma"], every=config["lazy_reg"]),)),
        {
            "generator": generator_from_state_dict(rule_weights(generator), **config),
            "discriminator": nn.ModuleDict({"pair": pair}),
        },
        Diffusion(helpers.diffusion_config(config), dtype=torch.float64),
        OptimizationConfig(
            generator=AdamConfig(lr=config["lr_g"], betas=betas),
            discriminator=AdamConfig(lr=config["lr_d"], betas=betas),
            decay_every=config["steps"] + 1,  # never
            ema=EMAConfig(decay=config["ema_decay"]),
        ),
        num_iterations=config["steps"],
    )


def rule_weights(network: Generator | Discriminator) -> dict[str, Tensor]:
    """The rule's weights for a network of this shape, in float64."""
    shapes = {name: tensor.shape for name, tensor in published_state_dict(network).items()}
    return {name: tensor.double() for name, tensor in helpers.weights(shapes).items()}


def inputs(entry: str, step: int, config: dict[str, Any]) -> tuple[Tensor, StepNoise]:
    """The images and the noise of a step, from their tags."""
    batch, num_steps = config["batch"], config["T"]
    shape = (batch, config["num_channels"], config["image_size"], config["image_size"])

    def half(name: str, t: Tensor) -> HalfStepNoise:
        def tagged(what: str, *size: int) -> Tensor:
            return noise(f"{entry}/{step}/{name}/{what}", *size).double()

        return HalfStepNoise(
            t=t % num_steps + 1,
            z=tagged("z", batch, config["nz"]),
            noise_prev=tagged("noise_x_t", *shape),
            noise_step=tagged("noise_plus", *shape),
            noise_posterior=tagged("posterior", *shape),
        )

    images = noise(f"{entry}/{step}/data", *shape).double().tanh()
    return images, StepNoise(half("D", torch.arange(batch)), half("G", 3 * torch.arange(batch) + step))


def losses(statistics: Statistics) -> dict[str, Tensor | float]:
    """The losses of a step, under the published names."""
    of_d, of_g = statistics["discriminator"], statistics["generator"]
    return {
        "loss_real": softplus(-of_d["d_real"]).mean(),
        "loss_fake": softplus(of_d["d_fake"]).mean(),
        "r1": of_d["r1"].mean() if "r1" in of_d else 0.0,
        "loss_g": of_g["loss_g"].mean(),
    }


def discriminator_of(state: TrainState) -> Discriminator:
    """The published D, which sees pairs."""
    (pair,) = state.discriminators.values()
    assert isinstance(pair, Discriminator)
    return pair


def norms(side: str, network: Generator | Discriminator) -> dict[str, Tensor]:
    """The norm of every tensor, under its published name."""
    tensors = published_state_dict(network).items()
    return {f"{side}/{name}/norm": tensor.norm() for name, tensor in tensors}


@torch.no_grad()
def probes(entry: str, state: TrainState, config: dict[str, Any]) -> dict[str, Tensor]:
    """What the networks make of fixed inputs after the last step."""
    batch = config["batch"]
    shape = (batch, config["num_channels"], config["image_size"], config["image_size"])
    probe, probe_x_t = (noise(f"{entry}/{tag}", *shape).double() for tag in ("probe", "probe_xt"))
    z = noise(f"{entry}/probe_z", batch, config["nz"]).double()
    t = torch.arange(batch) % config["T"] + 1
    return {
        "G_probe": state.generator(probe, t, z),
        "G_ema_probe": state.ema(probe, t, z),
        "D_probe": discriminator_of(state)(probe, probe_x_t, t),
    }
