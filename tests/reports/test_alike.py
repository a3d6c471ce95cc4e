"""A comparison of runs computes what is missing, alike for all, and only that."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import ddgan
from ddgan import Run, RunConfig
from ddgan.cli import main
from ddgan.metrics import affordable
from ddgan.reports import alike
from ddgan.reports.alike import score_alike
from steps import changed

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def runs(tiny_points_config: RunConfig, tmp_path: Path) -> list[Path]:
    """Two runs without scores."""
    paths = [tmp_path / "a", tmp_path / "b"]
    for seed, path in enumerate(paths):
        ddgan.train(tiny_points_config, path, seed=seed, verbose=False)
    return paths


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of every evaluation."""
    made: list[dict[str, Any]] = []

    def seen(model: Any, **named: Any) -> Any:
        made.append(named)
        return ddgan.evaluate(model, **named)

    monkeypatch.setattr(alike, "evaluate", seen)
    return made


def kinds(call: dict[str, Any]) -> list[str]:
    return [metric.kind for metric in call["metrics"]]


def test_runs_without_scores_are_scored_alike_and_once(
    runs: list[Path], calls: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affordable, "NUMBERS", (300,))
    said: list[str] = []
    comparison = score_alike(runs, said.append)
    assert [(call["n"], kinds(call)) for call in calls] == [(300, ["modes"])] * 2
    assert [line.partition(":")[0] for line in said] == [
        "scoring 300 samples of a",
        "scoring 300 samples of b",
    ]
    assert all("it has no scores" in line for line in said)
    assert comparison.names == ["a", "b"]
    assert not comparison.differences()
    again = score_alike(runs, said.append)
    assert len(calls) == len(said) == 2
    assert again == comparison
    direct = ddgan.evaluate(runs[0], metrics=["modes"], n=300).to_dict()
    assert comparison.reports[0]["modes"] == direct["modes"]


def test_the_scores_that_exist_decide_and_only_what_lacks_is_computed(
    runs: list[Path], calls: list[dict[str, Any]]
) -> None:
    ddgan.evaluate(runs[0], metrics=["modes", "frechet"], n=200, features="pixels").save(
        runs[0] / "scores.json"
    )
    ddgan.evaluate(runs[1], metrics=["modes"], n=200).save(runs[1] / "scores.json")
    said: list[str] = []
    comparison = score_alike(runs, said.append)
    assert [(call["n"], kinds(call), call["features"]) for call in calls] == [(200, ["frechet"], "pixels")]
    assert "its scores lack these" in said[0]
    first, second = comparison.reports
    assert first["frechet"]["name"] == second["frechet"]["name"]
    assert second["modes"] == json.loads((runs[1] / "scores.json").read_text())["modes"]
    assert second["features"]["name"] == "pixels"
    assert not comparison.differences()


def test_another_number_of_samples_is_scored_again(runs: list[Path], calls: list[dict[str, Any]]) -> None:
    for path, n in zip(runs, (200, 300), strict=True):
        ddgan.evaluate(path, metrics=["modes"], n=n).save(path / "scores.json")
    said: list[str] = []
    comparison = score_alike(runs, said.append)
    assert [call["n"] for call in calls] == [200]
    assert "its scores are of other samples or features (N = 300)" in said[0]
    assert [report["num_samples"] for report in comparison.reports] == [200, 200]
    score_alike(runs, said.append, n=100, metrics=["frechet"], features="pixels")
    assert [(call["n"], kinds(call)) for call in calls[1:]] == [(100, ["frechet"])] * 2
    kept = json.loads((runs[1] / "scores.json").read_text())
    assert kept["num_samples"] == 300  # that of the run itself stays


