"""`ddgan models`, and the names of shipped models in the other commands."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ddgan
from ddgan.cli import main
from ddgan.models import shipped_models
from described import TINY_SCORES

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def here(shipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_table_has_a_line_per_model(shipped: Path, capsys: Capture) -> None:
    assert main(["models"]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == [
        *("name", "makes", "shape", "classes", "T", "parameters", "size", "licence", "scores")
    ]
    size = f"{(shipped / 'model.safetensors').stat().st_size / 1e6:.1f} MB"
    parameters = f"{ddgan.load('tiny').num_parameters:,}"
    cells = ["tiny", "noise in three colours", "3x8x8", "-", "3", parameters, size, "apache-2.0"]
    assert line.split("  ")[0] == "tiny"
    assert [cell.strip() for cell in line.split("  ") if cell.strip()][:8] == cells
    assert line.endswith("KL of the modes 0.25")


def test_json_has_everything(shipped: Path, capsys: Capture) -> None:
    assert main(["models", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["name"] == "tiny"
    assert found["sample_shape"] == [3, 8, 8]
    assert found["path"] == str(shipped)
    assert found["scores"] == TINY_SCORES
    assert found["training"]["command"].startswith("ddgan train")
    assert main(["models", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [found]


def test_a_name_prints_the_card(shipped: Path, capsys: Capture) -> None:
    assert main(["models", "tiny"]) == 0
    assert capsys.readouterr().out == (shipped / "README.md").read_text(encoding="utf-8")


def test_an_unknown_name_is_answered_by_a_close_one(capsys: Capture) -> None:
    for command in (["models", "tinny"], ["sample", "tinny", "--out", "x.png"]):
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "did you mean tiny?" in error
        assert error.count("\n") == 1


def test_no_models_is_said_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(shipped_models, "FOLDER", tmp_path / "missing")
    assert main(["models"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "no models come with this version of ddgan\n")
    assert main(["models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_commands_take_the_name(here: Path, capsys: Capture) -> None:
    assert main(["sample", "tiny", "-n", "4", "--out", "a.npz"]) == 0
    expected = ddgan.load("tiny").sample(4, output="uint8")
    with np.load(here / "a.npz") as file:
        assert np.array_equal(file["images"], expected.permute(0, 2, 3, 1).numpy())
    assert main(["edit", "tiny", "interpolate", "-n", "1", "--frames", "3", "--out", "paths.png"]) == 0
    assert Image.open(here / "paths.png").size[0] > 8
    assert main(["evaluate", "tiny", "-n", "20", "--metrics", "speed", "--out", "one.json"]) == 0
    assert json.loads((here / "one.json").read_text())["num_samples"] == 20
    capsys.readouterr()
    assert main(["convert", "--inspect", "tiny"]) == 0
    assert "apache-2.0" in capsys.readouterr().out


def test_a_name_can_be_exported(here: Path) -> None:
    pytest.importorskip("diffusers")
    assert main(["export", "tiny", "--to", "diffusers", "--out", "pipeline"]) == 0
    assert (here / "pipeline/model_index.json").is_file()
