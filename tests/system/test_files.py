"""Files and folders that appear whole or not at all, also after a kill at the worst moment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ddgan.system.files import (
    folder_made_atomically,
    parse_json,
    remove_partial,
    save_tensors,
    write_atomically,
)


def filled(path: Path, text: str) -> None:
    with folder_made_atomically(path) as partial:
        (partial / "file").write_text(text)


def test_a_folder_takes_the_place_of_another(tmp_path: Path) -> None:
    for name in ("plain", "with [brackets]"):
        for text in ("old", "new"):
            filled(tmp_path / name, text)
            assert (tmp_path / name / "file").read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain", "with [brackets]"]


def test_what_cannot_be_replaced_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "x", "old")
    rename = os.rename

    def fails_second(source: Path, target: Path) -> None:
        if ".partial-" in str(source):
            raise OSError(5, "Input/output error")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("ddgan.system.files.os.rename", fails_second)
        with pytest.raises(OSError, match="Input/output"):
            filled(tmp_path / "x", "new")
    assert (tmp_path / "x" / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_kill_between_the_two_renames_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path / "x", "old")
    (tmp_path / "x").rename(tmp_path / ".x.aside")  # as far as it had come
    remove_partial(tmp_path)
    assert (tmp_path / "x" / "file").read_text() == "old"
    (tmp_path / "x").rename(tmp_path / ".x.aside")
    filled(tmp_path / "x", "new")
    assert (tmp_path / "x" / "file").read_text() == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_rubbish_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / ".model.safetensors.partial-7").write_text("half")
    (tmp_path / ".step-3.partial-abc").mkdir()
    for name in ("notes.partial-7", ".lock", "model.safetensors"):
        (tmp_path / name).write_text("mine")
    remove_partial(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"notes.partial-7", ".lock", "model.safetensors"}


def test_tensors_reach_the_disk_before_they_take_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(2)})
    before = path.read_bytes()

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ddgan.system.files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_tensors(path, {"a": torch.ones(2)})
    with pytest.raises(OSError, match="No space"):
        write_atomically(tmp_path / "text", "words")
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.safetensors"]


SAVE = """
import sys, torch
from pathlib import Path
from ddgan.system.files import save_tensors
tensors = {name: torch.full((3,), float(ord(name))) for name in sys.argv[2]}
save_tensors(Path(sys.argv[1]), tensors, {"about": '{"a": 1}'})
"""


def test_equal_tensors_are_equal_bytes_in_every_process(tmp_path: Path) -> None:
    """Also in another order, and with other hashes of strings."""
    for seed, names in (("1", "abcdef"), ("2", "fbdace")):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", SAVE, str(tmp_path / f"{seed}.safetensors"), names]
        subprocess.run(command, check=True, env=environment)
    assert (tmp_path / "1.safetensors").read_bytes() == (tmp_path / "2.safetensors").read_bytes()


def test_several_entries_of_metadata_are_refused_because_their_order_is_random(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the metadata have the entries a, b; write one, as JSON"):
        save_tensors(tmp_path / "x.safetensors", {"w": torch.ones(1)}, {"b": "1", "a": "2"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000, "[", "1" * 5000]
)
def test_json_that_is_too_deep_or_too_long_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_json(text)


def test_json_is_parsed() -> None:
    assert parse_json('{"a": [1, null]}') == {"a": [1, None]}
    assert parse_json(b"2.5") == 2.5
