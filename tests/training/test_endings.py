"""How a run ends: with everything written, or with a line about what is missing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import ddgan
from ddgan import DDGAN, RunConfig, TrainingError
from ddgan.cli import main
from ddgan.config.training import UNMEASURED
from ddgan.data.preparation import prepare
from ddgan.models.run_folder import read_log
from ddgan.networks.resnet import Discriminator
from ddgan.paper.store import ModelSpec, Store
from ddgan.training.checkpoint import Checkpoints
from ddgan.training.iteration import iterate
from ddgan.training.statistics import JsonLines
from steps import changed

Capture = pytest.CaptureFixture[str]


def full(*arguments: object) -> None:
    raise OSError(28, "No space left on device")


def test_weights_that_cannot_be_written_at_the_end_are_a_failure(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, spec = Store(tmp_path), ModelSpec("tiny", changed(tiny_points_config, checkpoint_minutes=60))
    with monkeypatch.context() as patch:
        patch.setattr("ddgan.training.callbacks.Session._save_weights", full)
        with pytest.raises(TrainingError, match="at iteration 5, but its weights could not be written"):
            store.open(spec, 0)
    assert not store.is_trained(spec, 0)
    assert store.open(spec, 0).sample(2).isfinite().all()
    assert store.metadata(spec, 0)["iterations"] == 5


def test_a_log_that_cannot_be_closed_does_not_cost_the_weights(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(JsonLines, "close", full)
    run = ddgan.train(tiny_points_config, tmp_path / "run")
    assert "could not write" in capsys.readouterr().err
    assert torch.equal(DDGAN.from_pretrained(tmp_path / "run").sample(2), run.model.sample(2))


def test_a_run_that_is_stuck_keeps_its_last_good_state(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(state: object, batch: object, *others: object) -> object:
        if state.step >= 7:  # type: ignore[attr-defined]
            batch = batch._replace(x=batch.x * float("nan"))  # type: ignore[attr-defined]
        return iterate(state, batch, *others)  # type: ignore[arg-type]

    config = changed(
        tiny_points_config, num_iterations=100, max_skipped=4, log_every=1, checkpoint_minutes=60
    )
    monkeypatch.setattr("ddgan.training.trainer.iterate", spoiled)
    with pytest.raises(TrainingError, match="stopped at iteration 11"):
        ddgan.train(config, tmp_path / "run", verbose=False)
    newest, _ = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["step"] == 11
    assert all(tensor.isfinite().all() for tensor in newest.tensors.values())


def test_a_budget_of_minutes_knows_no_other_end(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    """The iterations of the preset, which are few here, neither end it nor lower its rates."""
    config = changed(tiny_points_config, max_minutes=0.02, num_iterations=3, log_every=1)
    assert config.training.planned_iterations == UNMEASURED
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    log = read_log(run.path / "log.jsonl")
    assert log[-1]["step"] > 20
    rates = [record["lr_g"] for record in log]
    assert rates[:10] == pytest.approx([config.optimization.generator.lr] * 10)
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-5)
    newest, _ = Checkpoints(run.path / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["is_budgeted"]
    assert newest.metadata["step"] == newest.metadata["num_iterations"] == log[-1]["step"]


def test_points_are_not_flipped(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    plain = ddgan.train(tiny_points_config, tmp_path / "plain", verbose=False)
    flipped = tiny_points_config.changed({"augmentation": [{"kind": "horizontal_flip"}]})
    run = ddgan.train(flipped, tmp_path / "run", verbose=False)
    assert torch.equal(run.model.sample(3), plain.model.sample(3))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Images that have no modes to count."""
    rng = np.random.default_rng(0)
    np.save(tmp_path / "photos.npy", rng.integers(0, 256, (64, 8, 8, 3), dtype=np.uint8))
    return prepare(str(tmp_path / "photos.npy"), tmp_path / "photos")


def test_images_without_modes_are_scored_by_their_distance(
    tiny_config: RunConfig, photos: Path, tmp_path: Path
) -> None:
    config = changed(tiny_config, score_samples=32, score_every=2)
    run = ddgan.train(config, tmp_path / "run", data=str(photos), verbose=False)
    assert run.report is not None
    assert run.report.modes is None
    assert run.report.frechet is not None
    scores = Checkpoints(run.path / "checkpoints").scores()
    assert scores
    assert (run.path / "best.safetensors").is_file()


def test_scores_that_cannot_be_had_on_the_way_are_told(
    tiny_config: RunConfig, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def missing(*arguments: object, **named: object) -> None:
        raise ValueError("features inception are not there")

    monkeypatch.setattr("ddgan.training.callbacks.evaluate", missing)
    config = changed(tiny_config, score_samples=32, score_every=2)
    with pytest.raises(ValueError, match="features inception"):
        ddgan.train(config, tmp_path / "run", data=str(photos))
    assert "could not score at iteration 2: features inception are not there" in capsys.readouterr().err
    newest, _ = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["step"] == 5


def test_d_sees_held_out_images_in_parts_that_fit(
    tiny_config: RunConfig, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, sizes = Discriminator.forward, []

    def seen(self: object, x: torch.Tensor, *others: object) -> torch.Tensor:
        sizes.append(len(x))
        return forward(self, x, *others)

    monkeypatch.setattr(Discriminator, "forward", seen)
    config = changed(tiny_config, held_out=20, log_every=5)
    run = ddgan.train(config, tmp_path / "run", data=str(photos), verbose=False)
    assert max(sizes) == 8
    assert 4 in sizes  # 20 = 8 + 8 + 4
    assert isinstance(read_log(run.path / "log.jsonl")[-1]["d_held_out"], float)


def test_data_may_move_but_not_change(
    tiny_config: RunConfig, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    run = tmp_path / "run"
    whole = ddgan.train(tiny_config, run, data=str(photos), verbose=False)
    for path in Checkpoints(run / "checkpoints").paths()[1:]:
        shutil.rmtree(path)
    if not Checkpoints(run / "checkpoints").paths():
        pytest.fail("no early checkpoint is left")
    photos.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="photos', which does not exist"):
        ddgan.resume(run, verbose=False)
    other = np.random.default_rng(1).integers(0, 256, (64, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "other.npy", other)
    with pytest.raises(ValueError, match="is not the data that the run was trained on"):
        ddgan.resume(run, data=str(prepare(str(tmp_path / "other.npy"), tmp_path / "other")), verbose=False)
    assert main(["train", "--resume", str(run), "--data", str(tmp_path / "elsewhere")]) == 0
    assert torch.equal(DDGAN.from_pretrained(run).sample(2), whole.model.sample(2))
    assert yaml.safe_load((run / "config.yaml").read_text())["data"]["path"] == str(tmp_path / "elsewhere")
    assert main(["train", "--resume", str(run), "--seed", "4"]) == 2
    assert "leave out all others but --data" in capsys.readouterr().err


def test_a_missing_tracker_is_named_when_going_on(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ddgan.train(tiny_points_config, tmp_path / "run", verbose=False)
    settings = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    settings["training"]["trackers"] = ["wandb"]
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match="wandb"):
        ddgan.resume(tmp_path / "run", verbose=False)
