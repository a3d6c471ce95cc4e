"""`ddgan export`, as a user meets it; ONNX files of the command are looked into by test_onnx."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import torch
from test_main import Capture, refused

from ddgan import Run
from ddgan.cli import main
from ddgan.export.diffusers import DDGANPipeline


def test_diffusers(tiny_run: Run, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "pipeline"
    assert main(["export", str(tiny_run.path), "--to", "diffusers", "--out", str(out)]) == 0
    assert "diffusers pipeline in" in capsys.readouterr().err
    made = DDGANPipeline.from_pretrained(out)(3, seed=2, output_type="pt").images
    assert torch.equal(made, tiny_run.model.sample(3, seed=2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN"], "--to diffusers or --to onnx"),
        (["RUN", "--to", "onnx"], "--out FOLDER"),
        (["RUN", "--to", "tflite", "--out", "OUT"], "tflite"),
        (["RUN", "--to", "onnx", "--out", "OUT.onnx"], "writes a folder"),
        (["RUN", "--to", "onnx", "--out", "RUN"], "exists"),
        (["nowhere", "--to", "onnx", "--out", "OUT"], "'nowhere' does not exist"),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], words: str, tiny_run: Run, tmp_path: Path, capsys: Capture
) -> None:
    out = str(tmp_path / "out")
    given = [a.replace("OUT", out) if a.startswith("OUT") else a for a in arguments]
    assert words in refused(capsys, "export", *(str(tiny_run.path) if a == "RUN" else a for a in given))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("to", "missing"), [("onnx", "onnxruntime"), ("diffusers", "diffusers")])
def test_missing_packages_are_named(
    to: str, missing: str, tiny_run: Run, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name == missing:
            raise ImportError(name)
        return real(name, package)

    monkeypatch.setattr("ddgan.export.import_module", without)
    line = refused(capsys, "export", str(tiny_run.path), "--to", to, "--out", str(tmp_path / "out"))
    assert f"needs the package {missing}; pip install 'ddgan[" in line
