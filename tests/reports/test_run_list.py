"""The list of runs: every state as it is, whatever is broken, within the width of the terminal."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import ddgan
from ddgan import Callback, RunConfig, TrainingError
from ddgan.cli import main
from ddgan.metrics.headline import Headline
from ddgan.models.run_folder import is_locked
from ddgan.reports.run_list import ListedRun, differing, find_runs, listed, table_lines
from ddgan.training.callbacks import Session
from ddgan.training.workspace import locked
from steps import changed

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def finished(tiny_points_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with scores; read only."""
    config = changed(tiny_points_config, score_samples=60)
    return ddgan.train(config, tmp_path_factory.mktemp("runs") / "done", verbose=False).path


class Acting(Callback):
    """Does something after two iterations."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def on_step(self, session: Session) -> None:
        if session.state.step == 2:
            self.act()


def failing() -> None:
    raise TrainingError("it is stuck")


def test_a_finished_run(finished: Path) -> None:
    run = listed(finished)
    assert (run.state, run.reason, run.iterations, run.num_iterations, run.images) == (
        "finished",
        "",
        5,
        5,
        40,
    )
    assert run.score is not None
    kl = json.loads((finished / "scores.json").read_text())["modes"]["kl"]
    assert run.score == Headline("KL of the modes", kl, "lower")
    assert run.settings["training.batch_size"] == 8


def test_stopped_killed_and_failed_runs(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    stop = Acting(lambda: signal.raise_signal(signal.SIGTERM))
    ddgan.train(tiny_points_config, tmp_path / "stopped", verbose=False, callbacks=[stop])
    run = listed(tmp_path / "stopped")
    assert (run.state, run.iterations, run.num_iterations) == ("stopped", 2, 5)
    with pytest.raises(TrainingError):
        ddgan.train(tiny_points_config, tmp_path / "failed", verbose=False, callbacks=[Acting(failing)])
    run = listed(tmp_path / "failed")
    assert (run.state, run.reason) == ("failed", "it is stuck")
    killed = shutil.copytree(tmp_path / "stopped", tmp_path / "killed")
    (killed / "ending.json").unlink()  # written by no process that was killed
    assert listed(killed).state == "stopped"
    for path in (tmp_path / "failed", killed):
        ddgan.resume(path, verbose=False)
        assert listed(path).state == "finished"
    ddgan.train(tiny_points_config, tmp_path / "failed", verbose=False, overwrite=True)
    assert listed(tmp_path / "failed").state == "finished"


def test_a_run_that_trains_now(finished: Path, tmp_path: Path, tiny_points_config: RunConfig) -> None:
    assert not is_locked(finished)
    assert not is_locked(tmp_path)
    with locked(shutil.copytree(finished, tmp_path / "run")):
        assert is_locked(tmp_path / "run")
        assert listed(tmp_path / "run").state == "training"
    assert listed(tmp_path / "run").state == "finished"
    states: list[str] = []
    seen = Acting(lambda: states.append(listed(tmp_path / "new").state))
    ddgan.train(tiny_points_config, tmp_path / "new", verbose=False, callbacks=[seen])
    assert states == ["training"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda run: (run / "config.yaml").unlink(), "it has no config.yaml: its start was killed"),
        (lambda run: (run / "config.yaml").write_text("{"), "is not valid YAML"),
        (lambda run: (run / "config.yaml").write_bytes(b"\xff\x00"), "config.yaml'"),
        (lambda run: [p.write_text("x") for p in run.glob("checkpoints/*/checkpoint.json")], "is damaged"),
        (
            lambda run: (shutil.rmtree(run / "checkpoints"), (run / "model.safetensors").unlink()),
            "it has neither checkpoints nor weights",
        ),
    ],
    ids=["no config", "no YAML", "bytes", "checkpoints", "empty"],
)
def test_damage_is_a_state_and_no_error(
    finished: Path, tmp_path: Path, damage: Callable[[Path], object], reason: str
) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    damage(run)
    found = listed(run)
    assert found.state == "damaged"
    assert reason in found.reason
    assert "\n" not in found.reason
    assert any(reason.split("'")[0] in line for line in table_lines([found], 80))


def test_damaged_scores_log_and_ending_are_left_out(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    for name in ("scores.json", "log.jsonl", "ending.json"):
        (run / name).write_text('{"modes": ')
    found = listed(run)
    assert (found.state, found.score, found.iterations) == ("finished", None, 5)
    shutil.rmtree(run / "checkpoints")  # weights that somebody shares
    assert listed(run).state == "finished"


def test_runs_are_found_two_levels_deep_and_not_in_runs(finished: Path, tmp_path: Path) -> None:
    for place in ("run-10", "run-9", "group/one", "deep/er/two", "run-9/checkpoints/three", ".hidden"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / ".ddgan-run").touch()
    (tmp_path / "notes.txt").touch()
    found = [str(path.relative_to(tmp_path)) for path in find_runs(tmp_path)]
    assert found == ["group/one", "run-9", "run-10"]
    assert find_runs(finished) == [finished]
    with pytest.raises(ValueError, match="is not a folder"):
        find_runs(tmp_path / "notes.txt")


def made(name: str, **settings: object) -> ListedRun:
    known = {"seed": 0, "data.kind": "digits", "training.log_every": 50, **settings}
    return ListedRun(Path(name), "finished", "", 5000, 5000, 1_280_000, 0.0, None, known)


def test_only_settings_that_differ_and_have_an_effect_are_shown() -> None:
    runs = [
        made("a", **{"generator.kind": "mlp", "generator.hidden_features": 3, "training.log_every": 5}),
        made("b", **{"generator.kind": "ncsnpp", "seed": 1, "optimization.lr": 0.1}),
        ListedRun(Path("c"), "damaged", "no"),
    ]
    assert differing(runs) == ["seed", "generator.kind"]
    assert differing(runs[:1]) == differing([runs[0], runs[0], runs[2]]) == []


def test_names_are_as_short_as_they_can_be() -> None:
    runs = [
        made("a", **{"generator.kind": "mlp", "method.adversarial.kind": "x", "optimization.final_lr": 1e-5}),
        made("b", **{"generator.kind": "cnn", "method.adversarial.kind": "y", "optimization.final_lr": 0.0}),
    ]
    head, *rows = table_lines(runs, 200, now=7200.0)
    assert head.split() == [
        *(
            "run",
            "state",
            "iterations",
            "images",
            "age",
            "score",
            "generator.kind",
            "adversarial.kind",
            "final_lr",
        )
    ]
    assert rows[0].split() == ["a", "finished", "5,000/5,000", "1.28M", "2", "h", "-", "mlp", "x", "1e-05"]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_table_fits_and_says_what_it_leaves_out(width: int) -> None:
    names = [f"method.setting_number_{number}" for number in range(12)]
    runs = [made(name, **dict.fromkeys(names, value)) for name, value in (("a", 1), ("b", 2))]
    lines = table_lines(runs, width)
    assert all(len(line) <= width for line in lines)
    shown = sum(head.startswith("setting_number") for head in lines[0].split())
    assert f"{12 - shown} more settings differ (--json has all): method" in lines[-1]


def test_one_name_of_all_scores_is_the_head_of_their_column() -> None:
    fid, kl = Headline("FID", 3.14159, "lower"), Headline("KL of the modes", 0.5, "lower")
    runs = [dataclasses.replace(made("a"), score=fid), dataclasses.replace(made("b"), score=fid), made("c")]
    assert [line.split()[-1] for line in table_lines(runs, 80)] == ["FID", "3.142", "3.142", "-"]
    runs[1] = dataclasses.replace(runs[1], score=kl)
    assert "KL of the modes 0.5" in table_lines(runs, 80)[2]
    assert table_lines(runs, 80)[0].endswith("score")


def test_the_command(
    finished: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs / "one")
    other = shutil.copytree(finished, runs / "group" / "two")
    (other / "config.yaml").write_text((other / "config.yaml").read_text().replace("seed: 3", "seed: 4"))
    (runs / "broken").mkdir()
    (runs / "broken" / ".ddgan-run").touch()
    assert main(["list", str(runs)]) == 0
    output = capsys.readouterr()
    assert "broken: damaged: it has no config.yaml" in output.out
    assert output.err == ""
    assert main(["list", str(runs), str(runs / "one"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [Path(one["path"]).name for one in found] == ["broken", "two", "one"]
    assert [one["settings"] for one in found] == [{}, {"seed": 4}, {"seed": 3}]
    assert found[2]["score"]["name"] == "KL of the modes"
    assert found[2]["state"] == "finished"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert main(["list"]) == 0
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "no runs in .\n")
    assert main(["list", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