def test_a_file_of_scores_is_taken_as_it_is(
    runs: list[Path], calls: list[dict[str, Any]], tmp_path: Path
) -> None:
    ddgan.evaluate(runs[0], metrics=["frechet"], n=150, features="pixels").save(tmp_path / "x.json")
    (runs[0] / "scores.json").unlink(missing_ok=True)
    comparison = score_alike([runs[1], tmp_path / "x.json", runs[1] / "model.safetensors"], print)
    assert comparison.names == ["b", "x", "model"]
    assert [(call["n"], kinds(call)) for call in calls] == [(150, ["frechet"])] * 2
    assert comparison.reports[0]["frechet"] == comparison.reports[2]["frechet"]


def test_what_only_some_data_has_is_left_out_with_a_line(
    runs: list[Path], tiny_run: Run, calls: list[dict[str, Any]]
) -> None:
    ddgan.evaluate(tiny_run.path, metrics=["modes", "frechet"], n=60, features="pixels").save(
        runs[0].parent / "digits.json"
    )
    said: list[str] = []
    comparison = score_alike([runs[0].parent / "digits.json", runs[0]], said.append, n=60)
    assert comparison.reports[1]["modes"]["num_modes"] == 25
    with pytest.raises(ValueError, match=r"^a cannot be scored: .*balance needs labels"):
        score_alike(runs, said.append, metrics=["balance"], n=60)
    (runs[0].parent / "c.json").write_text(
        json.dumps({"protocol": 2, "num_samples": 60, "balance": {"kl": 0.1}, "modes": {"kl": 1.0}})
    )
    said.clear()
    score_alike([runs[0].parent / "c.json", runs[0]], said.append)
    assert "a is compared without balance: metrics: balance needs labels" in said[0]


def test_scores_of_classes_are_computed_for_models_with_classes(
    tiny_config: RunConfig, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    config = tiny_config.changed(
        {"data": {"kind": "single_digits"}, "conditions.label": {"classes": "auto"}}
    ).changed({"training.score_samples": 0})
    runs = [tmp_path / "a", tmp_path / "b"]
    for seed, path in enumerate(runs):
        ddgan.train(config, path, seed=seed, verbose=False)
    ddgan.evaluate(runs[0], metrics=["classes"], n=60).save(runs[0] / "scores.json")
    comparison = score_alike(runs, lambda line: None)
    assert [(call["n"], kinds(call)) for call in calls] == [(60, ["classes"])]
    assert (
        comparison.reports[1]["classes"]
        == ddgan.evaluate(runs[1], metrics=["classes"], n=60).to_dict()["classes"]
    )


def test_training_on_takes_the_scores_of_the_old_weights_away(
    runs: list[Path], tiny_points_config: RunConfig
) -> None:
    score_alike(runs, print, n=50)
    assert (runs[0] / "compared.json").is_file()
    ddgan.resume(runs[0], num_iterations=7, verbose=False)
    assert not (runs[0] / "compared.json").exists()
    score_alike(runs, print, n=50)
    ddgan.train(tiny_points_config, runs[0], overwrite=True, verbose=False)
    assert not (runs[0] / "compared.json").exists()


def test_the_command_just_works(runs: list[Path], capsys: Capture, tmp_path: Path) -> None:
    names = [str(path) for path in runs]
    assert main(["evaluate", "--compare", *names, "-n", "100", "--device", "cpu"]) == 0
    output = capsys.readouterr()
    assert output.err.count("scoring 100 samples of") == 2
    assert "modes (higher is better)" in output.out
    assert "not comparable" not in output.out
    page = tmp_path / "x.html"
    assert main(["evaluate", "--compare", *names, "-n", "100", "--out", str(page)]) == 0
    output = capsys.readouterr()
    assert output.err == f"comparison in {page} and {page.with_suffix('.png')}\n"
    assert page.is_file()


def test_settings_of_scores_do_not_stop_a_comparison(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    """Runs with different scores in their settings are compared as well."""
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, metrics in zip(paths, (("modes",), ("frechet",)), strict=True):
        config = changed(tiny_points_config, score_samples=100, metrics=metrics, features="pixels")
        ddgan.train(config, path, verbose=False)
    comparison = score_alike(paths, print)
    assert all(report["modes"] and report["frechet"] for report in comparison.reports)
