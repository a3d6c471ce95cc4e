"""What a run shows while it trains, and that showing it changes nothing else."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import ddgan
from ddgan import Callback, Run, RunConfig, TrainingError
from ddgan.models.run_folder import read_log
from ddgan.training import watching
from ddgan.training.callbacks import Session
from ddgan.training.checkpoint import Checkpoints
from ddgan.training.console import pause_between_lines, summary
from steps import changed

Capture = pytest.CaptureFixture[str]
REFRESH = '<meta http-equiv="refresh"'


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grid and a page after every iteration."""
    for name, value in {"FIRST_GRID": 0.0, "FIRST_SHARE": 1e9, "GROWTH": 0.0, "RENEWED_EVERY": 0}.items():
        monkeypatch.setattr(watching, name, value)
    monkeypatch.setattr(watching, "SAVING_SHARE", 1e9)


class Pages(Callback):
    """Keeps the page as it is after each iteration, seen from the next one."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def on_step(self, session: Session) -> None:
        self.pages.append((session.path / "report.html").read_text(encoding="utf-8"))


@pytest.mark.usefixtures("eager")
def test_the_page_exists_from_the_start_and_renews_itself_until_the_end(
    tiny_config: RunConfig, tmp_path: Path
) -> None:
    pages = Pages()
    run = ddgan.train(tiny_config, tmp_path / "run", verbose=False, callbacks=[pages])
    assert all(REFRESH in text and "Training: iteration" in text for text in pages.pages)
    assert "Training: iteration 0 of 5" in pages.pages[0]
    assert "Training: iteration 4 of 5" in pages.pages[4]
    assert "Samples over time" not in pages.pages[0]
    assert "Samples over time" in pages.pages[4]
    assert "Training images" in pages.pages[0]
    grids = sorted(path.name for path in (run.path / "grids").iterdir())
    assert grids == [f"{step:08d}.png" for step in range(1, 5)]
    last = (run.path / "report.html").read_text(encoding="utf-8")
    assert REFRESH not in last
    assert "Trained: 5 iterations." in last
    for title in ("Losses", "Health", "Settings", "Versions", "Next commands"):
        assert f"<h2>{title}</h2>" in last
    assert not re.findall(r"https?:|<script|<link|url\(|@import", last)
    assert f"ddgan sample {run.path} -n 64 --out samples.png" in last


@pytest.mark.usefixtures("eager")
def test_watching_changes_nothing_that_is_learned(
    tiny_run: Run, tiny_config: RunConfig, tmp_path: Path
) -> None:
    run = ddgan.train(tiny_config, tmp_path / "run", verbose=False)
    off = ddgan.train(changed(tiny_config, grid_minutes=0.0), tmp_path / "off", verbose=False)
    assert not (off.path / "grids").exists()
    ours, theirs, without = (
        Checkpoints(path / "checkpoints").newest()[0] for path in (run.path, tiny_run.path, off.path)
    )
    assert ours is not None
    assert theirs is not None
    assert without is not None
    for name, tensor in ours.tensors.items():
        assert torch.equal(tensor, theirs.tensors[name]), name
        assert torch.equal(tensor, without.tensors[name]), name


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ZeroDivisionError("of a bug")])
def test_a_page_that_cannot_be_written_costs_a_line_and_no_more(
    error: Exception,
    tiny_points_config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    def failing(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(watching, "write_report", failing)
    run = ddgan.train(tiny_points_config, tmp_path / "run")
    said = capsys.readouterr().err
    assert said.count("warning: could not write report.html") == 1
    assert str(error.args[-1]) in said
    assert (run.path / "model.safetensors").is_file()
    assert not (run.path / "report.html").exists()


def test_a_run_that_fails_leaves_a_page_that_is_not_renewed(
    tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    class Failing(Callback):
        def on_step(self, session: Session) -> None:
            if session.state.step == 3:
                raise TrainingError("of the user")

    with pytest.raises(TrainingError, match="of the user"):
        ddgan.train(tiny_points_config, tmp_path / "run", verbose=False, callbacks=[Failing()])
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert REFRESH not in text
    assert "Stopped at iteration 3 of 5 (60%)." in text
    assert f"ddgan train --resume {tmp_path / 'run'}" in text
    ddgan.resume(tmp_path / "run", verbose=False)
    text = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Trained: 5 iterations." in text
    assert "Stopped at iteration" not in text


def test_a_grid_by_time_comes_seldom_and_not_before_it_is_cheap(
    tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock goes on 2 s per iteration: the first grid at 6 s, then one each 6 s until it is expensive."""

    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()

    class Ticking(Callback):
        def on_step(self, session: Session) -> None:
            clock.now += 2.0

    monkeypatch.setattr(watching, "time", clock)
    monkeypatch.setattr(watching, "FIRST_SHARE", 1e9)
    config = changed(tiny_config, num_iterations=14, checkpoint_minutes=60)
    ddgan.train(config, tmp_path / "run", verbose=False, callbacks=[Ticking()])
    assert sorted(path.stem for path in (tmp_path / "run" / "grids").iterdir()) == [
        f"{step:08d}" for step in (3, 6, 9, 12)
    ]
    clock.now = 0.0
    monkeypatch.setattr(watching, "FIRST_SHARE", 1e-9)
    ddgan.train(config, tmp_path / "dear", verbose=False, callbacks=[Ticking()])
    assert not (tmp_path / "dear" / "grids").exists()


def test_lines_in_a_file_come_from_the_first_seconds_and_name_the_state(
    tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(watching, "pause_between_lines", lambda seconds: 0.0)
    ddgan.train(tiny_config, tmp_path / "run")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("iteration")]
    form = r"iteration \d/5  \d+\.\d min left  ([a-z ]+)  [\d,.e+]+ images/s  \d+\.\d GB(  D \d.*  G \d.*)?"
    found = [re.fullmatch(form, line) for line in lines]
    assert len(lines) == 5
    assert all(found)
    states = [match.group(1) for match in found if match]
    recorded = [record["state"] for record in read_log(tmp_path / "run" / "log.jsonl")]
    assert states == ["starting", recorded[0], recorded[0], recorded[1], recorded[2]]


def test_a_terminal_shows_them_in_place(
    tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(watching, "SECONDS_ON_TERMINAL", 0.0)
    ddgan.train(tiny_config, tmp_path / "run")
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue())
    assert re.search(r"training .* 5/5 .* images/s  \d+\.\d GB", shown)
    assert "iteration 1/5" not in shown
    assert "report in" in shown


def test_lines_become_rarer() -> None:
    times, now = [], 0.0
    while now < 3600:
        now += pause_between_lines(now)
        times.append(now)
    assert times[:4] == [2, 4, 8, 16]
    assert len([time for time in times if time < 60]) == 6
    assert len(times) < 90
    assert times[-1] - times[-2] == 60


@pytest.mark.parametrize(
    ("speed", "record", "line"),
    [
        (1234.5, {"loss_d": 1.25, "loss_g": None}, "balanced  1,234 images/s  0.5 GB  D 1.250  G not finite"),
        (0.512, {}, "balanced  0.51 images/s  0.5 GB"),
        (25.0, {"loss_g": 0.5}, "balanced  25 images/s  0.5 GB  G 0.500"),
    ],
)
def test_the_summary_of_a_line(speed: float, record: dict[str, Any], line: str) -> None:
    assert summary("balanced", speed, 0.512, record) == line
