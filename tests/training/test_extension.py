"""A run that goes on longer: its schedules have no jump and end where they should, and resuming is exact."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from test_resume import assert_same, cut, kept_config

import ddgan
from ddgan import Callback, RunConfig
from ddgan.cli import main
from ddgan.config.ramps import Ramp
from ddgan.config.training import UNMEASURED
from ddgan.models.checkpoint_file import read_own_metadata
from ddgan.models.run_folder import read_log
from ddgan.training.callbacks import Session
from ddgan.training.checkpoint import Checkpoints
from ddgan.training.extension import Extension, scheduled, transition
from ddgan.training.optimizers import decayed
from steps import changed, made

Capture = pytest.CaptureFixture[str]
START, END = 1e-3, 1e-5


def rate(step: int, num_iterations: int) -> float:
    return decayed(START, END, 1, step, num_iterations)


# --- the schedule -------------------------------------------------------------------------------------------


def test_a_finished_run_warms_up_to_the_longer_cosine_and_ends_at_its_end() -> None:
    """By hand: at its end the rate is END, and 2000 iterations more take 100 to warm up."""
    extended = [Extension(1000, 1000, 1000)]
    assert transition(1000, 3000) == 100
    assert scheduled(rate, 1000, 3000, extended) == END
    assert scheduled(rate, 1050, 3000, extended) == pytest.approx((END + rate(1050, 3000)) / 2)
    for step in range(1100, 3001):
        assert scheduled(rate, step, 3000, extended) == rate(step, 3000)
    assert scheduled(rate, 3000, 3000, extended) == pytest.approx(END)
    for step in range(1000):  # what it was before has not changed
        assert scheduled(rate, step, 3000, extended) == rate(step, 1000)


def changes(rng: random.Random) -> list[tuple[Extension, int]]:
    """Changes of length and the new lengths: in the middle, at the end, in a transition, for a time."""
    length, done, found = rng.randint(50, 500), 0, []
    for _ in range(rng.randint(1, 4)):
        done = length if rng.random() < 0.4 else rng.randint(done, length)
        known_at = done + (rng.randint(1, 40) if rng.random() < 0.3 else 0)
        before, length = length, known_at + rng.randint(1, 1000)
        found.append((Extension(done, before, known_at), length))
        done = known_at
    return found


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize(
    "schedule",
    [rate, Ramp(0.1, 2.0, 0.5).at, Ramp(5.0, 0.1, 1.0, "geometric").at],
    ids=["rate", "up", "down"],
)
def test_any_changes_leave_no_jump_and_the_end_in_its_place(
    seed: int, schedule: Callable[[int, int], float]
) -> None:
    """Within a transition a value moves at most 1 / W of the way besides, while it is held not at all."""
    found = changes(random.Random(seed))
    extensions, length = [extension for extension, _ in found], found[-1][1]
    values = [scheduled(schedule, step, length, extensions) for step in range(length + 1)]
    low, high = sorted((schedule(0, 1), schedule(1, 1)))
    assert all(low * (1 - 1e-9) <= value <= high * (1 + 1e-9) for value in values)
    assert values[-1] == pytest.approx(schedule(length, length))
    lengths = [extensions[0].num_iterations, *(one for _, one in found)]
    for step, (one, following) in enumerate(pairwise(values)):
        place = sum(extension.step <= step for extension in extensions)  # changes before this iteration
        allowed = 5 * (high - low) / min(lengths[: place + 1])  # steeper than any schedule of these lengths
        if place:
            known_at = extensions[place - 1].known_at
            assert known_at is not None
            within = transition(known_at, lengths[place])
            if step < known_at:
                allowed = 0.0
            elif step < known_at + within:
                allowed += (high - low) / within
        assert abs(following - one) <= allowed


def test_a_time_is_held_until_it_is_known() -> None:
    held = [Extension(40, 100, None)]
    assert {scheduled(rate, step, UNMEASURED, held) for step in range(40, 90)} == {rate(40, 100)}
    known = [Extension(40, 100, 60)]
    assert scheduled(rate, 60, 160, known) == rate(40, 100)
    assert scheduled(rate, 65, 160, known) == rate(65, 160)


def test_rates_penalties_and_moments_of_a_state_follow_it(tiny_config: RunConfig) -> None:
    ramp = Ramp(0.1, 0.5, 1.0, "linear")
    config = tiny_config.changed(
        {"optimization.generator.betas": [{"start": 0.2, "end": 0.8, "shape": "linear"}, 0.9]}
    )
    state = made(changed(config, num_iterations=10))
    assert float(state.value(ramp)) == pytest.approx(0.1)
    state.step = 10
    state.change_length(50)
    for step, w in ((10, 0.0), (11, 0.5), (12, 1.0), (50, 1.0)):
        state.step = step
        state.renew_ramps()
        expected = (1 - w) * 0.5 + w * (0.1 + 0.4 * step / 50)
        assert float(state.value(ramp)) == pytest.approx(expected)
        beta, second = state.optimizers["generator"].param_groups[0]["betas"]
        assert beta == pytest.approx((1 - w) * 0.8 + w * (0.2 + 0.6 * step / 50))
        assert second == 0.9
        expected = (1 - w) * 1e-5 + w * decayed(0.02, 1e-5, 1, step, 50)
        assert state.learning_rate("generator") == pytest.approx(expected)


# --- runs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def short(tiny_points_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 5 iterations, with a checkpoint after every step; read only."""
    config = kept_config(tiny_points_config)
    return ddgan.train(config, tmp_path_factory.mktemp("short") / "run", verbose=False).path


