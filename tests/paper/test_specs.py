"""The models that are compared: one training budget, and only what the name says is changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ddgan.config.overrides import dotted
from ddgan.config.run_config import RunConfig
from ddgan.paper.experiment import SCALES
from ddgan.paper.published import TABLE_2
from ddgan.paper.registry import EXPERIMENTS, paper_only_models
from ddgan.paper.specs import all_models, image_base, image_models, point_models
from ddgan.paper.store import ModelSpec, Store
from ddgan.training.methods.one_step_gan import OneStepGANMethod
from ddgan.training.methods.wgan_gp import WGANGP


@pytest.fixture(scope="module")
def models() -> dict[str, ModelSpec]:
    """Those of stacked digits at scale cpu."""
    return image_models("cpu")


@pytest.fixture(scope="module")
def on_cifar10() -> dict[str, ModelSpec]:
    """Those of the paper's own data."""
    return image_models("paper", "cifar")


def settings_of(config: RunConfig) -> dict[str, Any]:
    return dict(dotted(config.to_dict()))


def differences(one: RunConfig, other: RunConfig) -> set[str]:
    """The dotted names of the settings that differ, of those that both have."""
    ours, theirs = settings_of(one), settings_of(other)
    return {name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]}


RECONSTRUCTION = {f"method.reconstruction{part}" for part in (".kind", ".weight", ".by_signal", ".by_noise")}
CHANGES = {
    "ddgan-t1": {"diffusion.num_steps"},
    "ddgan-t2": {"diffusion.num_steps"},
    "ddgan-t8": {"diffusion.num_steps"},
    "ddgan-no-latent": {"generator.latent_size"},
    "ddgan-noise": {"diffusion.prediction", "generator.tanh"},
    "ddgan-x_prev": {"diffusion.prediction", "generator.tanh"} | RECONSTRUCTION,
    "ddgan-no-reconstruction": RECONSTRUCTION,
    "ddgan-no-latent-no-reconstruction": RECONSTRUCTION | {"generator.latent_size"},
}
GAN = {"method.kind", "optimization.generator.betas", "optimization.discriminator.betas"}
GAN |= {"optimization.generator.lr"}
BASELINES = {"gan": GAN | {"diffusion.num_steps"}, "gan-augmented": GAN}


@pytest.mark.parametrize("name", CHANGES)
def test_a_variant_changes_what_its_name_says(models: dict[str, ModelSpec], name: str) -> None:
    ours, theirs = settings_of(models[name].config), settings_of(models["ddgan-t4"].config)
    assert {one for one in ours | theirs if ours.get(one) != theirs.get(one)} == CHANGES[name]


@pytest.mark.parametrize("name", BASELINES)
def test_the_gans_have_the_same_networks_and_budget(models: dict[str, ModelSpec], name: str) -> None:
    config = models[name].config
    assert differences(config, models["ddgan-t4"].config) == BASELINES[name]
    assert isinstance(config.method, WGANGP)
    assert config.method.critic_updates == 1  # as many updates of G as the others
    assert config.method.discriminator == models["ddgan-t4"].config.method.discriminators["pair"]


def test_the_digits_have_the_preset_s_generator_and_one_budget(models: dict[str, ModelSpec]) -> None:
    preset = RunConfig.load("digits_quick")
    changed = {
        name for name in differences(models["ddgan-t8"].config, preset) if "discriminators." not in name
    }
    assert changed == {
        "training.score_samples",
        "method.reconstruction.weight",
        "optimization.generator.lr",
        "optimization.discriminator.lr",
    }
    budget = {(m.config.training.num_iterations, m.config.training.batch_size) for m in models.values()}
    assert budget == {(preset.training.num_iterations, preset.training.batch_size)}
    denoiser = models["ddpm"].config
    assert denoiser.method.kind == "gaussian_diffusion"
    assert dataclasses.replace(denoiser.generator, latent_size=32) == preset.generator


def test_on_cifar10_the_gan_has_our_loss(on_cifar10: dict[str, ModelSpec]) -> None:
    config = on_cifar10["gan"].config
    assert differences(config, on_cifar10["ddgan-t4"].config) == {"diffusion.num_steps", "method.kind"}
    assert isinstance(config.method, OneStepGANMethod)
    assert config.method.discriminator == on_cifar10["ddgan-t4"].config.method.discriminators["pair"]


def test_on_cifar10_the_denoiser_is_ddpms_over_the_same_unet(on_cifar10: dict[str, ModelSpec]) -> None:
    ours, theirs = on_cifar10["ddgan-t4"].config, on_cifar10["ddpm"].config
    assert theirs.diffusion.num_steps == 1000
    assert theirs.diffusion.prediction == "noise"
    assert dataclasses.replace(theirs.generator, latent_size=100, tanh=True) == ours.generator
    assert "ddgan-no-reconstruction" not in on_cifar10  # the paper's objective has no such term
    assert ours.data.path == "cifar"


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
    assert isinstance(critic.method, WGANGP)
    assert critic.method.critic_updates == 5
    assert critic.training.num_iterations == 2 * base.training.num_iterations
    assert {m.config.generator.hidden_features for m in models.values()} == {  # type: ignore[union-attr]
        base.generator.hidden_features  # type: ignore[union-attr]
    }


def test_smoke_models_are_tiny() -> None:
    assert image_base("smoke").training.num_iterations <= 20
    assert all(m.config.training.num_iterations <= 100 for m in all_models("smoke").values())


RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results"
CONFIGS = sorted(RESULTS.rglob("config.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.parent.relative_to(RESULTS)))
def test_committed_configurations_can_be_read(path: Path) -> None:
    assert RunConfig.load(path).training.num_iterations > 0


def test_committed_models_are_those_of_the_experiments() -> None:
    """So that their reports are made again from their records, without training."""
    store, found = Store(RESULTS / "cpu" / "models"), []
    for spec in all_models("cpu").values():
        found += [store.path(spec, seed).name for seed in range(3) if store.has_metadata(spec, seed)]
    assert sorted(found) == sorted(path.name for path in store.folder.iterdir())
