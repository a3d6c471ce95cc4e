"""What commands print of other people's files is text: no control character of theirs reaches a terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_main import Capture

import ddgan
from ddgan import DDGAN
from ddgan.cli import main
from ddgan.models.weights_file import checksum_of
from ddgan.system.files import save_tensors
from ddgan.training.console import Logger
from hostile import HOSTILE, hostile_model


def printed(capsys: Capture, *arguments: str, code: int = 0) -> list[str]:
    """The lines on both streams, all of which are text."""
    assert main(list(arguments)) == code
    lines = "".join(capsys.readouterr()).splitlines()
    assert all(line.isprintable() for line in lines), lines
    return lines


def test_weights_are_described(model: DDGAN, tmp_path: Path, capsys: Capture) -> None:
    path = hostile_model(model).save(tmp_path / "x.safetensors")
    lines = printed(capsys, "convert", "--inspect", str(path))
    assert [line[:8].strip() for line in lines if "<script>" in line] == ["data", "licence"]
    printed(capsys, "convert", str(path), "--to", "nvlabs", "--out", str(tmp_path / "x.pth"))


def test_weights_that_are_refused(model: DDGAN, tmp_path: Path, capsys: Capture) -> None:
    path, tensors = tmp_path / "x.safetensors", model.generator.state_dict()
    good = {"format": 2, "config": model.config.to_dict(), "sample_shape": [3, 8, 8], "license": ""}
    for changed in ({"config": {HOSTILE: 1}}, {"config": {"seed": HOSTILE}}, {"format": HOSTILE}):
        found = good | changed
        found["checksum"] = checksum_of(found, tensors)
        save_tensors(path, tensors, {"ddgan": json.dumps(found)})
        (line,) = printed(capsys, "sample", str(path), "--out", str(tmp_path / "y.png"), code=2)
        with pytest.raises(ValueError, match=r"x\.safetensors") as caught:
            ddgan.load(path)
        assert str(caught.value).isprintable()
        assert line == f"ddgan: {caught.value}"
    tensors = {HOSTILE: torch.zeros(1)}
    found = good | {"checksum": checksum_of(good, tensors)}
    save_tensors(path, tensors, {"ddgan": json.dumps(found)})
    (line,) = printed(capsys, "sample", str(path), "--out", str(tmp_path / "y.png"), code=2)
    assert "does not fit its own settings" in line


def test_published_checkpoints(tmp_path: Path, capsys: Capture) -> None:
    torch.save({"z_transform.1.weight": torch.ones(4, 4), HOSTILE: 3}, tmp_path / "x.pth")
    (line,) = printed(capsys, "convert", "--inspect", str(tmp_path / "x.pth"), code=2)
    assert "expected tensors by name" in line


def test_images_with_such_names(tmp_path: Path, capsys: Capture) -> None:
    for label in ("a\x1b[2J", "b\n\rc"):
        (tmp_path / "in" / label).mkdir(parents=True)
        Image.fromarray(np.full((8, 8, 3), ord(label[0]), np.uint8)).save(tmp_path / "in" / label / "x.png")
    (tmp_path / "in" / "a\x1b[2J" / "bad\x1b[31m.png").write_bytes(b"no picture")
    (tmp_path / "in" / "notes.t\x07xt").write_bytes(b"x")
    lines = printed(capsys, "prepare", str(tmp_path / "in"), "--check")
    assert any(line.split() == [r"a\x1b[2J", "1"] for line in lines)
    out = str(tmp_path / "out")
    assert any(
        r"bad\x1b[31m.png" in line
        for line in printed(capsys, "prepare", str(tmp_path / "in"), "--skip-bad", "--out", out)
    )


def test_lines_of_a_training(capsys: Capture) -> None:
    Logger(verbose=True)(f"data {HOSTILE}")
    assert all(line.isprintable() for line in capsys.readouterr().err.splitlines())
