"""What happens around the iterations: grids, scores, EMAs, budgets, trackers, callbacks; and the switches."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

import ddgan
from ddgan import DDGAN, Callback, Run, RunConfig
from ddgan.config.training import UNMEASURED
from ddgan.data.batch import Batch
from ddgan.metrics.classifier import MeasuredClassifier
from ddgan.models.checkpoint_file import read_checkpoint
from ddgan.models.run_folder import read_log
from ddgan.models.weights_file import DISCRIMINATOR_NAME
from ddgan.system.files import save_tensors
from ddgan.training.callbacks import Session
from ddgan.training.checkpoint import Checkpoints
from ddgan.training.console import pace
from ddgan.training.iteration import iterate
from ddgan.training.noise import draw_noise
from ddgan.training.state import TrainState
from ddgan.training.tracking import flat as flat_settings
from ddgan.training.tracking import scalars
from ddgan.training.workspace import discriminator_weights
from steps import changed, flat, fresh, images


class Recorder(Callback):
    """Remembers when it was called, and adds to the log."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_start(self, session: Session) -> None:
        self.calls.append("start")

    def on_step(self, session: Session) -> None:
        self.calls.append(f"step {session.state.step}")

    def on_log(self, session: Session, record: dict[str, object]) -> None:
        self.calls.append(f"log {record['step']}")
        record["twice"] = 2 * record["step"]  # type: ignore[operator]

    def on_end(self, session: Session) -> None:
        self.calls.append("end")


def test_a_callback_is_called_in_order_and_what_it_adds_is_logged(
    tiny_points_config: RunConfig, tmp_path: Path
) -> None:
    recorder = Recorder()
    run = ddgan.train(tiny_points_config, tmp_path / "run", verbose=False, callbacks=[recorder])
    steps = ["step 1", "log 2", "step 2", "step 3", "log 4", "step 4", "log 5", "step 5"]
    assert recorder.calls == ["start", *steps, "end"]
    assert [record["twice"] for record in read_log(run.path / "log.jsonl")] == [4, 8, 10]


def test_a_callback_does_not_change_what_is_learned(
    tiny_run: Run, tiny_config: RunConfig, tmp_path: Path
) -> None:
    run = ddgan.train(tiny_config, tmp_path / "run", verbose=False, callbacks=[Recorder()])
    assert torch.equal(run.model.sample(2), tiny_run.model.sample(2))


