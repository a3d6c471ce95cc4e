"""Flipped bits in the files of a run are refused, repaired with a warning, or without effect."""

from __future__ import annotations

import dataclasses
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ddgan import Run, RunConfig
from ddgan.models.checkpoint_file import METADATA_NAME, STATE_NAME, read_checkpoint
from ddgan.models.run_folder import read_log
from ddgan.models.weights_file import read_weights
from ddgan.system.outputs import read_record
from ddgan.training.resuming import check_same_settings, free_changes

Read = Callable[[Path], Any]
REFUSED, TOLD, WITHOUT_EFFECT = "refused", "repaired with a warning", "without effect"


def of_weights(path: Path) -> Any:
    weights = read_weights(path)
    tensors = {name: tensor.flatten().view(torch.uint8).tolist() for name, tensor in weights.tensors.items()}
    return tensors, *weights[1:]


def of_checkpoint(path: Path) -> Any:
    found = read_checkpoint(path.parent)
    return found.metadata, {name: tensor.clone() for name, tensor in found.tensors.items()}


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, dict) and theirs and isinstance(next(iter(theirs.values())), torch.Tensor):
        return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    return bool(ours == theirs)


@dataclasses.dataclass
class Case:
    """A kind of file, and what happens to one of it."""

    read: Read
    before: Any


def read_or_problem(read: Read, path: Path) -> tuple[Any, str | None]:
    try:
        return read(path), None
    except (ValueError, OSError) as error:
        return None, str(error)


def outcome(path: Path, case: Case, run_config: RunConfig) -> str:
    """What a reader of the file finds; it fails if that is another value without a word."""
    if path.suffix == ".jsonl":
        told: list[str] = []
        names = {name for record in case.before for name in record}  # a flip in "checksum" adds one more
        records = [{k: v for k, v in record.items() if k in names} for record in read_log(path, told.append)]
        missing = [record for record in case.before if record not in records]
        assert all(record in case.before for record in records), "a record has another value"
        assert len(missing) <= len(told) + (not path.read_bytes().endswith(b"\n"))
        return TOLD if missing else WITHOUT_EFFECT
    found, problem = read_or_problem(case.read, path)
    if problem is not None:
        assert problem
        assert "\n" not in problem
        return REFUSED
    if path.suffix == ".yaml" and found != case.before:
        try:
            check_same_settings(found, run_config)
        except ValueError:
            return REFUSED
        assert free_changes(found, run_config)
        return TOLD
    assert same(found, case.before), f"{path.name} has another value"
    return WITHOUT_EFFECT


@pytest.mark.parametrize("flips", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_no_flipped_bit_gives_another_value(scored_run: Run, tmp_path: Path, flips: int) -> None:
    run = Path(shutil.copytree(scored_run.path, tmp_path / "run"))
    checkpoint = sorted((run / "checkpoints").iterdir())[-1]
    readers: dict[Path, Read] = {
        run / "config.yaml": RunConfig.load,
        run / "log.jsonl": read_log,
        run / "model.safetensors": of_weights,
        run / "scores.json": read_record,
        run / "ending.json": read_record,
        checkpoint / METADATA_NAME: of_checkpoint,
        checkpoint / STATE_NAME: of_checkpoint,
    }
    left = {path.name for path in run.iterdir() if path.is_file()} - {path.name for path in readers}
    assert left == {
        ".ddgan-run",
        ".lock",
        "data.png",
        "report.html",
        "samples.png",
    }  # ddgan does not read them
    cases = {path: Case(read, read(path)) for path, read in readers.items()}
    rng, counts = random.Random(flips), Counter[tuple[str, str]]()
    paths = list(readers)
    for number in range(flips):
        path = paths[number % len(paths)]
        content = path.read_bytes()
        place = rng.randrange(8 * len(content))
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            counts[path.name, outcome(path, cases[path], scored_run.model.config)] += 1
        finally:
            path.write_bytes(content)
    assert sum(counts.values()) == flips
    for (name, what), count in sorted(counts.items()):
        print(f"{name:<24} {what:<24} {count:>6}")
