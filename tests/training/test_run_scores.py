"""How a run ends for its user: samples, scores that cost little, a report, and what to do next."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import ddgan
from ddgan import RunConfig
from ddgan.cli import main
from ddgan.metrics import affordable
from ddgan.models.run_folder import read_log
from ddgan.system.outputs import read_record
from ddgan.training.checkpoint import Checkpoints
from other_methods import OTHERS, config_of
from steps import changed

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few samples that a test takes a moment."""
    monkeypatch.setattr(affordable, "NUMBERS", (40,))
    monkeypatch.setattr(affordable, "LEAST", 1e6)


def test_by_default_a_run_ends_with_all_that_can_be_had(
    tiny_config: RunConfig, tmp_path: Path, few: None, capsys: Capture
) -> None:
    out = tmp_path / "my run"
    run = ddgan.train(changed(tiny_config, score_samples="auto"), out)
    assert run.report is not None
    assert read_record(out / "scores.json")["num_samples"] == run.report.num_samples == 40
    assert (out / "samples.png").is_file()
    assert "modes covered" in (out / "report.html").read_text(encoding="utf-8")
    said = capsys.readouterr().err
    assert f"to sample the model: ddgan sample '{out}' -n 64 --out samples.png" in said
    assert f"to score the model: ddgan evaluate '{out}'" in said
    assert f"to train for longer: ddgan train --resume '{out}' --minutes 60" in said


def test_without_scores_there_is_a_report(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    none = ddgan.train(tiny_points_config, tmp_path / "none")
    assert none.report is None
    assert (tmp_path / "none" / "report.html").is_file()
    said = capsys.readouterr().err
    assert "scoring" not in said
    assert "not scored" not in said
    monkeypatch.setattr(affordable, "LEAST", 1e-9)
    config = changed(tiny_points_config, score_samples="auto")
    assert ddgan.train(config, tmp_path / "slow").report is None
    assert "not scored: the scores of 200 samples would take about" in capsys.readouterr().err
    assert (tmp_path / "slow" / "report.html").is_file()
    assert not (tmp_path / "slow" / "scores.json").exists()


def test_no_failure_of_scores_that_nobody_asked_for_is_one_of_the_run(
    tiny_points_config: RunConfig, tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def failing(*arguments: object, **named: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("ddgan.training.run_scores.evaluate", failing)
    assert ddgan.train(changed(tiny_points_config, score_samples="auto"), tmp_path / "run").report is None
    assert "not scored: out of memory" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_told(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def failing(*arguments: object) -> None:
        raise ValueError("the data is gone")

    monkeypatch.setattr("ddgan.training.watching.write_report", failing)
    run = ddgan.train(tiny_points_config, tmp_path / "run")
    assert not run.interrupted
    assert "warning: could not write report.html in" in capsys.readouterr().err


def test_scores_of_a_shorter_run_do_not_stay(
    tiny_points_config: RunConfig, tmp_path: Path, few: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ddgan.train(changed(tiny_points_config, score_samples="auto"), tmp_path / "run", verbose=False)
    assert (run.path / "scores.json").is_file()
    monkeypatch.setattr(affordable, "LEAST", 1e-9)
    ddgan.resume(run.path, num_iterations=7, verbose=False)
    assert not (run.path / "scores.json").exists()


@pytest.mark.parametrize("method", OTHERS)
def test_every_method_ends_so(method: str, tmp_path: Path, few: None) -> None:
    config = changed(config_of(method), score_samples="auto")
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    assert run.report is not None
    assert (run.path / "report.html").is_file()


@pytest.mark.parametrize(
    ("shape", "features"), [((40, 40, 3), "thumbnails"), ((12, 20, 1), "pixels"), ((8, 8, 2), "pixels")]
)
def test_every_shape_of_images_is_scored_offline(
    tiny_config: RunConfig,
    tmp_path: Path,
    few: None,
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    features: str,
) -> None:
    monkeypatch.setenv("DDGAN_INCEPTION", str(tmp_path / "none.pt"))
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (30, *shape), dtype=np.uint8))
    config = changed(tiny_config, score_samples="auto", held_out=10)
    config = config.changed({"data.kind": "images", "data.layout": "NHWC"})
    run = ddgan.train(config, tmp_path / "run", data=str(tmp_path / "x.npy"), verbose=False)
    assert run.report is not None
    assert run.report.features is not None
    assert run.report.features.name == features
    assert run.report.frechet is not None
    assert run.report.memorisation is not None


def test_the_named_scores_are_taken_and_the_first_decides_which_checkpoint_is_best(
    tiny_config: RunConfig, tmp_path: Path
) -> None:
    scored = {"score_samples": 20, "score_every": 1, "keep_every": 1}
    config = changed(
        tiny_config, **scored, features="pixels", metrics=("precision_recall", "kernel"), num_iterations=4
    )
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    assert run.report is not None
    assert list(run.report.scores) == ["kernel", "precision_recall"]
    assert run.report.features is not None
    assert run.report.features.name == "pixels"
    scores = Checkpoints(run.path / "checkpoints").scores()
    assert scores[4] == -run.report.precision_recall.precision  # type: ignore[union-attr]
    other = changed(config, metrics=("kernel", "precision_recall"))
    run = ddgan.train(other, tmp_path / "other", verbose=False)
    assert Checkpoints(run.path / "checkpoints").scores()[4] == run.report.kernel.value  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--metrics", "fid"], "training.metrics: fid is not known"),
        (["--features", "incaption"], "training.features 'incaption' is not known; did you mean inception?"),
        (["--training.metrics", "[inception_score]", "--features", "pixels"], "needs class probabilities"),
        (
            ["--features", "mnist_classifier", "--metrics", "frechet"],
            "features mnist_classifier are for images of",
        ),
    ],
)
def test_names_are_checked_before_training(
    options: list[str], words: str, tiny_yaml: str, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ["train", "--config", tiny_yaml, "--out", str(tmp_path / "run")]
    assert main([*arguments, "--training.score_samples", "auto", *options]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_is_scored_again(tiny_points_config: RunConfig, tmp_path: Path, few: None) -> None:
    config = changed(tiny_points_config, score_samples="auto")
    run = ddgan.train(config, tmp_path / "run", verbose=False)
    shutil.rmtree(run.path / "checkpoints" / "step-00000005")
    (run.path / "scores.json").unlink()
    again = ddgan.resume(run.path, verbose=False)
    assert again.report is not None
    assert run.report is not None
    assert again.report.scores == run.report.scores
    assert [record["step"] for record in read_log(run.path / "log.jsonl")][-1] == 5
