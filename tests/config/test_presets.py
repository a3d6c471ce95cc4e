"""Presets build, hold the paper's numbers, and are the defaults where they should be."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import yaml

from ddgan.config.presets import parse_yaml, preset_names
from ddgan.config.run_config import RunConfig
from ddgan.diffusion.schedules import VPConfig
from ddgan.losses.penalties import R1Config
from ddgan.networks.conditions import ConditionShapes
from ddgan.networks.ncsnpp import NCSNppConfig
from ddgan.networks.resnet import ResNetDiscriminatorConfig

SMALL_G = NCSNppConfig(
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
    SMALL_G, base_channels=64, channel_multipliers=(1, 1, 2, 2, 4, 4), mapping_depth=3
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


def shape_of(name: str) -> tuple[int, ...]:
    """The shape of a sample of the data that a preset is for."""
    data = RunConfig.load(name).data
    if data.kind != "images":
        return tuple(data.open(0, "cpu").sample_shape)
    return (3, 256, 256) if name.endswith("256") else (3, 32, 32)


def built(config: RunConfig, shape: tuple[int, ...]) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The generator and the one discriminator of a preset, without memory for their weights."""
    conditions = ConditionShapes(num_classes=10 if config.conditions.label else 0)
    (discriminator,) = config.method.discriminators_of().values() or (None,)
    with torch.device("meta"):
        generator = config.generator.build(shape, conditions)
        return generator, discriminator.build(shape, conditions) if discriminator else torch.nn.Linear(1, 1)


def num_parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_builds_its_networks_and_survives_yaml(name: str) -> None:
    config = RunConfig.load(name)
    generator, discriminator = built(config, shape_of(name))
    assert num_parameters(generator) > 0
    assert num_parameters(discriminator) > 0
    assert RunConfig.from_dict(config.to_dict()) == config
    assert RunConfig.from_dict(yaml.safe_load(config.to_yaml())) == config


@pytest.mark.parametrize("name", PAPER)
def test_paper_presets_hold_the_papers_numbers(name: str) -> None:
    paper, config = PAPER[name], RunConfig.load(name)
    assert config.generator == paper["networks"][0]
    assert config.method.discriminators == {"pair": paper["networks"][1]}
    assert config.diffusion.num_steps == paper["num_steps"]
    assert config.diffusion.schedule == VPConfig(beta_min=0.1, beta_max=20.0)
    assert config.diffusion.prediction == "x_0"
    optimization = config.optimization
    assert (optimization.generator.lr, optimization.discriminator.lr) == paper["learning_rates"]
    assert optimization.generator.kind == optimization.discriminator.kind == "adam"
    assert optimization.generator.betas == optimization.discriminator.betas == (0.5, 0.9)
    assert optimization.final_lr == 1e-5
    assert (optimization.ema.decay, optimization.decay_every) == (paper["ema_decay"], paper["decay_every"])
    gamma, every = paper["r1"]
    assert config.method.adversarial.kind == "nonsaturating"
    assert config.method.penalties == (R1Config(gamma=gamma, every=every, scaled=False),)
    assert config.method.reconstruction is None
    assert [one.kind for one in config.augmentation] == ["horizontal_flip"] * paper["horizontal_flip"]
    for field in ("batch_size", "num_iterations"):
        assert getattr(config.training, field) == paper[field], field


@pytest.mark.parametrize("name", PAPER)
def test_paper_presets_have_the_published_parameter_counts(name: str) -> None:
    config = RunConfig.load(name)
    generator, discriminator = built(config, shape_of(name))
    assert (num_parameters(generator), num_parameters(discriminator)) == PAPER[name]["networks"][2:]


@pytest.mark.parametrize("name", ["digits_quick", "digits", "gaussians"])
def test_our_own_presets_train_on_embedded_data(name: str) -> None:
    config = RunConfig.load(name)
    assert config.data.kind == name.removesuffix("_quick")
    assert config.training.score_samples == 26_000  # the paper's N for StackedMNIST
    assert config.augmentation == ()


def test_defaults_are_the_paper_for_cifar10() -> None:
    """All but what a default cannot know: the length of an epoch, and what makes U-Nets fast."""
    told = {
        "optimization.decay_every": 195,
        "training.precision": "auto",
        "training.channels_last": True,
        "augmentation": ["horizontal_flip"],
    }
    assert RunConfig.load("cifar10") == RunConfig().changed(told)


@pytest.mark.parametrize(
    "text",
    [
        "!!timestamp x",
        "!!int ''",
        "!!int x",
        "!!bool x",
        "!!float x",
        "9" * 5000,
        "{a: !!timestamp x}",
    ],
    ids=lambda text: text[:15],
)
def test_values_that_their_tags_do_not_allow_are_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^x is not valid YAML: ") as caught:
        parse_yaml(text, "x")
    assert "\n" not in str(caught.value)
