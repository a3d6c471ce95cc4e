"""The folder of a run: what counts as empty, what --overwrite removes, and what it never touches."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import ddgan
from ddgan import RunConfig
from ddgan.cli import main
from ddgan.training.workspace import check_folder, clear


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_overwrite_removes_the_runs_own_files_and_no_others(run_copy: Path) -> None:
    mine = ("notes.txt", "sub/config.yaml", "checkpoints/best.txt", "grids/mine.gif")
    for name in mine:
        (run_copy / name).parent.mkdir(exist_ok=True)
        (run_copy / name).write_text("mine")
    clear(run_copy)
    assert contents(run_copy).keys() == {*mine, ".ddgan-run", ".lock"}
    assert {(run_copy / name).read_text() for name in mine} == {"mine"}


@pytest.mark.parametrize("name", ["config.yaml", "scores.json", "checkpoints/last.ckpt", "photo.png"])
def test_what_another_program_wrote_is_never_replaced(
    tmp_path: Path, tiny_config: RunConfig, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "theirs"
    (folder / name).parent.mkdir(parents=True)
    (folder / name).write_text("theirs")
    before = contents(folder)
    with pytest.raises(ValueError, match=r"is not empty and not a run: it has no .ddgan-run; name another"):
        ddgan.train(tiny_config, folder, overwrite=True, verbose=False)
    assert main(["train", "--preset", "digits_quick", "--out", str(folder), "--overwrite"]) == 2
    assert "not a run" in capsys.readouterr().err
    assert contents(folder) == before


@pytest.mark.parametrize("kept", [[], [".ddgan-run"], [".ddgan-run", "checkpoints"]], ids=str)
def test_an_unfinished_start_counts_as_empty(run_copy: Path, tiny_config: RunConfig, kept: list[str]) -> None:
    """A kill between making the folder and its config.yaml leaves a part of these, in this order."""
    for entry in run_copy.iterdir():
        if entry.name not in (".lock", *kept):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    if "checkpoints" in kept:
        for entry in (run_copy / "checkpoints").iterdir():
            shutil.rmtree(entry)
        (run_copy / "checkpoints" / "step-00000000").mkdir()
        (run_copy / "checkpoints" / ".step-00000000.partial-x").mkdir()
    (run_copy / "..ddgan-run.partial-x").touch()
    run = ddgan.train(tiny_config, run_copy, verbose=False)
    assert (run.path / "model.safetensors").is_file()
    assert not list(run.path.rglob(".*partial*"))


def test_checkpoints_whose_configuration_was_deleted_are_kept(run_copy: Path) -> None:
    for entry in run_copy.iterdir():
        if entry.name not in (".ddgan-run", "checkpoints"):
            entry.unlink()
    with pytest.raises(ValueError, match=r"exists; name another folder or pass --overwrite$"):
        check_folder(run_copy, overwrite=False)


def test_resuming_marks_a_run_that_has_lost_its_mark(run_copy: Path) -> None:
    (run_copy / ".ddgan-run").unlink()
    with pytest.raises(ValueError, match="not a run"):
        check_folder(run_copy, overwrite=True)
    ddgan.resume(run_copy, verbose=False)
    check_folder(run_copy, overwrite=True)
