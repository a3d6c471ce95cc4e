"""Trackers are checked before training, and cannot end it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

import ddgan
from ddgan import RunConfig, TrainingError
from ddgan.system.processes import Processes
from ddgan.training.tracking import MODULES, Trackers, check_trackers
from steps import ALONE, changed

Capture = pytest.CaptureFixture[str]


class Wandb(ModuleType):
    """The part of the package wandb that is used."""

    class Error(Exception):
        pass

    def __init__(self, mode: str = "online", login: bool | None = None) -> None:
        super().__init__("wandb")
        self.mode, self.answer, self.sent = mode, login, list[dict[str, float]]()
        self.broken = False

    def setup(self) -> SimpleNamespace:
        return SimpleNamespace(settings=SimpleNamespace(mode=self.mode))

    def login(self, *, verify: bool) -> bool:
        assert not verify  # there may be no network
        if self.answer is None:
            raise self.Error("No API key configured.")
        return self.answer

    def init(self, **settings: object) -> Wandb:
        if self.broken:
            raise self.Error("no\nconnection")
        return self

    def log(self, numbers: dict[str, float], step: int) -> None:
        if len(self.sent) == 1:
            raise self.Error("the service has gone")
        self.sent.append(numbers)

    def finish(self) -> None:
        raise self.Error("the service has gone")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setattr("ddgan.training.tracking.find_spec", lambda name: object())
    return monkeypatch


@pytest.mark.parametrize(
    ("mode", "login", "is_ready"),
    [
        ("online", True, True),
        ("online", None, False),
        ("online", False, False),
        ("offline", None, True),
        ("dryrun", None, True),
        ("disabled", False, True),
    ],
)
def test_wandb_must_be_logged_in_or_offline(
    installed: pytest.MonkeyPatch, mode: str, login: bool | None, is_ready: bool
) -> None:
    installed.setitem(sys.modules, "wandb", Wandb(mode, login))
    check_trackers(("wandb",), Processes(torch.device("cpu"), 1, 2))  # only the main process logs
    if is_ready:
        check_trackers(("wandb",), ALONE)
    else:
        with pytest.raises(
            ValueError, match=r"^training.trackers has wandb, which is not logged in; run wandb"
        ):
            check_trackers(("wandb",), ALONE)


@pytest.mark.parametrize("name", MODULES)
def test_a_tracker_that_cannot_be_imported_is_told_in_one_line(
    installed: pytest.MonkeyPatch, name: str
) -> None:
    def broken(module: str) -> None:
        assert module == MODULES[name]
        raise TypeError("Descriptors cannot be created\ndirectly")

    installed.setattr("ddgan.training.tracking.import_module", broken)
    words = f"has {name}, which cannot be imported .Descriptors cannot be created directly.; pip install"
    with pytest.raises(ValueError, match=words):
        check_trackers((name,), ALONE)


def test_a_tracker_that_breaks_does_not_end_training(
    installed: pytest.MonkeyPatch, tiny_points_config: RunConfig, tmp_path: Path, capsys: Capture
) -> None:
    wandb = Wandb("offline")
    installed.setitem(sys.modules, "wandb", wandb)
    config = changed(tiny_points_config, trackers=("wandb",), log_every=1)
    ddgan.train(config, tmp_path / "run")
    assert [numbers["step"] for numbers in wandb.sent] == [1]
    said = capsys.readouterr().err
    assert said.count("warning: could not write to the trackers") == 1
    assert "the service has gone; training goes on" in said
    assert "trained after 5 iterations" in said


def test_a_tracker_that_does_not_start_fails_in_one_line_and_the_run_can_be_resumed(
    installed: pytest.MonkeyPatch, tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    wandb = Wandb("offline")
    wandb.broken = True
    installed.setitem(sys.modules, "wandb", wandb)
    config = changed(tiny_points_config, trackers=("wandb",))
    with pytest.raises(
        TrainingError, match=r"^training.trackers wandb could not be started: no connection; mend"
    ):
        ddgan.train(config, tmp_path / "run", verbose=False)
    wandb.broken = False
    assert not ddgan.resume(tmp_path / "run", verbose=False).interrupted


def test_without_trackers_nothing_is_made(tmp_path: Path) -> None:
    trackers = Trackers((), tmp_path / "trackers", "run", {})
    trackers.log({"step": 1})
    trackers.close()
    assert list(tmp_path.iterdir()) == []
