"""How a run ends: with everything written, or with a line about what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import ddgan
from ddgan import DDGAN, Callback, RunConfig, TrainingError
from ddgan.cli import main
from ddgan.config.training import UNMEASURED
from ddgan.data.batch import Batch
from ddgan.data.preparation import prepare
from ddgan.models.run_folder import read_log
from ddgan.networks.resnet import Discriminator
from ddgan.paper.store import ModelSpec, Store
from ddgan.training.callbacks import Session, StuckStop
from ddgan.training.checkpoint import Checkpoints
from ddgan.training.iteration import iterate
from ddgan.training.state import TrainState
from ddgan.training.statistics import JsonLines
from steps import changed

Capture = pytest.CaptureFixture[str]


def check_newest_is_finite(run: Path, step: int) -> None:
    """The newest checkpoint is of this iteration, and its values are finite."""
    newest, _ = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["step"] == step
    assert all(tensor.isfinite().all() for tensor in newest.tensors.values())


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
    check_newest_is_finite(tmp_path / "run", 11)


def spoiling(bad: set[int]) -> Callable[..., object]:
    """`iterate`, but with NaN in the batches of these iterations (from 1)."""

    def spoiled(state: TrainState, batch: Batch, *others: object) -> object:
        if state.step + 1 in bad:
            batch = batch._replace(x=batch.x * float("nan"))
        return iterate(state, batch, *others)  # type: ignore[arg-type]

    return spoiled


@pytest.mark.parametrize("log_every", [1, 3, 4, 100])
@pytest.mark.parametrize("looks_always", [True, False])
def test_too_many_skipped_iterations_fail_wherever_log_lines_fall(
    tiny_points_config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    log_every: int,
    looks_always: bool,
) -> None:
    """Iterations 4 to 8 of 14 are bad, and 10 to 13; a GPU looks at log lines and at the end only."""
    monkeypatch.setattr("ddgan.training.trainer.iterate", spoiling({4, 5, 6, 7, 8, 10, 11, 12, 13}))
    if not looks_always:
        monkeypatch.setattr(StuckStop, "_interval", lambda self, session: session.config.training.log_every)
    few = changed(tiny_points_config, num_iterations=14, max_skipped=6, log_every=log_every)
    assert not ddgan.train(few, tmp_path / "few", verbose=False).interrupted
    found = 8 if looks_always else min(-(-8 // log_every) * log_every, 14)
    with pytest.raises(TrainingError, match=f"stopped at iteration {found}: 5 iterations in a row"):
        ddgan.train(changed(few, max_skipped=5), tmp_path / "run", verbose=False)


@pytest.mark.parametrize(
    ("stop", "interval", "found"),
    [(4, 1, 8), (7, 1, 8), (4, 100, 14), (7, 100, 14), (8, 100, 14), (9, 100, 14)],
)
def test_skipped_iterations_are_counted_across_a_resume(
    tiny_points_config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: int,
    interval: int,
    found: int,
) -> None:
    """Iterations 4 to 8 of 14 are bad; the process dies within or right after them."""
    monkeypatch.setattr("ddgan.training.trainer.iterate", spoiling({4, 5, 6, 7, 8}))
    monkeypatch.setattr(StuckStop, "_interval", lambda self, session: interval)

    class Dying(Callback):
        def on_step(self, session: Session) -> None:
            if session.state.step == stop:
                session.save()
                raise RuntimeError("power failure")

    config = changed(tiny_points_config, num_iterations=14, max_skipped=5, log_every=100)
    with pytest.raises(RuntimeError, match="power failure"):
        ddgan.train(config, tmp_path / "run", verbose=False, callbacks=[Dying()])
    with pytest.raises(TrainingError, match=f"stopped at iteration {found}: 5 iterations in a row"):
        ddgan.resume(tmp_path / "run", verbose=False)


def test_a_run_that_failed_at_its_last_iteration_is_not_trained_when_resumed(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddgan.training.trainer.iterate", spoiling({5, 6, 7, 8, 9, 10}))
    config = changed(tiny_points_config, num_iterations=10, max_skipped=6, log_every=7)
    for attempt in (
        lambda: ddgan.train(config, tmp_path / "run", verbose=False),
        lambda: ddgan.resume(tmp_path / "run", verbose=False),
    ):
        with pytest.raises(TrainingError, match="stopped at iteration 10: 6 iterations in a row"):
            attempt()


def test_a_run_that_was_stuck_may_recover_when_resumed(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that computed nonsense was replaced."""
    config = changed(tiny_points_config, num_iterations=10, max_skipped=3, log_every=2)
    with monkeypatch.context() as patch:
        patch.setattr("ddgan.training.trainer.iterate", spoiling({4, 5, 6}))
        with pytest.raises(TrainingError, match="stopped at iteration 6: 3 iterations in a row"):
            ddgan.train(config, tmp_path / "run", verbose=False)
    assert not ddgan.resume(tmp_path / "run", verbose=False).interrupted


