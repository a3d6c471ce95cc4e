"""A run resumes exactly where it stopped, however it ended."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor

import ddgan
from ddgan import Callback, Run, RunConfig, TrainingError
from ddgan.cli import main
from ddgan.data.batch import Batch
from ddgan.models.checkpoint_file import read_checkpoint
from ddgan.models.run_folder import read_log
from ddgan.training.callbacks import Session
from ddgan.training.checkpoint import Checkpoints
from ddgan.training.iteration import iterate
from ddgan.training.workspace import locked
from forked import forked
from steps import untimed


def kept_config(tiny_config: RunConfig, **training: object) -> RunConfig:
    """Settings that leave a checkpoint after every step, with all that a state can have."""
    settings = tiny_config.to_dict()
    settings["optimization"]["ema"]["half_lives"] = [0.02]
    settings["training"] |= {"keep_every": 1, "accumulation": 2, **training}
    return RunConfig.from_dict(settings)


@pytest.fixture(scope="module")
def whole(tiny_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was never stopped, with a checkpoint after every step; read only."""
    return ddgan.train(kept_config(tiny_config), tmp_path_factory.mktemp("whole") / "run", verbose=False).path


@pytest.fixture(scope="module")
def points(tiny_points_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of points, in a tenth of the time, where the networks do not matter."""
    config = kept_config(tiny_points_config)
    return ddgan.train(config, tmp_path_factory.mktemp("points") / "run", verbose=False).path


def final(run: Path) -> dict[str, Tensor]:
    newest, problems = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert not problems
    return newest.tensors


def assert_same(run: Path, whole: Path) -> None:
    ours, theirs = final(run), final(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for half_life in (None, 0.02):
        one, other = (ddgan.DDGAN.from_pretrained(path, ema=half_life) for path in (run, whole))
        assert torch.equal(one.sample(2), other.sample(2))
    assert untimed(run) == untimed(whole)
    for picture in whole.glob("*.png"):
        assert (run / picture.name).read_bytes() == picture.read_bytes()


def cut(whole: Path, run: Path, step: int) -> Path:
    """A copy of a run as a kill right after the checkpoint of `step` would have left it."""
    shutil.copytree(whole, run)
    for path in Checkpoints(run / "checkpoints").paths():
        if int(path.name[5:]) > step:
            shutil.rmtree(path)
    return run


@pytest.mark.parametrize("step", range(6))
def test_from_any_step_it_ends_bit_for_bit_the_same(whole: Path, tmp_path: Path, step: int) -> None:
    run = cut(whole, tmp_path / "run", step)
    result = ddgan.resume(run, verbose=False)
    assert not result.interrupted
    assert_same(run, whole)
    assert [dict(record)["step"] for record in untimed(run)] == [2, 4, 5]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_saves_and_stops_and_the_run_goes_on(
    points: Path, tiny_points_config: RunConfig, tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step_with_signal(state: object, *arguments: object) -> object:
        statistics = iterate(state, *arguments)  # type: ignore[arg-type]
        if state.step == 3:  # type: ignore[attr-defined]
            signal.raise_signal(number)
        return statistics

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("ddgan.training.trainer.iterate", step_with_signal)
        stopped = ddgan.train(kept_config(tiny_points_config, keep_every=0), run, verbose=False)
    assert stopped.interrupted
    assert stopped.ended_by == number
    newest, _ = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["step"] == 3
    ddgan.resume(run, verbose=False)
    assert_same(run, points)


def test_a_warning_that_began_before_an_interruption_goes_on_after_it(
    tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    """Three records in a row of updates that are skipped, before and after; each episode is told once."""

    class Skipping(Callback):
        def on_log(self, session: Session, record: dict[str, object]) -> None:
            record["skipped"] = float(record["step"] not in (7, 8))  # type: ignore[operator]

    class Dying(Callback):
        def on_step(self, session: Session) -> None:
            if session.state.step in (2, 4, 9):
                session.save()
                raise RuntimeError("power failure")

    config = kept_config(tiny_points_config, num_iterations=12, log_every=1)
    ddgan.train(config, tmp_path / "whole", verbose=False, callbacks=[Skipping()])
    warned = [record["step"] for record in read_log(tmp_path / "whole" / "log.jsonl") if "warnings" in record]
    assert warned == [3, 11]
    with pytest.raises(RuntimeError, match="power"):
        ddgan.train(config, tmp_path / "run", verbose=False, callbacks=[Skipping(), Dying()])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="power"):
            ddgan.resume(tmp_path / "run", verbose=False, callbacks=[Skipping(), Dying()])
    ddgan.resume(tmp_path / "run", verbose=False, callbacks=[Skipping()])
    assert untimed(tmp_path / "run") == untimed(tmp_path / "whole")


def test_a_truncated_checkpoint_costs_only_the_steps_since_the_one_before(
    points: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = cut(points, tmp_path / "run", 4)
    newest = Checkpoints(run / "checkpoints").paths()[-1] / "state.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    ddgan.resume(run)
    said = capsys.readouterr().err
    assert "is damaged: its checksum is wrong; using an older checkpoint" in said
    assert "resuming at iteration 3 of 5" in said
    assert_same(run, points)


def test_without_a_whole_checkpoint_it_says_so(points: Path, tmp_path: Path) -> None:
    run = cut(points, tmp_path / "run", -1)
    with pytest.raises(ValueError, match="has no intact checkpoint; train again"):
        ddgan.resume(run, verbose=False)
    with pytest.raises(ValueError, match="is not a run folder: it holds no config"):
        ddgan.resume(tmp_path, verbose=False)


def test_other_settings_are_refused_by_name_and_harmless_ones_are_not(points: Path, tmp_path: Path) -> None:
    run = cut(points, tmp_path / "run", 2)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["training"]["log_every"] = 1
    (run / "config.yaml").write_text(yaml.safe_dump(settings | {"seed": 4}))
    with pytest.raises(ValueError, match=r"seed is 4 in config.yaml, but the checkpoint was made with 3"):
        ddgan.resume(run, verbose=False)
    settings["optimization"]["generator"]["lr"] = 0.5
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=r"optimization.generator.lr is 0.5 .* made with 0.02"):
        ddgan.resume(run, verbose=False)
    settings["optimization"]["generator"]["lr"] = 0.02
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    ddgan.resume(run, verbose=False)
    assert [record["step"] for record in read_log(run / "log.jsonl")] == [2, 3, 4, 5]


def test_a_damaged_log_does_not_stop_a_run(
    tiny_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run.path, run)
    shutil.rmtree(run / "checkpoints" / "step-00000005")
    log = run / "log.jsonl"
    log.write_text("5\n" + log.read_text().replace('"step"', '"stfp"', 1))
    ddgan.resume(run)
    assert f"warning: dropped 2 lines of {log}, damaged since the log was written" in capsys.readouterr().err
    assert [record["step"] for record in read_log(log)] == [2, 4, 5]


def test_a_setting_that_is_newer_than_the_run_had_its_default(points: Path, tmp_path: Path) -> None:
    run = cut(points, tmp_path / "run", 2)
    metadata = run / "checkpoints" / "step-00000002" / "checkpoint.json"
    known = json.loads(metadata.read_text())
    del known["config"]["training"]["tf32"], known["config"]["training"]["cuda_graphs"]
    metadata.write_text(json.dumps(known))
    settings = yaml.safe_load((run / "config.yaml").read_text())
    settings["training"]["tf32"] = False
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=r"training.tf32 is False in .* made with True"):
        ddgan.resume(run, verbose=False)
    del settings["training"]["tf32"], settings["training"]["cuda_graphs"]
    (run / "config.yaml").write_text(yaml.safe_dump(settings))
    ddgan.resume(run, verbose=False)


def test_a_second_run_in_the_same_folder_is_refused(
    points: Path, tmp_path: Path, tiny_points_config: RunConfig
) -> None:
    run = cut(points, tmp_path / "run", 2)
    with locked(run):
        for attempt in (
            lambda: ddgan.resume(run, verbose=False),
            lambda: ddgan.train(tiny_points_config, run, overwrite=True, verbose=False),
        ):
            with pytest.raises(ValueError, match="is in use by another training process"):
                attempt()
    ddgan.resume(run, verbose=False)  # the lock is gone


def test_gradients_that_stay_bad_stop_the_run_and_keep_the_last_good_state(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(state: object, batch: Batch, *others: object) -> object:
        if state.step >= 2:  # type: ignore[attr-defined]
            batch = batch._replace(x=batch.x * float("nan"))
        return iterate(state, batch, *others)  # type: ignore[arg-type]

    monkeypatch.setattr("ddgan.training.trainer.iterate", spoiled)
    config = kept_config(tiny_points_config, num_iterations=100, max_skipped=4, log_every=2)
    with pytest.raises(
        TrainingError, match=r"stopped at iteration 6: 4 iterations in a row .* lower the learning"
    ):
        ddgan.train(config, tmp_path / "run", verbose=False)
    tensors = final(tmp_path / "run")
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    good = read_checkpoint(tmp_path / "run" / "checkpoints" / "step-00000002").tensors
    assert all(torch.equal(tensors[name], good[name]) for name in good if not name.startswith("ema"))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_newest_good_state_stays(
    small_disk: Path, whole: Path, tiny_config: RunConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_disk / "run"

    class Filling(Callback):
        """Another program fills the disk."""

        def on_step(self, session: Session) -> None:
            if session.state.step == 2:
                free = shutil.disk_usage(small_disk).free
                (small_disk / "other").write_bytes(bytes(max(0, free - 100_000)))

    config = kept_config(tiny_config, keep_last=1)
    with pytest.raises(TrainingError, match=r"at iteration 5, but its weights could not be written"):
        ddgan.train(config, run, callbacks=[Filling()])
    said = capsys.readouterr().err
    assert said.count("warning: could not write a checkpoint in") == 1  # not again at each attempt
    assert said.count("o space left") <= 2  # a checkpoint, and weights
    newest, problems = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert not problems
    assert newest.metadata["step"] < 5
    assert not list((run / "checkpoints").glob(".*"))  # nothing partial is left to fill it further
    room = small_disk.parent / "room"
    shutil.copytree(run, room)
    ddgan.resume(room, verbose=False)
    assert_same(room, whole)


def test_a_disk_that_is_too_small_is_refused_before_an_old_run_is_replaced(
    small_disk: Path, tiny_points_config: RunConfig, tiny_config: RunConfig
) -> None:
    run = small_disk / "run"
    ddgan.train(tiny_points_config, run, verbose=False)
    wide = tiny_config.changed({"generator.base_channels": 32})
    words = r"^out is .*/run', where [\d.]+ MB are free, but two checkpoints and .*; free [\d.]+ MB"
    with pytest.raises(ValueError, match=words):
        ddgan.train(wide, run, overwrite=True, verbose=False)
    assert ddgan.load(run).sample(1).shape == (1, 2)


def killed_until_done(config: RunConfig, folder: Path, kills: int, seed: int) -> tuple[Path, int]:
    """A run that is killed again and again at random moments, and resumed; then left to end."""
    run, yaml_file, said = folder / "run", folder / "config.yaml", folder / "said"
    yaml_file.write_text(config.to_yaml())
    rng = random.Random(seed)
    start = ["train", "--config", str(yaml_file), "--out", str(run)]
    resume = ["train", "--resume", str(run)]
    inside_saves = 0
    for kill in range(kills):
        process = forked(said, main, resume if kill else start)
        log, end = run / "log.jsonl", time.monotonic() + 90
        size = log.stat().st_size if log.is_file() else 0
        while process.code is None and (log.stat().st_size if log.is_file() else 0) <= size:
            assert time.monotonic() < end, "no progress"
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.1))  # steps and saves take a few hundredths of a second
        process.kill()
        assert process.code in (-signal.SIGKILL, 0), said.read_text()
        inside_saves += any((run / "checkpoints").glob(".*.partial-*"))
    process = forked(said, main, resume)
    words = process.ended(300)
    assert process.code == 0, words
    return run, inside_saves


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_ends_as_if_never_killed(
    tiny_points_config: RunConfig, tmp_path: Path, kills: int
) -> None:
    config = kept_config(tiny_points_config, num_iterations=10 * kills, log_every=1, accumulation=1)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the killed ones have
    try:
        whole = ddgan.train(config, tmp_path / "whole", verbose=False).path
    finally:
        torch.set_num_threads(threads)
    run, inside_saves = killed_until_done(config, tmp_path, kills, seed=kills)
    assert_same(run, whole)
    records = [record["step"] for record in read_log(run / "log.jsonl")]
    assert records == list(range(1, 10 * kills + 1))
    assert inside_saves > 0 or kills < 30