def test_callbacks_end_also_where_one_fails(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    class Failing(Recorder):
        def on_step(self, session: Session) -> None:
            raise RuntimeError("of the user")

    failing = Failing()
    with pytest.raises(RuntimeError, match="of the user"):
        ddgan.train(tiny_points_config, tmp_path / "run", verbose=False, callbacks=[failing])
    assert failing.calls == ["start", "end"]


def test_grids_come_at_their_interval_from_the_same_noise(tiny_config: RunConfig, tmp_path: Path) -> None:
    ddgan.train(changed(tiny_config, grid_every=2), tmp_path / "run", verbose=False)
    grids = sorted((tmp_path / "run" / "grids").iterdir())
    assert [grid.name for grid in grids] == ["00000002.png", "00000004.png"]
    assert Image.open(grids[0]).size == Image.open(tmp_path / "run" / "samples.png").size


def test_scores_on_the_way_keep_the_best(
    judge: MeasuredClassifier, tiny_config: RunConfig, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    ddgan.train(changed(tiny_config, score_every=1, score_samples=40, keep_last=1), run, verbose=False)
    kept = {
        path.name: read_checkpoint(path).metadata.get("score")
        for path in Checkpoints(run / "checkpoints").paths()
    }
    assert "step-00000005" in kept
    assert len(kept) <= 2
    best = min(score for score in kept.values() if score is not None)
    assert math.isfinite(best)
    assert DDGAN.from_pretrained(run / "best.safetensors").sample(1).shape == (1, 3, 8, 8)
    scores = json.loads((run / "scores.json").read_text())
    assert best <= scores["modes"]["kl"] + 1e-9


def test_several_emas_are_kept_and_chosen(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    half_lives = {"optimization.ema.half_lives": [0.01, 5.0]}
    ddgan.train(tiny_points_config, run, verbose=False, **half_lives)
    samples = [DDGAN.from_pretrained(run, ema=half_life).sample(2) for half_life in (None, 0.01, 5.0)]
    assert not torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[1], samples[2])
    with pytest.raises(ValueError, match=r"ema is 7, but .* no EMA of that half-life; it has 0.01, 5"):
        DDGAN.from_pretrained(run, ema=7)
    with pytest.raises(ValueError, match="is not a run folder; open the EMA's own file"):
        DDGAN.from_pretrained(run / "model.safetensors", ema=5.0)


def test_a_budget_of_images_sets_the_iterations(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    ddgan.train(changed(tiny_points_config, max_images=50), tmp_path / "run", verbose=False)
    last = read_log(tmp_path / "run" / "log.jsonl")[-1]
    assert (last["step"], last["images"]) == (7, 56)  # batches of 8
    assert last["lr_g"] == pytest.approx(1e-5)  # the decay ends there


@pytest.mark.parametrize("place", [".", "checkpoints/step-00000005"])
def test_init_begins_with_both_networks(
    tiny_run: Run, tiny_config: RunConfig, tmp_path: Path, place: str
) -> None:
    run = ddgan.train(tiny_config, tmp_path / "run", seed=9, init=tiny_run.path / place, verbose=False)
    first = read_checkpoint(run.path / "checkpoints" / "step-00000000").tensors
    newest, _ = Checkpoints(tiny_run.path / "checkpoints").newest()
    assert newest is not None
    for name, tensor in first.items():
        source = name.replace("generator.", "ema0.", 1) if name.startswith("generator.") else name
        assert torch.equal(tensor, newest.tensors[source]), name  # G begins as the EMA


def test_init_from_a_file_has_no_discriminator(
    tiny_run: Run, tiny_config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ddgan.train(tiny_config, tmp_path / "run", init=tiny_run.path / "model.safetensors")
    assert "D from random weights" in capsys.readouterr().err


@pytest.mark.parametrize("place", [".", "model.safetensors"])
def test_init_takes_the_discriminator_beside_a_weights_file(
    tiny_run: Run, tiny_config: RunConfig, tmp_path: Path, place: str
) -> None:
    folder = tmp_path / "kept"
    tiny_run.model.save(folder)
    weights = discriminator_weights(tiny_run.path)
    assert weights is not None
    save_tensors(folder / DISCRIMINATOR_NAME, weights)
    run = ddgan.train(tiny_config, tmp_path / "run", seed=9, init=folder / place, verbose=False)
    first = read_checkpoint(run.path / "checkpoints" / "step-00000000")
    for name, tensor in weights.items():
        assert torch.equal(first.weights("discriminator")[name], tensor), name

    (folder / DISCRIMINATOR_NAME).write_bytes(b"cut short")
    with pytest.raises(ValueError, match=r"discriminator\.safetensors' is not a whole"):
        ddgan.train(tiny_config, tmp_path / "other", init=folder / place, verbose=False)


def after_steps(config: RunConfig, steps: int = 3) -> tuple[TrainState, list[dict[str, Tensor]]]:
    state, seen = fresh(config), []
    for step in range(steps):
        x, num_steps = images(step), state.diffusion.num_steps
        seen.append(flat(iterate(state, Batch(x), draw_noise(0, step, x, num_steps, 4))))
    return state, seen


def test_recomputed_activations_change_nothing(tiny_config: RunConfig) -> None:
    plain, _ = after_steps(tiny_config)
    saving, _ = after_steps(changed(tiny_config, activation_checkpointing=True))
    for ours, theirs in zip(saving.generator.parameters(), plain.generator.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert "r1" in after_steps(changed(tiny_config, activation_checkpointing=True), 1)[1][0]


def test_bfloat16_stays_close_and_weights_and_losses_are_float32(tiny_config: RunConfig) -> None:
    _, plain = after_steps(tiny_config)
    state, half = after_steps(changed(tiny_config, precision="bf16"))
    assert all(p.dtype == torch.float32 for p in (*state.generator.parameters(), *state.ema.parameters()))
    for ours, theirs in zip(half, plain, strict=True):
        assert all(value.dtype == theirs[name].dtype for name, value in ours.items())
        torch.testing.assert_close(ours["loss_d"], theirs["loss_d"], rtol=0.05, atol=0.02)
    torch.testing.assert_close(half[0]["r1"], plain[0]["r1"])  # penalties are computed in full precision


@pytest.fixture
def float64() -> Iterator[None]:
    """New networks and their input are in double precision, so that differences are not of rounding."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("float64")
def test_channels_last_changes_the_layout_only(tiny_config: RunConfig) -> None:
    plain, _ = after_steps(tiny_config)
    other, _ = after_steps(changed(tiny_config, channels_last=True))
    weight = next(p for p in other.generator.parameters() if p.ndim == 4 and p.shape[2] == 3)
    assert weight.dtype == torch.float64
    assert weight.is_contiguous(memory_format=torch.channels_last)
    for ours, theirs in zip(other.generator.parameters(), plain.generator.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


def test_channels_last_has_the_same_losses_in_float32(tiny_config: RunConfig) -> None:
    _, losses = after_steps(tiny_config)
    _, other_losses = after_steps(changed(tiny_config, channels_last=True))
    for ours, theirs in zip(other_losses, losses, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_compiled_networks_compute_the_same(tiny_config: RunConfig) -> None:
    plain, seen = after_steps(tiny_config)  # a step with a penalty, one without, one with
    compiled, again = after_steps(changed(tiny_config, compile=True))
    assert [("r1" in step) for step in again] == [True, False, True]
    for name, value in seen[1].items():
        torch.testing.assert_close(again[1][name], value, rtol=1e-3, atol=1e-4)
    assert compiled.generator.state_dict().keys() == plain.generator.state_dict().keys()


def test_accumulation_adds_up_to_the_whole_batch(tiny_config: RunConfig) -> None:
    config = tiny_config.changed({"method.discriminators.pair.stddev_group": 0})
    whole, seen = after_steps(config)
    parts, seen_in_parts = after_steps(changed(config, accumulation=4))
    for name, value in seen[0].items():
        if not name.startswith("variance"):  # taken over each part
            torch.testing.assert_close(seen_in_parts[0][name], value, rtol=1e-3, atol=1e-5)
    for ours, theirs in zip(
        parts.discriminators.parameters(), whole.discriminators.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("where", ["batch", "discriminator", "generator"])
def test_a_planted_nan_is_left_out_and_forgotten(tiny_config: RunConfig, where: str) -> None:
    state, _ = after_steps(tiny_config, 1)
    before = [p.detach().clone() for n in state.networks.values() for p in n.parameters()]
    x = images(1)
    noise = draw_noise(0, 1, x, state.diffusion.num_steps, 4)
    if where == "batch":
        x[3, 1, 2, 2] = float("nan")
    else:
        getattr(noise, where).z[0, 0] = float("nan")
    statistics = flat(iterate(state, Batch(x), noise))
    assert statistics["skipped"] >= 1
    assert int(state.streak) == 1
    after = [p for n in state.networks.values() for p in n.parameters()]
    assert all(bool(parameter.isfinite().all()) for parameter in after)
    if where == "batch":
        assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    x = images(2)
    fine = flat(iterate(state, Batch(x), draw_noise(0, 2, x, state.diffusion.num_steps, 4)))
    assert fine["skipped"] == 0
    assert int(state.streak) == 0


def test_tensorboard_gets_the_log(tiny_points_config: RunConfig, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = tmp_path / "run"
    ddgan.train(changed(tiny_points_config, trackers=("tensorboard",)), run, verbose=False)
    (folder,) = {
        file.parent for file in (run / "trackers").rglob("events.*") if "loss_d" in tags(file.parent)
    }
    events = EventAccumulator(str(folder))
    events.Reload()
    records = read_log(run / "log.jsonl")
    assert [event.step for event in events.Scalars("loss_d")] == [record["step"] for record in records]
    assert events.Scalars("loss_g_by_t/t2")[0].value == pytest.approx(records[0]["loss_g_by_t"][1])


def tags(folder: Path) -> list[str]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return list(events.Tags()["scalars"])


def test_a_missing_tracker_is_named(
    tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddgan.training.tracking.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"has wandb, which is not installed: pip install 'ddgan\[wandb\]'"):
        ddgan.train(changed(tiny_config, trackers=("wandb",)), tmp_path / "run", verbose=False)


def test_records_become_scalars() -> None:
    record = {"step": 3, "loss": 0.5, "none": None, "by_t": [1.0, None, 2.0], "warnings": ["words"]}
    assert scalars(record) == {"step": 3, "loss": 0.5, "by_t/t1": 1.0, "by_t/t3": 2.0}
    assert flat_settings({"a": {"b": 1, "c": [1, 2]}, "d": "x"}) == {"a.b": 1, "a.c": "[1, 2]", "d": "x"}


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        ({"accumulation": 3}, "training.batch_size is 8, which accumulation 3 does not divide"),
        ({"max_images": 5, "max_minutes": 1.0}, "are both given"),
        ({"score_every": 5}, "set score_samples too"),
        ({"keep_last": 0}, "keep_last is 0; it must be at least 1"),
        ({"max_minutes": -1.0}, "max_minutes is -1.0"),
    ],
)
def test_mistakes_in_the_settings(tiny_config: RunConfig, mistake: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        tiny_config.changed({f"training.{name}": value for name, value in mistake.items()})


@pytest.mark.parametrize(
    ("seconds", "step", "end", "line"),
    [
        (
            2.5,
            21,
            1021,
            r"2\.5 s per iteration: the other 1,000 take about 41\.7 min, until \d{4}-\d\d-\d\d \d\d:\d\d",
        ),
        (0.0421, 21, 22, r"42\.1 ms per iteration: the other 1 take about 0\.0 min, until .*"),
        (3600.0, 1, 10**9, r"3\.6e\+03 s per iteration: the other 999,999,999 take about \d+\.0 h"),
        (1.0, 21, UNMEASURED, r"1 s per iteration"),
    ],
)
def test_the_pace_is_said_with_the_end(seconds: float, step: int, end: int, line: str) -> None:
    assert re.fullmatch(line, pace(seconds, step, end))


def test_a_run_says_its_pace_once(
    tiny_points_config: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ddgan.training.callbacks.PACED_ITERATIONS", 2)
    ddgan.train(tiny_points_config, tmp_path / "run")
    said = [line for line in capsys.readouterr().err.splitlines() if "per iteration" in line]
    assert len(said) == 1
    assert "the other 2 take about 0.0 min" in said[0]  # of 5, after the first and two that were timed
