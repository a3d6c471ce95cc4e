"""Runs that stop once their scores are flat: when, with what on disk, and the same after any interruption."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ddgan
from ddgan import DDGAN, Callback, RunConfig
from ddgan.cli import main
from ddgan.config.training import OWN_SAMPLES, UNMEASURED, TrainingConfig
from ddgan.models.run_folder import read_log
from ddgan.training.callbacks import Session
from ddgan.training.checkpoint import Checkpoints
from scripted import FLAT_AT_10, Scripted
from steps import changed, untimed

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Scripted:
    return Scripted(FLAT_AT_10).install(monkeypatch)


@pytest.fixture
def config(tiny_points_config: RunConfig) -> RunConfig:
    """A run of 14 iterations that is scored after each."""
    return changed(
        tiny_points_config,
        num_iterations=14,
        score_every=1,
        score_samples=40,
        stop_when="flat",
        log_every=1,
    )


def steps_of(run: Path) -> list[int]:
    return [record["step"] for record in read_log(run / "log.jsonl")]


@pytest.mark.usefixtures("scripted")
def test_a_flat_run_stops_saves_everything_and_says_so(
    config: RunConfig, tmp_path: Path, capsys: Capture
) -> None:
    run = ddgan.train(config, tmp_path / "run")
    said = capsys.readouterr().err
    assert not run.interrupted
    assert steps_of(run.path)[-1] == 10
    assert "stopped early (training.stop_when flat) after 10 iterations" in said
    assert (
        f"scores: flat since iteration 4: FID about 30; best score in {run.path / 'best.safetensors'}" in said
    )
    assert f"to go on: ddgan train --resume {run.path} --stop_when never" in said
    assert DDGAN.from_pretrained(run.path).sample(1).isfinite().all()
    assert run.report is not None
    newest, _ = Checkpoints(run.path / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["step"] == 10
    scores = read_log(run.path / "scores.jsonl")
    assert [score["value"] for score in scores] == [FLAT_AT_10[step] for step in range(1, 11)]
    assert scores[2]["verdict"] == "too early to judge: 3 of 6 scores"
    assert scores[-1]["verdict"].startswith("flat since iteration 4")
    text = (run.path / "report.html").read_text(encoding="utf-8")
    assert "Trained: 10 iterations, of 14 planned." in text
    assert "Scores during training" in text
    assert "flat since iteration 4" in text
    verdicts = [record.get("verdict") for record in read_log(run.path / "log.jsonl")]
    assert verdicts == [None, *(score["verdict"] for score in scores[:-1])]


@pytest.mark.usefixtures("scripted")
def test_otherwise_it_goes_on_to_the_end(config: RunConfig, tmp_path: Path, capsys: Capture) -> None:
    run = ddgan.train(changed(config, stop_when="never"), tmp_path / "run")
    assert steps_of(run.path)[-1] == 14
    assert "scores: flat since iteration 4" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [3, 7, 10])
def test_a_resumed_run_decides_alike(
    config: RunConfig, tmp_path: Path, scripted: Scripted, stop: int
) -> None:
    """The process dies within the run, and right after the checkpoint of the iteration in which it ends."""

    class Dying(Callback):
        def on_step(self, session: Session) -> None:
            if session.state.step == stop + 1:
                raise RuntimeError("power failure")

    whole = ddgan.train(config, tmp_path / "whole", verbose=False).path
    run = tmp_path / "run"
    if stop < 10:
        with pytest.raises(RuntimeError, match="power failure"):
            ddgan.train(config, run, verbose=False, callbacks=[Dying()])
    else:
        shutil.copytree(whole, run)
        for name in ("scores.jsonl", "scores.json", "report.html", "model.safetensors"):
            (run / name).unlink()
    result = ddgan.resume(run, verbose=False)
    assert not result.interrupted
    assert untimed(run) == untimed(whole)
    assert (run / "scores.jsonl").read_bytes() == (whole / "scores.jsonl").read_bytes()
    for name in ("model.safetensors", "best.safetensors"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.usefixtures("scripted")
def test_a_run_that_stopped_goes_on_if_it_may(config: RunConfig, tmp_path: Path) -> None:
    run = ddgan.train(config, tmp_path / "run", verbose=False).path
    ddgan.resume(run, verbose=False)
    assert steps_of(run)[-1] == 10
    assert main(["train", "--resume", str(run), "--stop_when", "never"]) == 0
    assert steps_of(run)[-1] == 14
    assert "stop_when: never" in (run / "config.yaml").read_text()


def test_progress_is_not_stopped(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Scripted({step: 100.0 - step for step in range(1, 15)}).install(monkeypatch)
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    assert steps_of(run.path)[-1] == 14
    assert read_log(run.path / "scores.jsonl")[-1]["verdict"].startswith("improving: FID 86 at iteration 14")


def test_an_average_of_the_weights_is_saved_where_it_stops(
    config: RunConfig, tmp_path: Path, scripted: Scripted
) -> None:
    averaged = config.changed({"optimization.ema.lengths": [0.1], "optimization.ema.snapshot_every": 100})
    run = ddgan.train(averaged, tmp_path / "run", verbose=False)
    assert [path.name for path in (run.path / "averages").iterdir()] == ["00000010-0.1.safetensors"]


def test_without_an_interval_a_run_that_may_stop_is_scored_twenty_times() -> None:
    usual = TrainingConfig(score_samples=26_000)
    assert usual.score_interval(5000) == 0
    own = TrainingConfig(score_samples=26_000, stop_when="flat")
    assert own.score_interval(5000) == 250
    assert own.score_interval(7) == 1
    assert own.score_interval(UNMEASURED) > 10**9  # not before the budget has been measured
    assert own.interim_samples == OWN_SAMPLES
    asked = TrainingConfig(score_samples=26_000, stop_when="flat", score_every=10)
    assert (asked.score_interval(5000), asked.interim_samples) == (10, 26_000)
    with pytest.raises(
        ValueError, match=r"stop_when is flat, but score_samples is 0, .* set score_samples too"
    ):
        TrainingConfig(stop_when="flat", score_samples=0)


def test_the_command_line_has_a_short_form(capsys: Capture) -> None:
    assert main(["train", "--preset", "digits_quick", "--stop_when", "flat", "--print_config"]) == 0
    assert "stop_when: flat" in capsys.readouterr().out
    assert main(["train", "--preset", "digits_quick", "--stop_when", "late", "--print_config"]) == 2
    assert "training.stop_when is 'late'" in capsys.readouterr().err