def test_a_short_run_that_skipped_most_of_its_iterations_is_not_trained(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    config = changed(tiny_points_config, num_iterations=6, max_skipped=100)
    with monkeypatch.context() as patch:
        patch.setattr("ddgan.training.trainer.iterate", spoiling({4, 5, 6}))
        with pytest.raises(TrainingError, match="stopped at iteration 6: 3 iterations in a row"):
            ddgan.train(config, tmp_path / "run", verbose=False)
    monkeypatch.setattr("ddgan.training.trainer.iterate", spoiling({5, 6}))
    ddgan.train(config, tmp_path / "other")
    said = capsys.readouterr().err
    assert "warning: a gradient was not finite in each of the last 2 iterations; lower the learning" in said


def test_learning_rates_that_are_far_too_high_fail_in_words(tmp_path: Path, capsys: Capture) -> None:
    start = [
        "train",
        "--preset",
        "digits_quick",
        "--training.num_iterations",
        "12",
        "--training.score_samples",
        "0",
    ]
    start += ["--training.batch_size", "32", "--training.max_skipped", "5"]

    def code(rate: str) -> int:
        rates = [f"--optimization.{name}.lr={rate}" for name in ("generator", "discriminator")]
        return main([*start, "--out", str(tmp_path / "run"), *rates])

    assert code("1e6") == 2
    assert "optimization.generator.lr is 1000000.0; it must be at most 100" in capsys.readouterr().err
    assert code("100") == 1
    said = capsys.readouterr().err
    assert "5 iterations in a row had a non-finite gradient" in said
    assert "trained after" not in said


@pytest.mark.parametrize("network", ["generator", "discriminator", "ema0"])
def test_weights_that_are_not_finite_are_never_trained(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str
) -> None:
    def spoiled(state: TrainState, *others: object) -> object:
        statistics = iterate(state, *others)  # type: ignore[arg-type]
        if state.step == 5:
            next(state.saved_networks()[network].parameters()).data.view(-1)[0] = float("inf")
        return statistics

    monkeypatch.setattr("ddgan.training.trainer.iterate", spoiled)
    config = changed(tiny_points_config, keep_every=1)
    with pytest.raises(TrainingError, match="ended at iteration 5 with weights that are not finite"):
        ddgan.train(config, tmp_path / "run", verbose=False)
    check_newest_is_finite(tmp_path / "run", 4)


def test_a_model_whose_samples_are_not_finite_is_not_trained(
    tiny_points_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoiled(state: TrainState, *others: object) -> object:
        statistics = iterate(state, *others)  # type: ignore[arg-type]
        for parameter in state.ema.parameters():
            parameter.data.fill_(1e38)
        return statistics

    monkeypatch.setattr("ddgan.training.trainer.iterate", spoiled)
    with pytest.raises(TrainingError, match="ended at iteration 5 with samples that are not finite"):
        ddgan.train(tiny_points_config, tmp_path / "run", verbose=False)


def test_an_ema_longer_than_the_run_is_told_at_the_start(
    tiny_points_config: RunConfig, tmp_path: Path, capsys: Capture
) -> None:
    slow = tiny_points_config.changed({"optimization.ema.decay": 0.9999})
    ddgan.train(slow, tmp_path / "run")
    words = "warning: optimization.ema.decay 0.9999 is a half-life of 6,931 iterations, but the run has"
    assert f"{words} 5" in capsys.readouterr().err
    ddgan.train(changed(slow, max_minutes=0.01), tmp_path / "budget")  # known after the warm-up
    said = capsys.readouterr().err
    assert said.index("time budget of 0.01 min") < said.index(words)


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

    for name in ("evaluate", "evaluate_in_training"):
        monkeypatch.setattr(f"ddgan.training.run_scores.{name}", missing)
    config = changed(tiny_config, score_samples=32, score_every=2)
    with pytest.raises(ValueError, match="features inception"):
        ddgan.train(config, tmp_path / "run", data=str(photos))
    assert "could not score at iteration 2: features inception are not there" in capsys.readouterr().err
    newest, _ = Checkpoints(tmp_path / "run" / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["step"] == 5
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Trained: 5 iterations." in page
    assert "refresh" not in page


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
