"""`ddgan export`, as a user meets it; ONNX files of the command are looked into by test_onnx."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest
import torch
from test_main import Capture, refused

from ddgan import Run
from ddgan.cli import main
from ddgan.export.diffusers import DDGANPipeline, export_diffusers


def test_diffusers(tiny_run: Run, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "pipeline"
    assert main(["export", str(tiny_run.path), "--to", "diffusers", "--out", str(out)]) == 0
    assert "diffusers pipeline in" in capsys.readouterr().err
    made = DDGANPipeline.from_pretrained(out)(3, seed=2, output_type="pt").images
    assert torch.equal(made, tiny_run.model.sample(3, seed=2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN"], "--to diffusers, --to onnx or --to web"),
        (["RUN", "--to", "onnx"], "--out FOLDER"),
        (["RUN", "--to", "tflite", "--out", "OUT"], "tflite"),
        (["RUN", "--to", "onnx", "--out", "OUT.onnx"], "writes a folder"),
        (["RUN", "--to", "onnx", "--out", "RUN"], "exists"),
        (["RUN", "--to", "web", "--out", "RUN"], "exists"),
        (["RUN", "--to", "web", "--out", "RUN", "--overwrite"], "not written by this command"),
        (["RUN", "--to", "web", "--out", "OUT", "--class_names", "a"], "but the model has no classes"),
        (["RUN", "--to", "onnx", "--out", "OUT", "--title", "A"], "--title is for --to web; leave it out"),
        (["nowhere", "--to", "onnx", "--out", "OUT"], "'nowhere' does not exist"),
        (["RUN", "--to", "onnx", "--out", "OUT", "--precision", "bf16"], "one of float32, fp16, int8"),
        (["RUN", "--to", "onnx", "--out", "OUT", "--score_samples", "-1"], "must be at least 0"),
        (
            ["RUN", "--to", "diffusers", "--out", "OUT", "--precision", "int8"],
            "--precision is for --to onnx and web",
        ),
        (["RUN", "--to", "diffusers", "--out", "OUT", "--license", " "], "license is ' '"),
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


def test_the_licence_is_in_the_export(tiny_run: Run, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "pipeline"
    command = ["export", str(tiny_run.path), "--to", "diffusers", "--license", "mit", "--out", str(out)]
    assert main(command) == 0
    assert DDGANPipeline.from_pretrained(out).ddgan.license == "mit"
    assert json.loads((out / "export.json").read_text())["license"] == "mit"
    assert "license: mit" in (out / "README.md").read_text("utf-8")


def test_onnx_with_short_weights_is_scored(tiny_run: Run, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "onnx"
    command = ["export", str(tiny_run.path), "--to", "onnx", "--precision", "int8", "--score_samples", "30"]
    assert main([*command, "--out", str(out)]) == 0
    record, printed = json.loads((out / "export.json").read_text()), capsys.readouterr().err
    assert "weights in int8" in printed
    assert "samples differ from those of model.sample by at most" in printed
    ((name, value),) = record["scores"]["export"].items()
    assert "30 samples" in name
    assert f"{name}: {value:.4g} (model: {record['scores']['model'][name]:.4g})" in printed


@pytest.mark.parametrize(
    ("to", "missing"), [("onnx", "onnxruntime"), ("diffusers", "diffusers"), ("web", "onnxscript")]
)
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


def test_only_an_export_is_replaced(tiny_run: Run, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "pipeline"
    command = ["export", str(tiny_run.path), "--to", "diffusers", "--out", str(out)]
    assert main(command) == 0
    capsys.readouterr()
    assert "pass --overwrite" in refused(capsys, *command)
    assert main([*command, "--overwrite"]) == 0
    capsys.readouterr()
    (out / "notes.txt").write_text("mine")
    assert "which has 'notes.txt', not written by this command" in refused(capsys, *command, "--overwrite")
    with pytest.raises(ValueError, match="notes"):
        export_diffusers(tiny_run.model, out)
    assert (out / "notes.txt").read_text() == "mine"
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "README.md").write_text("theirs")
    assert "'README.md'" in refused(capsys, *command[:-1], str(theirs), "--overwrite")
    assert [file.name for file in theirs.iterdir()] == ["README.md"]


def test_an_export_that_fails_leaves_the_old_one(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "pipeline"
    export_diffusers(tiny_run.model, out)
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ddgan.export.diffusers.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        export_diffusers(tiny_run.model, out)
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline"]
