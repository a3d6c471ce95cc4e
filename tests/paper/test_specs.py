"""The models that are compared: one training budget, and only what the name says is changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from ddgan.config.run_config import RunConfig
from ddgan.paper.experiment import SCALES
from ddgan.paper.published import TABLE_2
from ddgan.paper.registry import EXPERIMENTS, paper_only_models
from ddgan.paper.specs import all_models, image_base, image_models, point_models
from ddgan.paper.store import ModelSpec
from ddgan.training.methods import BaselineConfig


@pytest.fixture(scope="module")
def models() -> dict[str, ModelSpec]:
    """Those of stacked digits at scale cpu."""
    return image_models("cpu")


@pytest.fixture(scope="module")
def on_cifar10() -> dict[str, ModelSpec]:
    """Those of the paper's own data."""
    return image_models("paper", "cifar")


def differences(one: RunConfig, other: RunConfig) -> set[str]:
    """The dotted names of the settings that differ, of those that both have."""

    def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in values.items():
            found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
        return found

    ours, theirs = flat(one.to_dict()), flat(other.to_dict())
    return {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}


CHANGES = {
    "ddgan-t1": {"diffusion.num_steps"},
    "ddgan-t2": {"diffusion.num_steps"},
    "ddgan-t8": {"diffusion.num_steps"},
    "ddgan-no-latent": {"generator.latent_size"},
    "ddgan-noise": {"diffusion.prediction", "generator.tanh"},
    "ddgan-x_prev": {"diffusion.prediction", "generator.tanh", "objective.reconstruction"},
    "ddgan-no-reconstruction": {"objective.reconstruction"},
    "ddgan-no-latent-no-reconstruction": {"objective.reconstruction", "generator.latent_size"},
}
GAN = {"objective.reconstruction", "optimization.betas", "optimization.generator_lr"}
BASELINES = {"gan": GAN | {"diffusion.num_steps"}, "gan-augmented": GAN}


@pytest.mark.parametrize("name", CHANGES)
def test_a_variant_changes_what_its_name_says(models: dict[str, ModelSpec], name: str) -> None:
    assert differences(models[name].config, models["ddgan-t4"].config) == CHANGES[name]


@pytest.mark.parametrize("name", BASELINES)
def test_the_gans_have_the_same_networks_and_budget(models: dict[str, ModelSpec], name: str) -> None:
    config = models[name].config
    assert differences(config, models["ddgan-t4"].config) == BASELINES[name]
    assert isinstance(config, BaselineConfig)
    assert (config.method, config.critic.updates) == ("wgan_gp", 1)  # as many updates of G as the others


def test_the_digits_have_the_preset_s_generator_and_one_budget(models: dict[str, ModelSpec]) -> None:
    preset = RunConfig.load("digits_quick")
    changed = {
        name for name in differences(models["ddgan-t8"].config, preset) if "discriminator." not in name
    }
    assert changed == {
        "training.score_samples",
        "objective.reconstruction_weight",
        "optimization.generator_lr",
        "optimization.discriminator_lr",
    }
    budget = {(m.config.training.num_iterations, m.config.training.batch_size) for m in models.values()}
    assert budget == {(preset.training.num_iterations, preset.training.batch_size)}
    denoiser = models["ddpm"].config
    assert isinstance(denoiser, BaselineConfig)
    assert dataclasses.replace(denoiser.generator, latent_size=32) == preset.generator


def test_on_cifar10_the_gan_has_our_loss(on_cifar10: dict[str, ModelSpec]) -> None:
    config = on_cifar10["gan"].config
    assert differences(config, on_cifar10["ddgan-t4"].config) == {"diffusion.num_steps"}
    assert isinstance(config, BaselineConfig)
    assert config.method == "gan"


def test_on_cifar10_the_denoiser_is_ddpms_over_the_same_unet(on_cifar10: dict[str, ModelSpec]) -> None:
    ours, theirs = on_cifar10["ddgan-t4"].config, on_cifar10["ddpm"].config
    assert theirs.diffusion.num_steps == 1000
    assert theirs.diffusion.prediction == "noise"
    assert dataclasses.replace(theirs.generator, latent_size=100, tanh=True) == ours.generator
    assert "ddgan-no-reconstruction" not in on_cifar10  # the paper's objective has no such term
    assert ours.data == "cifar"


@pytest.mark.parametrize("scale", SCALES)
def test_every_model_that_an_experiment_names_is_there(scale: str) -> None:
    known = all_models(scale, "data") | (paper_only_models("data") if scale == "paper" else {})
    assert all(name == spec.name for name, spec in known.items())
    for experiment in EXPERIMENTS.values():
        names = set(experiment.models_at(scale))
        of_presets = {"cifar10", "celebahq256", "lsun_church256"}
        assert names - of_presets <= set(known), experiment.name
    assert set(TABLE_2) <= set(known)


def test_points_share_networks_and_the_critic_has_more_iterations() -> None:
    models = point_models("cpu")
    base = models["gaussians-ddgan-t4"].config
    assert base.diffusion.num_steps == 4
    critic = models["gaussians-wgan-gp"].config
    assert isinstance(critic, BaselineConfig)
    assert critic.critic.updates == 5
    assert critic.training.num_iterations == 2 * base.training.num_iterations
    assert {m.config.generator.hidden_features for m in models.values()} == {  # type: ignore[union-attr]
        base.generator.hidden_features  # type: ignore[union-attr]
    }


def test_smoke_models_are_tiny() -> None:
    assert image_base("smoke").training.num_iterations <= 20
    assert all(m.config.training.num_iterations <= 100 for m in all_models("smoke").values())
