"""`ddgan prepare`, as a user meets it."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddgan.cli import COMMANDS, MODULES, main
from ddgan.data.prepared import ImageDataset

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six images of two classes, one of them twice, and a text file that claims to be an image."""
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (20 + 4 * i, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{i}.png")
    photos = tmp_path / "photos"
    (photos / "dog" / "twin.png").write_bytes((photos / "dog" / "0.png").read_bytes())
    (photos / "dog" / "words.png").write_text("no image")
    return photos


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_module_that_helps(command: str, capsys: Capture) -> None:
    assert callable(import_module(f"ddgan.cli.{MODULES.get(command, command)}").run)
    try:
        code: object = main([command, "--help"])
    except SystemExit as ended:
        code = ended.code
    assert code == 0
    assert f"ddgan {command}" in capsys.readouterr().out


def test_a_bad_image_stops_it_and_skip_bad_leaves_it_out(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "data"
    (photos / "cat" / "moves.AVIF").touch()
    assert main(["prepare", str(photos), "--size", "16", "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "words.png' cannot be used: it is not an image (to skip such images: ddgan prepare" in said
    assert not out.exists()
    assert main(["prepare", str(photos), "--size", "16", "--out", str(out), "--skip-bad"]) == 0
    output = capsys.readouterr()
    assert "7 images of 16 x 16 with 3 channels, 2 classes" in output.err
    assert "ignored 1 file that is not a supported image (.avif)" in output.err
    assert "skipped" in output.err
    assert output.out.strip() == str(out)
    assert ImageDataset(out).info["class_names"] == ["cat", "dog"]


def test_a_limit_and_a_split_are_options(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    (photos / "dog" / "words.png").unlink()
    out = str(tmp_path / "data")
    assert main(["prepare", str(photos), "--size", "8", "--limit", "2", "--out", out]) == 0
    assert "2 images of 8 x 8" in capsys.readouterr().err
    assert main(["prepare", str(photos), "--split", "test", "--out", str(tmp_path / "other")]) == 2
    assert "has no splits; leave --split out" in capsys.readouterr().err
    assert main(["prepare", "--check", out, "--split", "test"]) == 2
    assert "was prepared from all" in capsys.readouterr().err


def test_training_says_how_to_prepare_what_it_cannot_use(
    photos: Path, tiny_yaml: str, tmp_path: Path, capsys: Capture
) -> None:
    """It has no --skip-bad of its own: the message is a command that works."""
    run = ["train", "--config", tiny_yaml, "--training.num_iterations", "1", "--out", str(tmp_path / "run")]
    run += ["--size", "8"]
    assert main([*run, "--data", str(photos)]) == 2
    said = capsys.readouterr().err
    assert "words.png' cannot be used" in said
    command = said[said.index("ddgan prepare") :].strip().rstrip(")").split()[1:]
    command[command.index("DATA")] = str(tmp_path / "DATA")
    assert main(command) == 0  # with the size of the run
    assert main([*run, "--data", str(tmp_path / "DATA")]) == 0


def checked(source: Path, capsys: Capture, *options: str) -> dict[str, str]:
    capsys.readouterr()
    assert main(["prepare", "--check", str(source), *options]) == 0
    return {line[:24].strip(): line[24:].strip() for line in capsys.readouterr().out.splitlines()}


def test_check_reports_and_draws_a_sheet(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    (photos / "labels.csv").touch()
    sheet = tmp_path / "sheets" / "sheet.png"
    assert main(["prepare", "--check", str(photos), "--sheet", str(sheet.with_suffix(".jpg"))]) == 2
    assert "it must be X.png" in capsys.readouterr().err
    report = checked(photos, capsys, "--sheet", str(sheet))
    assert report["usable images"] == "7"
    assert report["ignored: .csv"] == "1"
    assert report["duplicates"] == "1"
    assert report["unusable images"] == "1"
    assert report["classes"] == "2"
    assert report["images per class"] == "3 to 4"
    assert Image.open(sheet).size[0] > 100


def test_a_prepared_dataset_is_compared_with_what_was_written(
    photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "data"
    assert main(["prepare", str(photos), "--size", "8", "--out", str(out), "--skip-bad"]) == 0
    report = checked(out, capsys, "--sheet", str(tmp_path / "sheet.png"))
    assert report["usable images"] == report["8 x 8, 3 channels"] == "7"
    assert (report["cat"], report["dog"]) == ("3", "4")
    assert "DAMAGED" not in report
    assert Image.open(tmp_path / "sheet.png").size[0] > 100
    pixels = bytearray((out / "images.bin").read_bytes())
    pixels[-1] ^= 1
    (out / "images.bin").write_bytes(pixels)
    assert "have changed since they were written" in checked(out, capsys)["DAMAGED"]


def test_mistakes_are_told_in_one_line(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    for arguments, words in [
        (["prepare", str(tmp_path / "none")], "does not exist; data may be a folder"),
        (["prepare", str(photos), "--sheet", "x.png"], "--sheet needs --check"),
        (["prepare", "--check", str(photos), "--size", "8"], "--check does not change images"),
        (["prepare", str(photos), "--size", "-1"], "size is -1; it must be at least 0"),
        (["prepare", ""], "the source of images is '', which names none; it may be a folder"),
        (["prepare", str(photos), "--out", ""], "--out is empty; name the folder to make"),
        (["prepare", str(photos), "--range", "9", "3"], "--range is 9 3; give the values of black and white"),
        (["prepare", str(photos), "--range", "0", "x"], "--range is 'x'; it must be a number"),
        (["prepare", str(photos), "--layout", "HCW"], "--layout is 'HCW'; it must be one of auto, NHW"),
        (["prepare", str(photos), "--split", "none"], "split is 'none'; it must be one of"),
        (["prepare"], "source"),
    ]:
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


def test_notes_say_what_was_changed_and_left_out(photos: Path, tmp_path: Path, capsys: Capture) -> None:
    (photos / "dog" / "words.png").unlink()
    (photos / "labels.csv").touch()
    np.save(tmp_path / "x.npy", np.zeros((2, 5, 16, 16), np.uint8))
    out = ["--out", str(tmp_path / "data"), "--overwrite"]
    assert main(["prepare", str(photos), "--size", "16", *out]) == 0
    said = capsys.readouterr().err
    assert "note: 5 of 7 images are not square and were cropped" in said
    assert "note: ignored 1 file that is not a supported image (.csv)" in said
    assert main(["prepare", str(tmp_path / "x.npy"), *out]) == 0
    assert "read as NCHW: 2 images of 16 x 16 with 5 channels; if that is wrong" in capsys.readouterr().err
    assert main(["prepare", str(tmp_path / "x.npy"), "--layout", "NHWC", *out]) == 0
    assert "2 images of 5 x 16 with 16 channels\n" in capsys.readouterr().err
    assert "read as NCHW" in checked(tmp_path / "x.npy", capsys)["note"]


def test_training_logs_the_notes(tiny_yaml: str, tmp_path: Path, capsys: Capture) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((40, 8, 8), np.uint8), ids=np.arange(40))
    run = ["train", "--config", tiny_yaml, "--training.num_iterations", "1", "--out", str(tmp_path / "run")]
    assert main([*run, "--data", str(tmp_path / "x.npz")]) == 0
    assert "x.npz' that were not read: ids" in capsys.readouterr().err


def test_a_share_is_held_out(tmp_path: Path, capsys: Capture) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    asked = ["prepare", str(tmp_path / "x.npy"), "--out", str(tmp_path / "out")]
    assert main([*asked, "--hold_out", "0.25"]) == 0
    assert "40 images of 8 x 8 with 3 channels, 10 held out" in capsys.readouterr().err
    assert len(ImageDataset(tmp_path / "out").held_out_rows) == 10
    assert main([*asked, "--overwrite"]) == 0
    assert not len(ImageDataset(tmp_path / "out").held_out_rows)
    for value, words in (("0.95", "it must be at most 0.9"), ("a lot", "it must be a number")):
        assert main([*asked, "--overwrite", "--hold_out", value]) == 2
        assert words in capsys.readouterr().err
    assert main(["prepare", str(tmp_path / "x.npy"), "--check", "--hold_out", "0.5"]) == 2
