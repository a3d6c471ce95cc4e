"""Checkpoints: whole or not there, kept by a policy, found when the newest is damaged."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from ddgan import RunConfig
from ddgan.data.batch import Batch
from ddgan.models.checkpoint_file import METADATA_NAME, STATE_NAME, read_checkpoint
from ddgan.models.weights_file import metadata_of
from ddgan.system.files import sha256_of
from ddgan.training.checkpoint import Checkpoints, restore, state_tensors
from ddgan.training.iteration import iterate
from ddgan.training.noise import draw_noise
from ddgan.training.state import TrainState
from steps import SHAPE, fresh, images

METADATA = metadata_of(RunConfig.load("digits_quick"), SHAPE, "") | {"seconds": 1.5}


def trained(config: RunConfig, steps: int = 2) -> TrainState:
    state = fresh(config)
    for _ in range(steps):
        advance(state)
    return state


def advance(state: TrainState) -> None:
    x = images(state.step, 6)
    iterate(state, Batch(x), draw_noise(0, state.step, x, state.diffusion.num_steps, 4))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("optimizer", [{"kind": "adam"}, {"kind": "adamw"}, {"kind": "sgd", "lr": 0.01}])
def test_a_restored_state_goes_on_bit_for_bit(
    tiny_config: RunConfig, tmp_path: Path, layout: torch.memory_format, optimizer: dict[str, object]
) -> None:
    config = tiny_config.changed(
        {
            "optimization.ema.half_lives": [0.02, 0.05],
            "optimization.generator": optimizer,
            "training.channels_last": layout == torch.channels_last,
        }
    )
    state, again = trained(config), fresh(config)
    state.num_iterations, state.is_budgeted = 77, True
    path = Checkpoints(tmp_path).save(state, METADATA)
    saved = read_checkpoint(path)
    restore(again, saved.tensors, saved.metadata)
    assert (again.step, again.num_iterations, again.is_budgeted) == (2, 77, True)
    for _ in range(3):
        advance(state)
        advance(again)
    ours, theirs = state_tensors(again), state_tensors(state)
    assert len(state.emas) == 3
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_equal_states_are_equal_files(tiny_config: RunConfig, tmp_path: Path) -> None:
    paths = [Checkpoints(tmp_path / name).save(trained(tiny_config), METADATA) for name in "ab"]
    for name in (STATE_NAME, METADATA_NAME):
        assert (paths[0] / name).read_bytes() == (paths[1] / name).read_bytes()


def test_every_moment_of_the_optimizers_is_there(tiny_config: RunConfig) -> None:
    state = trained(tiny_config)
    names = state_tensors(state).keys()
    for side, network in state.networks.items():
        for name, _ in network.named_parameters():
            moments = {f"optimizer.{side}.{name}.{moment}" for moment in ("step", "exp_avg", "exp_avg_sq")}
            assert moments <= names


def test_a_part_is_read_by_the_beginning_of_its_names(tiny_config: RunConfig, tmp_path: Path) -> None:
    path = Checkpoints(tmp_path).save(trained(tiny_config), METADATA)
    whole, part = read_checkpoint(path), read_checkpoint(path, prefix="ema")
    assert set(part.tensors) == {f"ema0.{name}" for name in whole.weights("generator")}
    assert all(torch.equal(tensor, whole.tensors[name]) for name, tensor in part.tensors.items())


def test_old_ones_go_and_the_best_and_every_nth_stay(tiny_config: RunConfig, tmp_path: Path) -> None:
    state = fresh(tiny_config)
    checkpoints = Checkpoints(tmp_path, keep_last=2, keep_every=4)
    scores = {2: 0.9, 3: 0.1, 5: 0.4}
    for step in range(8):
        state.step = step
        checkpoints.save(state, METADATA | ({"score": scores[step]} if step in scores else {}))
    assert [path.name for path in checkpoints.paths()] == [f"step-{n:08d}" for n in (0, 3, 4, 6, 7)]


def two_saved(config: RunConfig, folder: Path) -> tuple[Checkpoints, Path, Path]:
    """The checkpoints of a folder, and those of steps 0 and 1 there."""
    checkpoints, state = Checkpoints(folder), fresh(config)
    first = checkpoints.save(state, METADATA)
    state.step = 1
    return checkpoints, first, checkpoints.save(state, METADATA)


@pytest.mark.parametrize(
    "damage", ["short", "flipped", "no metadata", "half metadata", "no keys", "empty folder"]
)
def test_a_damaged_one_is_passed_over(tiny_config: RunConfig, tmp_path: Path, damage: str) -> None:
    checkpoints, good, bad = two_saved(tiny_config, tmp_path)
    content, metadata = (bad / STATE_NAME).read_bytes(), (bad / METADATA_NAME).read_text()
    if damage == "short":
        (bad / STATE_NAME).write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        (bad / STATE_NAME).write_bytes(content[:-5] + bytes([content[-5] ^ 1]) + content[-4:])
    elif damage == "half metadata":
        (bad / METADATA_NAME).write_text(metadata[:40])
    elif damage == "no keys":
        (bad / METADATA_NAME).write_text("[]")
    else:
        (bad / METADATA_NAME).unlink()
        if damage == "empty folder":
            (bad / STATE_NAME).unlink()
    newest, problems = checkpoints.newest()
    assert newest is not None
    assert newest.path == good
    assert len(problems) == 1
    assert "step-00000001" in problems[0]
    assert not bad.exists()


def test_one_of_another_version_is_kept_and_refused(tiny_config: RunConfig, tmp_path: Path) -> None:
    checkpoints, _, newer = two_saved(tiny_config, tmp_path)
    metadata = json.loads((newer / METADATA_NAME).read_text()) | {"format": 99, "sha256": "of another kind"}
    del metadata["checksum"]
    (newer / METADATA_NAME).write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="has format 99, but this version of ddgan reads format 2"):
        checkpoints.newest()
    assert newer.is_dir()


def test_a_damaged_format_is_damage_and_not_another_version(tiny_config: RunConfig, tmp_path: Path) -> None:
    checkpoints, older, newer = two_saved(tiny_config, tmp_path)
    text = (newer / METADATA_NAME).read_text()
    (newer / METADATA_NAME).write_text(text.replace('"format": 2', '"format": 3'))
    newest, problems = checkpoints.newest()
    assert newest is not None
    assert newest.path == older
    assert "its checksum is wrong" in problems[0]


def test_one_that_cannot_be_read_now_is_passed_over_and_kept(
    tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, good, stale = two_saved(tiny_config, tmp_path)

    def digest(path: Path) -> str:
        if stale in path.parents:
            raise OSError(116, "Stale file handle")
        return sha256_of(path)

    with monkeypatch.context() as patch:
        patch.setattr("ddgan.models.checkpoint_file.sha256_of", digest)
        newest, problems = checkpoints.newest()
    assert newest is not None
    assert newest.path == good
    assert "Stale file handle" in problems[0]
    found, _ = checkpoints.newest()
    assert found is not None
    assert found.path == stale


def test_other_folders_are_left_alone(tiny_config: RunConfig, tmp_path: Path) -> None:
    checkpoints, state = Checkpoints(tmp_path, keep_last=1), fresh(tiny_config)
    for name in ("step-00000000.bak", "step-of-mine"):
        (tmp_path / name).mkdir()
    state.step = 123456789
    last = checkpoints.save(state, METADATA)
    assert checkpoints.paths() == [last]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_failed_save_leaves_the_others_and_no_rubbish(
    tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, state = Checkpoints(tmp_path), fresh(tiny_config)
    good = checkpoints.save(state, METADATA)
    state.step = 1

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ddgan.system.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.save(state, METADATA)
    assert [path for path in tmp_path.iterdir()] == [good]  # noqa: C416


def test_what_a_kill_left_half_written_is_removed(tiny_config: RunConfig, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    good = checkpoints.save(fresh(tiny_config), METADATA)
    half = tmp_path / ".step-00000009.partial-abc"
    half.mkdir()
    (half / STATE_NAME).write_bytes(b"half")
    checkpoints.clean()
    assert list(tmp_path.iterdir()) == [good]


def test_no_flipped_bit_of_the_metadata_passes(tiny_config: RunConfig, tmp_path: Path) -> None:
    path = Checkpoints(tmp_path).save(fresh(tiny_config), METADATA | {"score": 0.25})
    file, before = path / METADATA_NAME, read_checkpoint(path).metadata
    whole, rng, complaints = file.read_bytes(), random.Random(0), list[str]()
    places = rng.sample(range(8 * len(whole)), 1500)
    for place in places:
        damaged = bytearray(whole)
        damaged[place // 8] ^= 1 << place % 8
        file.write_bytes(damaged)
        try:
            assert read_checkpoint(path).metadata == before  # white space between the entries
        except ValueError as error:
            complaints.append(str(error))
    assert len(complaints) > 0.6 * len(places)
    assert all(str(path) in complaint for complaint in complaints)


def test_a_score_that_was_damaged_does_not_keep_a_checkpoint(tiny_config: RunConfig, tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    file = checkpoints.save(fresh(tiny_config), METADATA | {"score": 0.25}) / METADATA_NAME
    assert checkpoints.scores() == {0: 0.25}
    file.write_text(file.read_text().replace('"score": 0.25', '"score": 0.05'))
    assert checkpoints.scores() == {}


def test_another_architecture_is_refused(tiny_config: RunConfig, tmp_path: Path) -> None:
    path = Checkpoints(tmp_path).save(fresh(tiny_config), METADATA)
    wider = tiny_config.changed({"generator.base_channels": 16})
    saved = read_checkpoint(path)
    with pytest.raises(ValueError, match=r"settings of the run: in its generator \d+ tensors are .{,150}$"):
        restore(fresh(wider), saved.tensors, saved.metadata)
