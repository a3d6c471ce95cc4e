"""Every experiment at scale smoke: it needs no file, leaves its four files, and is quick the second time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ddgan.cli import main
from ddgan.paper.experiment import Request
from ddgan.paper.outcome import FILES
from ddgan.paper.registry import EXPERIMENTS
from ddgan.paper.scoring import SCORES_FOLDER, Method, short_scores
from ddgan.paper.specs import image_models

QUICK = ("multimodal1d", "stability", "multimodality", "strokes", "neighbours", "stackedmnist", "celebahq256")
"""Those that the default tests run; the others are marked slow, and all of them run in .ci/run."""
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in EXPERIMENTS]


@pytest.mark.parametrize("name", NAMES)
def test_a_smoke_run_leaves_its_four_files(
    name: str, smoke_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", name, "--scale", "smoke", "--out", str(smoke_folder)]
    assert main(command) == 0
    folder = smoke_folder / name
    assert capsys.readouterr().out.strip() == str(folder / "report.md")
    assert {file.name for file in folder.iterdir()} == set(FILES)

    record = json.loads((folder / "result.json").read_text())
    assert record["experiment"] == name
    assert record["scale"] == "smoke"
    assert record["command"] == f"ddgan {' '.join(command)}"
    assert record["machine"]
    assert record["results"]
    assert record["seeds"] == ([0] if EXPERIMENTS[name].models else [])
    assert {model["name"] for model in record["models"]} == set(EXPERIMENTS[name].models)
    assert all(model["iterations"] > 0 and model["minutes"] >= 0 for model in record["models"])

    report = (folder / "report.md").read_text(encoding="utf-8")
    assert report.startswith(f"# {EXPERIMENTS[name].source}")
    assert "(figure.png)" in report
    assert EXPERIMENTS[name].command("paper") in report
    picture = Image.open(folder / "figure.png").convert("L")
    assert min(picture.size) > 250
    assert picture.getextrema()[0] < 100  # something is drawn
    assert (folder / "figure.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_a_second_run_trains_and_scores_nothing(
    smoke_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["reproduce", "stackedmnist", "--scale", "smoke", "--out", str(smoke_folder)]
    assert main(command) == 0
    models = smoke_folder / "models"
    stamps = {file: file.stat().st_mtime_ns for file in models.rglob("*") if file.is_file()}
    assert any(file.parent.name == SCORES_FOLDER for file in stamps)
    capsys.readouterr()
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "training" not in said
    assert "scoring" not in said
    assert {f: f.stat().st_mtime_ns for f in models.rglob("*") if f.is_file()} == stamps


def test_scores_outlive_the_weights(smoke_folder: Path, tmp_path: Path) -> None:
    method = Method("DDGAN", image_models("smoke")["ddgan-t4"])
    expected = short_scores(Request("smoke", smoke_folder), method, 0)
    shutil.copytree(smoke_folder / "models", tmp_path / "models")
    for weights in tmp_path.rglob("*.safetensors"):
        weights.unlink()
    assert short_scores(Request("smoke", tmp_path), method, 0) == expected
    assert not list(tmp_path.rglob("*.safetensors"))
    Request("smoke", tmp_path).store.open(method.spec, 0)  # what does need weights trains them again
    assert list(tmp_path.rglob("*.safetensors"))
