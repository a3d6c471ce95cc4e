"""The shared models: reused, resumed, refused under other settings, divided between processes."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import threading
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from ddgan import DDGAN, RunConfig
from ddgan.config.settings import plain
from ddgan.models.gaussian import GaussianDiffusion
from ddgan.models.one_step import OneStepGAN
from ddgan.paper.store import ModelSpec, Store, settings_in_words
from ddgan.training.callbacks import ScoresAndCheckpoints, Session


def other_method(config: RunConfig, kind: str, **method: object) -> RunConfig:
    """The settings of a run that is trained by another method, with the same D where it has one."""
    if kind == "gaussian_diffusion":
        config = config.changed({"generator.latent_size": 0})
    else:
        method["discriminator"] = plain(config.method.discriminators["pair"])
    return config.changed({"method": {"kind": kind, **method}})


def spec_of(config: RunConfig, name: str = "tiny", **training: object) -> ModelSpec:
    changed = dataclasses.replace(config.training, log_every=1, checkpoint_minutes=1e-9, **training)  # type: ignore[arg-type]
    return ModelSpec(name, dataclasses.replace(config, training=changed))


def test_a_model_is_trained_once_and_reused(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    said: list[str] = []
    store, spec = Store(tmp_path, said.append), spec_of(tiny_points_config)
    assert not store.is_trained(spec, 1)
    first = store.open(spec, 1)
    assert isinstance(first, DDGAN)
    assert first.config.seed == 1
    again = Store(tmp_path, said.append).open(spec, 1)
    assert torch.equal(again.sample(3), first.sample(3))
    assert said == ["training tiny, seed 1: 5 iterations"]
    metadata = store.metadata(spec, 1)
    assert (metadata["name"], metadata["seed"], metadata["iterations"], metadata["batch_size"]) == (
        "tiny",
        1,
        5,
        8,
    )
    assert metadata["minutes"] >= 0
    assert metadata["machine"]
    assert [record["step"] for record in store.log_records(spec, 1)] == [1, 2, 3, 4, 5]
    assert store.path(spec, 1) == tmp_path / "tiny-seed1"


@pytest.mark.parametrize(
    ("kind", "model"),
    [("one_step_gan", OneStepGAN), ("wgan_gp", OneStepGAN), ("gaussian_diffusion", GaussianDiffusion)],
)
def test_a_model_of_another_method_is_one_of_them_too(
    kind: str, model: type, tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    store, spec = Store(tmp_path), spec_of(other_method(tiny_points_config, kind))
    assert isinstance(store.open(spec, 0), model)
    assert store.metadata(spec, 0)["iterations"] == 5


def test_a_training_that_was_cut_short_is_resumed(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, original = spec_of(tiny_points_config), ScoresAndCheckpoints.on_step

    def on_step(self: ScoresAndCheckpoints, session: Session) -> None:
        original(self, session)
        if session.state.step == 3:
            raise RuntimeError("power failure")

    with monkeypatch.context() as patch:
        patch.setattr(ScoresAndCheckpoints, "on_step", on_step)
        with pytest.raises(RuntimeError):
            Store(tmp_path / "cut").open(spec, 0)
    assert not Store(tmp_path / "cut").is_trained(spec, 0)
    model = Store(tmp_path / "cut").open(spec, 0)
    whole = Store(tmp_path / "whole").open(spec, 0)
    assert torch.equal(model.sample(4), whole.sample(4))


def test_weights_that_are_lost_are_not_taken_for_trained_again(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a clone, where metadata is kept and weights are not: a training cut short leaves weights too."""
    spec, original = spec_of(tiny_points_config), ScoresAndCheckpoints.on_step
    store = Store(tmp_path)
    store.open(spec, 0)
    shutil.rmtree(store.path(spec, 0) / "checkpoints")
    (store.path(spec, 0) / "model.safetensors").unlink()
    assert store.has_metadata(spec, 0)
    assert not store.is_trained(spec, 0)

    def on_step(self: ScoresAndCheckpoints, session: Session) -> None:
        original(self, session)
        if session.state.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(ScoresAndCheckpoints, "on_step", on_step)
        with pytest.raises(KeyboardInterrupt):
            store.open(spec, 0)
    assert (store.path(spec, 0) / "model.safetensors").is_file()
    assert not store.is_trained(spec, 0)
    assert not store.has_metadata(spec, 0)
    store.open(spec, 0)
    assert store.metadata(spec, 0)["iterations"] == 5


def test_the_settings_in_words_say_what_a_model_was_trained_for(tiny_points_config: RunConfig) -> None:
    rates = {"optimization.generator.lr": 2e-3, "optimization.discriminator.lr": 1e-3}
    changed = tiny_points_config.changed(
        rates
        | {
            "method.penalties": [{"kind": "r1", "gamma": 0.05, "every": 2}],
            "method.reconstruction": {"kind": "l2", "weight": 25.0},
        }
    )
    words = "non-saturating, R1 0.05 every 2, reconstruction l2 x 25; D mlp; rates 0.002, 0.001"
    assert settings_in_words(changed) == words
    critic = other_method(changed, "wgan_gp", penalty_weight=1.0, critic_updates=2)
    assert settings_in_words(critic) == "WGAN-GP 1, updates of D to G 2:1; D mlp; rates 0.002, 0.001"


def test_other_settings_under_the_same_name_are_refused(
    tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    Store(tmp_path).open(spec_of(tiny_points_config), 0)
    other = spec_of(tiny_points_config, num_iterations=6)
    with pytest.raises(
        ValueError, match=r"holds tiny with other settings \(training\.num_iterations is 5, not"
    ):
        Store(tmp_path).open(other, 0)
    Store(tmp_path).open(spec_of(tiny_points_config, keep_last=5), 0)  # what it learns is the same


def test_two_processes_divide_the_models(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    """What another one holds is left to it, and waited for at the end."""
    said: list[str] = []
    store = Store(tmp_path, said.append)
    first, second = spec_of(tiny_points_config, "first"), spec_of(tiny_points_config, "second")
    lock = FileLock(tmp_path / ".first-seed0.lock")
    lock.acquire()
    work = threading.Thread(target=store.train_all, args=([first, second], [0]))
    work.start()
    for _ in range(600):
        if "first, seed 0: waiting for another process to train it" in said:
            break
        work.join(0.1)
    assert store.is_trained(second, 0)
    assert not store.is_trained(first, 0)
    lock.release()
    work.join(60)
    assert store.is_trained(first, 0)
    assert [line.split(",")[0] for line in said] == ["training second", "first", "training first"]
