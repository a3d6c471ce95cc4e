"""Presets build, hold the paper's numbers, and are the defaults where they should be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import yaml

from ddgan.config.run_config import RunConfig, preset_names
from ddgan.data import EMBEDDED
from ddgan.losses.adversarial import PenaltyConfig
from ddgan.networks import NCSNppConfig, ResNetDiscriminatorConfig, build_discriminator, build_generator

SMALL_G = NCSNppConfig(
    image_size=32,
    image_channels=3,
    base_channels=128,
    channel_multipliers=(1, 2, 2, 2),
    num_blocks=2,
    attention_resolutions=(16,),
    latent_size=100,
    mapping_features=256,
    mapping_depth=4,
    tanh=True,
)
LARGE_G = dataclasses.replace(
    SMALL_G, image_size=256, base_channels=64, channel_multipliers=(1, 1, 2, 2, 4, 4), mapping_depth=3
)
SMALL_D = ResNetDiscriminatorConfig(
    base_channels=128,
    channel_multipliers=(1, 2, 4, 4),
    downsample=(False, True, True, True),
    time_features=256,
    stddev_group=4,
)
LARGE_D = dataclasses.replace(SMALL_D, channel_multipliers=(2, 4, 4, 4, 4, 4), downsample=(True,) * 6)
SMALL_COUNTS, LARGE_COUNTS = (48_432_515, 12_741_633), (39_726_979, 27_737_217)

# The paper's released settings. Iterations are epochs x (images // batch size), the learning rate
# changes once per epoch: 50,000, 27,000, 120,000 and 120,000 images.
PAPER: dict[str, dict[str, Any]] = {
    "cifar10": {
        "networks": (SMALL_G, SMALL_D, *SMALL_COUNTS),
        "num_steps": 4,
        "learning_rates": (1.6e-4, 1.25e-4),
        "r1": (0.02, 15),
        "ema_decay": 0.9999,
        "batch_size": 4 * 64,
        "decay_every": 50_000 // 256,
        "num_iterations": 351_000,
        "horizontal_flip": True,
    },
    "celebahq256": {
        "networks": (LARGE_G, LARGE_D, *LARGE_COUNTS),
        "num_steps": 2,
        "learning_rates": (2e-4, 1e-4),
        "r1": (2.0, 10),
        "ema_decay": 0.9999,
        "batch_size": 8 * 4,
        "decay_every": 27_000 // 32,
        "num_iterations": 800 * (27_000 // 32),
        "horizontal_flip": True,
    },
    "lsun_church256": {
        "networks": (LARGE_G, LARGE_D, *LARGE_COUNTS),
        "num_steps": 4,
        "learning_rates": (1.6e-4, 1e-4),
        "r1": (1.0, 10),
        "ema_decay": 0.999,
        "batch_size": 8 * 8,
        "decay_every": 120_000 // 64,
        "num_iterations": 500 * (120_000 // 64),
        "horizontal_flip": True,
    },
    "stackedmnist": {
        "networks": (SMALL_G, SMALL_D, *SMALL_COUNTS),
        "num_steps": 4,
        "learning_rates": (1.6e-4, 1.25e-4),
        "r1": (0.02, 15),
        "ema_decay": 0.9999,
        "batch_size": 4 * 64,
        "decay_every": 120_000 // 256,
        "num_iterations": 351_000,
        "horizontal_flip": False,
    },
}


def num_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_builds_its_networks_and_survives_yaml(name: str) -> None:
    config = RunConfig.load(name)
    with torch.device("meta"):
        generator = build_generator(config.generator)
        discriminator = build_discriminator(config.discriminator, config.generator.state_shape)
    assert num_parameters(generator) > 0
    assert num_parameters(discriminator) > 0
    assert RunConfig.from_dict(config.to_dict()) == config
    assert RunConfig.from_dict(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize("name", PAPER)
def test_paper_presets_hold_the_papers_numbers(name: str) -> None:
    paper, config = PAPER[name], RunConfig.load(name)
    assert config.generator == paper["networks"][0]
    assert config.discriminator == paper["networks"][1]
    assert config.diffusion.num_steps == paper["num_steps"]
    assert (config.diffusion.schedule, config.diffusion.prediction) == ("vp", "x_0")
    assert (config.diffusion.beta_min, config.diffusion.beta_max) == (0.1, 20.0)
    optimization = config.optimization
    assert (optimization.generator_lr, optimization.discriminator_lr) == paper["learning_rates"]
    assert (optimization.betas, optimization.final_lr) == ((0.5, 0.9), 1e-5)
    assert (optimization.ema_decay, optimization.decay_every) == (paper["ema_decay"], paper["decay_every"])
    gamma, every = paper["r1"]
    assert config.objective.adversarial == "nonsaturating"
    assert config.objective.penalties == (PenaltyConfig("r1", gamma, every, scaled=False),)
    assert config.objective.reconstruction == "none"
    for field in ("batch_size", "num_iterations", "horizontal_flip"):
        assert getattr(config.training, field) == paper[field], field


@pytest.mark.parametrize("name", PAPER)
def test_paper_presets_have_the_published_parameter_counts(name: str) -> None:
    config = RunConfig.load(name)
    with torch.device("meta"):
        generator = build_generator(config.generator)
        discriminator = build_discriminator(config.discriminator, config.generator.state_shape)
    assert (num_parameters(generator), num_parameters(discriminator)) == PAPER[name]["networks"][2:]


@pytest.mark.parametrize("name", ["digits_quick", "digits", "gaussians"])
def test_our_own_presets_train_on_embedded_data(name: str) -> None:
    config = RunConfig.load(name)
    assert config.data == name.removesuffix("_quick")
    assert config.generator.state_shape == EMBEDDED[config.data].state_shape
    assert config.training.score_samples == 26_000  # the paper's N for StackedMNIST
    assert not config.training.horizontal_flip


def test_defaults_are_the_paper_for_cifar10() -> None:
    """All but what a default cannot know: the length of an epoch, and what makes U-Nets fast."""
    default = RunConfig()
    default = dataclasses.replace(
        default,
        optimization=dataclasses.replace(default.optimization, decay_every=195),
        training=dataclasses.replace(default.training, precision="auto", channels_last=True),
    )
    assert RunConfig.load("cifar10") == default
