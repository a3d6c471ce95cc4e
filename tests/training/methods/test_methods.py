"""Every method trains by the same run: it resumes to the bit, and its files open as what was trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from test_gaussian_diffusion import denoiser_config
from test_one_step_gan import gan_config

import ddgan
from ddgan import DDGAN, Callback, Run, RunConfig
from ddgan.diffusion.ancestral import ChainConfig
from ddgan.models.checkpoint_file import read_checkpoint
from ddgan.models.gaussian import GaussianDiffusion
from ddgan.models.one_step import OneStepGAN
from ddgan.models.run_folder import read_log
from ddgan.training.methods.gaussian_diffusion import NUM_BINS
from steps import untimed
from tiny import TINY_POINTS

MODELS = {
    "denoising_gan": DDGAN,
    "one_step_gan": OneStepGAN,
    "wgan_gp": OneStepGAN,
    "gaussian_diffusion": GaussianDiffusion,
}


def config_of(base: RunConfig, kind: str, **changes: object) -> RunConfig:
    training = {"training.num_iterations": 6, "training.log_every": 5, "training.checkpoint_minutes": 1e-9}
    base = base.changed(training | changes)
    if kind == "gaussian_diffusion":
        return denoiser_config(base, **{"diffusion.num_steps": 30})
    return base if kind == "denoising_gan" else gan_config(base, 3, kind)


class PowerFailure(Callback):
    """Ends the process after an iteration, as a crash would."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, session: Any) -> None:
        if session.state.step == self.step:
            session.save()
        if session.state.step == self.step + 1:
            raise RuntimeError("power failure")


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize("kind", MODELS)
def test_a_run_that_died_ends_as_if_it_had_not(
    tiny_points_config: RunConfig, kind: str, accumulation: int, tmp_path: Path
) -> None:
    config = config_of(tiny_points_config, kind, **{"training.accumulation": accumulation})
    whole = ddgan.train(config, tmp_path / "whole", verbose=False)
    kept = config.changed({"training.checkpoint_minutes": 60.0})
    with pytest.raises(RuntimeError, match="power failure"):
        ddgan.train(kept, tmp_path / "run", verbose=False, callbacks=[PowerFailure(3)])
    resumed = ddgan.resume(tmp_path / "run", verbose=False)
    assert not resumed.interrupted
    ours, theirs = (run.model.generator.state_dict() for run in (resumed, whole))
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name
    assert [dict(record)["step"] for record in untimed(tmp_path / "run")] == [5, 6]
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")  # also of the interval that was cut
    last = sorted((tmp_path / "run" / "checkpoints").glob("step-*"))[-1]
    other = sorted((tmp_path / "whole" / "checkpoints").glob("step-*"))[-1]
    ours, theirs = (read_checkpoint(path).tensors for path in (last, other))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.fixture(scope="module", params=MODELS)
def run(
    request: pytest.FixtureRequest, tiny_config: RunConfig, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    folder = tmp_path_factory.mktemp("methods") / request.param
    return ddgan.train(config_of(tiny_config, request.param), folder, verbose=False)


def test_a_run_folder_opens_as_what_was_trained(run: Run) -> None:
    again, kind = ddgan.load(run.path), run.model.config.method.kind
    assert type(again) is type(run.model) is MODELS[kind]
    assert again.config == run.model.config == RunConfig.load(run.path / "config.yaml")
    assert torch.equal(again.sample(3), run.model.sample(3))
    names = {"config.yaml", "log.jsonl", "model.safetensors", "samples.png"}
    assert {file.name for file in run.path.iterdir()} >= names
    record = next(r for r in reversed(read_log(run.path / "log.jsonl")) if "loss_g" in r)
    assert ("loss_d" in record) == ("lr_d" in record) == (kind != "gaussian_diffusion")
    bins = NUM_BINS if kind == "gaussian_diffusion" else 3
    assert len(record["loss_g_by_t"]) == bins
    if kind != "denoising_gan":
        words = rf"was trained by the method {kind}, so it is not .*; open it with ddgan\.load"
        with pytest.raises(ValueError, match=words):
            DDGAN.from_pretrained(run.path)


def test_the_scores_of_a_model_are_those_of_its_samples(run: Run) -> None:
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


def test_a_weights_file_or_a_checkpoint_alone_is_enough(run: Run, tmp_path: Path) -> None:
    path = run.model.save(tmp_path / "x.safetensors")
    checkpoint = sorted((run.path / "checkpoints").glob("step-*"))[-1]
    for place in (path, checkpoint):
        again = ddgan.load(place)
        assert type(again) is type(run.model)
        assert torch.equal(again.sample(2), run.model.sample(2))


@pytest.mark.parametrize("kind", MODELS)
def test_every_method_trains_with_classes(tiny_config: RunConfig, kind: str, tmp_path: Path) -> None:
    config = config_of(tiny_config, kind).changed(
        {"data": {"kind": "single_digits"}, "conditions.label": {"classes": "auto"}}
    )
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    assert run.model.num_classes == 10
    samples = run.model.sample(20, classes=3)
    assert samples.shape == (20, 1, 8, 8)
    assert ddgan.load(run.path).conditions.num_classes == 10


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        ({"kind": "denoising_gan", "discriminators": {"pair": "resnet"}}, "method.discriminators.pair.kind"),
        ({"kind": "one_step_gan", "discriminator": "resnet"}, "method.discriminator.kind"),
        ({"kind": "wgan_gp", "discriminator": "resnet"}, "method.discriminator.kind"),
    ],
    ids=["denoising_gan", "one_step_gan", "wgan_gp"],
)
def test_a_discriminator_that_does_not_fit_is_named_by_its_setting(
    method: dict[str, Any], setting: str, tmp_path: Path
) -> None:
    config = RunConfig.from_dict({**TINY_POINTS, "method": method})
    with pytest.raises(ValueError, match=rf"^{re.escape(setting)} is resnet, which takes signals"):
        ddgan.train(config, tmp_path / "run", verbose=False)
    assert not (tmp_path / "run").exists()