@pytest.fixture(scope="module")
def longer(short: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, gone on with to 9 iterations and then to 40 without an interruption; read only."""
    run = cut(short, tmp_path_factory.mktemp("longer") / "run", 5)
    ddgan.resume(run, num_iterations=9, verbose=False)
    return ddgan.resume(run, num_iterations=40, verbose=False).path


@pytest.mark.parametrize("step", [9, 10, 20, 39])
def test_interrupted_and_resumed_it_ends_bit_for_bit_the_same(
    longer: Path, tmp_path: Path, step: int
) -> None:
    run = cut(longer, tmp_path / "run", step)  # config.yaml already has the last length
    ddgan.resume(run, verbose=False)
    assert_same(run, longer)
    newest, _ = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["extensions"] == [[5, 5, 5], [9, 9, 9]]
    assert newest.metadata["num_iterations"] == newest.metadata["config"]["training"]["num_iterations"] == 40


def test_killed_before_its_first_checkpoint_the_longer_run_is_not_lost(short: Path, tmp_path: Path) -> None:
    class Dying(Callback):
        def on_step(self, session: Session) -> None:
            raise RuntimeError("power failure")

    whole = ddgan.resume(cut(short, tmp_path / "whole", 5), num_iterations=12, verbose=False).path
    run = cut(short, tmp_path / "run", 5)
    with pytest.raises(RuntimeError, match="power"):
        ddgan.resume(run, num_iterations=12, verbose=False, callbacks=[Dying()])
    assert Checkpoints(run / "checkpoints").paths()[-1].name == "step-00000005"
    ddgan.resume(run, verbose=False)
    assert_same(run, whole)


def test_an_unfinished_run_is_stretched(short: Path, tmp_path: Path, capsys: Capture) -> None:
    run = cut(short, tmp_path / "run", 2)
    ddgan.resume(run, max_images=8 * 30)
    assert "training for 30 iterations instead of 5; learning rates" in capsys.readouterr().err
    rates = {record["step"]: record["lr_g"] for record in read_log(run / "log.jsonl")}
    first = decayed(0.02, 1e-5, 1, 2, 5)
    assert rates[2] == pytest.approx(first)
    for step in range(4, 31, 2):
        assert rates[step] == pytest.approx(decayed(0.02, 1e-5, 1, step, 30))  # the transition takes 2
    assert rates[30] == pytest.approx(1e-5)
    training = RunConfig.load(run / "config.yaml").training
    assert (training.max_images, training.max_minutes, training.planned_iterations) == (240, 0, 30)
    assert ddgan.load(run).config.training.max_images == 240


def test_a_run_may_end_sooner(short: Path, tmp_path: Path) -> None:
    run = ddgan.resume(cut(short, tmp_path / "run", 2), num_iterations=4, verbose=False).path
    assert [record["step"] for record in read_log(run / "log.jsonl")] == [2, 4]
    assert read_log(run / "log.jsonl")[-1]["lr_g"] == pytest.approx(1e-5)


def test_minutes_are_added_and_measured_once(
    short: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cut(short, tmp_path / "run", 5)
    before = read_own_metadata(Checkpoints(run / "checkpoints").paths()[-1])["seconds"]
    ddgan.resume(run, minutes=0.01)
    said = capsys.readouterr().err
    assert "training for 0.01 more minutes; learning rates and ramps stay where they are until" in said
    assert said.index("time budget of") < said.index("ramps move from where they are to the schedule of")
    assert RunConfig.load(run / "config.yaml").training.max_minutes == pytest.approx(before / 60 + 0.01)
    newest, _ = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    (extension,) = newest.metadata["extensions"]
    assert extension[:2] == [5, 5]
    known_at, end = extension[2], newest.metadata["num_iterations"]
    assert 20 <= known_at < end == newest.metadata["step"]
    rates = {record["step"]: record["lr_g"] for record in read_log(run / "log.jsonl")}
    assert all(rates[step] == 1e-5 for step in range(6, known_at, 2))
    assert rates[end] == pytest.approx(1e-5)
    whole = shutil.copytree(run, tmp_path / "whole")
    ddgan.resume(cut(whole, tmp_path / "again", known_at + 1), verbose=False)
    assert_same(tmp_path / "again", whole)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_iterations": 5}, "training.num_iterations is 5, but the run has done 5 iterations already"),
        ({"num_iterations": 3}, "training.num_iterations is 3, but the run has done 5 iterations already"),
        ({"max_images": 40}, "training.max_images is 40, but the run has seen 40 images already"),
        ({"num_iterations": 0}, "training.num_iterations is 0; it must be at least 1"),
        ({"max_images": 0}, "max_images is 0; it must be at least 1"),
        ({"minutes": 0}, "minutes is 0; it must be a number above 0, the minutes to add"),
        ({"minutes": float("nan")}, "minutes is nan; it must be a number above 0"),
        ({"minutes": True}, "minutes is True; it must be a number above 0"),
        ({"minutes": 1e9}, "training.max_minutes is 1000000000.0.*; it must be at most"),
        ({"minutes": 1, "max_images": 99}, "minutes and max_images are both given; a run has one length"),
    ],
    ids=str,
)
def test_lengths_that_make_no_sense_are_one_line(
    short: Path, tmp_path: Path, arguments: dict[str, float], words: str
) -> None:
    run = cut(short, tmp_path / "run", 5)
    settings = (run / "config.yaml").read_text()
    with pytest.raises(ValueError, match=words):
        ddgan.resume(run, verbose=False, **arguments)  # type: ignore[arg-type]
    assert (run / "config.yaml").read_text() == settings


def test_a_length_in_the_file_is_a_new_length_too(short: Path, tmp_path: Path, capsys: Capture) -> None:
    run = cut(short, tmp_path / "run", 5)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["training"]["num_iterations"] = 4
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=r"num_iterations is 4, but the run has done 5"):
        ddgan.resume(run, verbose=False)
    settings["training"]["num_iterations"] = 9
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    ddgan.resume(run)
    assert "training for 9 iterations instead of 5" in capsys.readouterr().err
    ddgan.resume(run)
    assert "instead of" not in capsys.readouterr().err


def test_the_command_takes_a_new_length_and_nothing_else(
    short: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = str(cut(short, tmp_path / "run", 5))
    assert main(["train", "--resume", run, "--training.num_iterations", "7"]) == 0
    assert main(["train", "--training.max_images=72", f"--resume={run}"]) == 0
    assert main(["train", "--resume", run, "--minutes", "0.001"]) == 0
    assert "more minutes" in capsys.readouterr().err
    for wrong, words in (
        (["--training.num_iterations", "x"], "--training.num_iterations is 'x'; it must be a whole number"),
        (["--minutes", "1", "--training.max_images", "999"], "minutes and max_images are both given"),
        (["--training.batch_size", "3"], "--resume RUN uses the settings of the run; leave out all others"),
        (["--overwrite"], "--resume RUN uses the settings of the run; leave out all others"),
    ):
        assert main(["train", "--resume", run, *wrong]) == 2
        assert words in capsys.readouterr().err


def test_minutes_of_a_new_run_are_its_budget(tiny_yaml: str, capsys: Capture) -> None:
    assert main(["train", "--config", tiny_yaml, "--minutes", "1.5", "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["training"]["max_minutes"] == 1.5
