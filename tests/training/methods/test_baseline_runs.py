"""Baselines as runs: settings, resume to the bit, files that are opened again, scores."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import ddgan
from ddgan import DDGAN, Run, RunConfig
from ddgan.diffusion.process import DiffusionConfig
from ddgan.training.checkpoint import read_checkpoint
from ddgan.training.methods import (
    BaselineConfig,
    ChainConfig,
    CriticConfig,
    GaussianDiffusion,
    OneStepGAN,
    load_baseline,
    resume_baseline,
    train_baseline,
)
from ddgan.training.methods.gaussian_diffusion import NUM_BINS
from ddgan.training.statistics import read_log

METHODS = ("gan", "wgan_gp", "ddpm")


def config_of(base: RunConfig, method: str) -> BaselineConfig:
    if method == "ddpm":
        generator = dataclasses.replace(base.generator, latent_size=0, tanh=False)
        base = dataclasses.replace(
            base, generator=generator, diffusion=DiffusionConfig(30, prediction="noise")
        )
    training = dataclasses.replace(base.training, num_iterations=6, log_every=1, checkpoint_minutes=1e-9)
    return BaselineConfig.like(dataclasses.replace(base, training=training), method=method)


def stopped_after(
    config: BaselineConfig, folder: Path, iterations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Train, but raise after so many iterations, as a crash would."""
    from ddgan.training.callbacks import Supervisor

    original = Supervisor.on_step

    def on_step(self: Supervisor) -> None:
        original(self)
        if self._state.step == iterations:
            raise RuntimeError("power failure")

    with monkeypatch.context() as patch:
        patch.setattr(Supervisor, "on_step", on_step)
        with pytest.raises(RuntimeError, match="power failure"):
            train_baseline(config, folder, verbose=False)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_died_ends_as_if_it_had_not(
    tiny_points_config: RunConfig, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tiny_points_config, method)
    whole = train_baseline(config, tmp_path / "whole", verbose=False)
    kept = dataclasses.replace(config, training=dataclasses.replace(config.training, keep_every=3))
    stopped_after(kept, tmp_path / "run", 4, monkeypatch)
    resumed = resume_baseline(tmp_path / "run", verbose=False)
    assert not resumed.interrupted
    ours, theirs = (run.model.generator.state_dict() for run in (resumed, whole))
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
    assert [record["step"] for record in read_log(tmp_path / "run" / "log.jsonl")] == [1, 2, 3, 4, 5, 6]
    last = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))[-1]
    other = sorted((tmp_path / "whole" / "checkpoints").glob("step-*"))[-1]
    ours, theirs = (read_checkpoint(path).tensors for path in (last, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.fixture(scope="module", params=METHODS)
def run(
    request: pytest.FixtureRequest, tiny_config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    folder = tmp_path_factory.mktemp("baseline") / request.param
    return train_baseline(config_of(tiny_config, request.param), folder, verbose=False)


def test_a_run_folder_opens_as_what_was_trained(run: Run) -> None:
    again = load_baseline(run.path)
    assert type(again) is type(run.model)
    assert again.config == run.model.config
    assert torch.equal(again.sample(3), run.model.sample(3))
    assert {file.name for file in run.path.iterdir()} >= {"config.yaml", "log.jsonl", "model.safetensors"}
    settings = yaml.safe_load((run.path / "config.yaml").read_text())
    assert BaselineConfig.from_dict(settings) == again.config
    record = read_log(run.path / "log.jsonl")[-1]
    assert ("loss_d" in record) == (again.config.method != "ddpm")
    if again.config.method == "ddpm":
        assert len(record["loss_g_by_t"]) == NUM_BINS
    else:
        assert len(record["loss_d_by_t"]) == again.config.diffusion.num_steps > 1
    with pytest.raises(
        ValueError, match=r"holds a baseline, which ddgan\.training\.methods\.load_baseline opens"
    ):
        DDGAN.from_pretrained(run.path)


def test_the_scores_of_a_ddgan_are_those_of_a_baseline(run: Run) -> None:
    model = run.model
    if isinstance(model, GaussianDiffusion):
        model = model.sampled_by(ChainConfig(5, eta=0.0))
    report = ddgan.evaluate(model, metrics=["frechet"], n=300, features="pixels")
    images = ddgan.evaluate(
        torch.cat(list(model.batches(300))), "digits", metrics=["frechet"], features="pixels"
    )
    assert report.frechet is not None
    assert images.frechet is not None
    assert report.frechet.value == pytest.approx(images.frechet.value, rel=1e-6)
    assert report.num_steps == (5 if isinstance(model, GaussianDiffusion) else 1)


def test_a_weights_file_alone_is_enough(run: Run, tmp_path: Path) -> None:
    path = run.model.save(tmp_path / "x.safetensors")
    assert torch.equal(load_baseline(path).sample(2), run.model.sample(2))
    kinds = {"gan": OneStepGAN, "wgan_gp": OneStepGAN, "ddpm": GaussianDiffusion}
    assert isinstance(load_baseline(path), kinds[run.model.config.method])


def test_what_is_no_baseline_is_refused(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds a denoising diffusion GAN, which"):
        load_baseline(tiny_run.path)
    with pytest.raises(ValueError, match="does not exist"):
        load_baseline(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "vae"}, "method is 'vae'; it must be one of gan, wgan_gp, ddpm"),
        ({"num_classes": 3}, "the baselines know no classes"),
        ({"method": "ddpm"}, "has no latent; set generator.latent_size to 0"),
        ({"training": {"score_samples": 10}}, "score_samples 0"),
        ({"critic": {"updates": 0}}, "critic.updates is 0"),
        ({"critic": {"penalty": 1}}, "critic is .* it takes penalty_weight, updates"),
        ({"denoiser": {"snr_limit": -1.0}}, "denoiser.snr_limit is -1"),
        ({"generator": {"latent_sizes": 1}}, "latent_size"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    tiny_settings: dict[str, Any], changes: dict[str, Any], words: str
) -> None:
    for name, value in changes.items():
        tiny_settings[name] = tiny_settings.get(name, {}) | value if isinstance(value, dict) else value
    with pytest.raises(ValueError, match=words):
        BaselineConfig.from_dict(tiny_settings)


def test_settings_go_to_plain_values_and_back(tiny_config: RunConfig) -> None:
    config = dataclasses.replace(config_of(tiny_config, "wgan_gp"), critic=CriticConfig(5.0, 2))
    assert BaselineConfig.from_dict(config.to_dict()) == config
