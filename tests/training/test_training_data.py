"""Runs on data from Python: the same as on files of the same images, resumed exactly, scored against it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch import Tensor
from torch.utils.data import TensorDataset

import ddgan
from ddgan import RunConfig
from ddgan.cli import main
from ddgan.models.run_folder import LOG_NAME, read_log
from ddgan.training.checkpoint import Checkpoints

pytestmark = pytest.mark.filterwarnings("ignore:.* of rank .*:UserWarning")
LABELS = np.arange(24) // 8
PIXELS = np.random.default_rng(0).integers(256, size=(24, 8, 8, 3), dtype=np.uint8)
TENSOR = torch.from_numpy(PIXELS).permute(0, 3, 1, 2).contiguous()


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A cache that the tests may clear."""
    path = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DDGAN_CACHE", str(path))
        yield path


def hub() -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.Dataset.from_dict(
        {"image": [Image.fromarray(x) for x in PIXELS], "label": LABELS.tolist()},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(3)}),
    )


FORMS: dict[str, Callable[[], Any]] = {
    "array": lambda: (PIXELS, LABELS),
    "float array": lambda: (PIXELS.astype(np.float32) / 255, LABELS),
    "tensor": lambda: (TENSOR / 127.5 - 1, torch.from_numpy(LABELS)),
    "torch Dataset": lambda: TensorDataset(TENSOR, torch.from_numpy(LABELS)),
    "Hugging Face": hub,
    "Hugging Face for torch": lambda: hub().with_format("torch"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images as files, in a folder for each class."""
    path = tmp_path_factory.mktemp("files")
    for index, (x, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        (path / f"class{label}").mkdir(exist_ok=True)
        Image.fromarray(x).save(path / f"class{label}" / f"{index:02d}.png")
    return path


@pytest.fixture(scope="module")
def config(tiny_config: RunConfig) -> RunConfig:
    """Three iterations of a class-conditional model, with a checkpoint after each."""
    settings = tiny_config.to_dict() | {"data": {"kind": "images"}, "conditions": {"label": {}}}
    settings["training"] |= {"num_iterations": 3, "keep_every": 1}
    return RunConfig.from_dict(settings)


@pytest.fixture(scope="module")
def from_files(config: RunConfig, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on the folder; read only."""
    return ddgan.train(config, tmp_path_factory.mktemp("run") / "run", data=folder, verbose=False).path


@pytest.fixture(scope="module")
def from_array(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run on the array; read only."""
    out = tmp_path_factory.mktemp("run") / "run"
    return ddgan.train(config, out, data=(PIXELS, LABELS), verbose=False).path


def state(run: Path) -> dict[str, Tensor]:
    newest, _ = Checkpoints(run / "checkpoints").newest()
    assert newest is not None
    assert newest.metadata["step"] == 3
    return newest.tensors


def assert_same(run: Path, other: Path) -> None:
    ours, theirs = state(run), state(other)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("form", FORMS)
def test_it_trains_to_the_bit_as_the_files(
    form: str, config: RunConfig, from_files: Path, tmp_path: Path
) -> None:
    run = ddgan.train(config, tmp_path / "run", data=FORMS[form](), verbose=False)
    assert_same(run.path, from_files)
    assert run.model.conditions.num_classes == 3


def test_the_configuration_says_what_it_was(from_array: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = yaml.safe_load((from_array / "config.yaml").read_text())["data"]
    assert data["kind"] == "from_python"
    assert data["form"] == "array of uint8, (N, H, W, C)"
    assert (data["count"], data["shape"], data["num_classes"]) == (24, [3, 8, 8], 3)
    assert len(data["checksum"]) == 64
    assert ddgan.load(from_array).config.data.checksum == data["checksum"]


def test_what_was_understood_is_said(
    config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ddgan.train(config, tmp_path / "run", data=(PIXELS / 255, LABELS))
    said = capsys.readouterr().err
    assert "data: 24 images of shape (3, 8, 8), 3 classes: array of float64 in [0, 1], (N, H, W, C)\n" in said


def cut(run: Path, copy: Path) -> Path:
    """A run as a kill after the first iteration would have left it."""
    shutil.copytree(run, copy)
    for path in Checkpoints(copy / "checkpoints").paths()[2:]:
        shutil.rmtree(path)
    return copy


@pytest.mark.parametrize("is_cleared", [False, True])
def test_it_resumes_as_if_it_had_never_stopped(
    from_array: Path, tmp_path: Path, cache: Path, is_cleared: bool
) -> None:
    run = cut(from_array, tmp_path / "run")
    if is_cleared:
        shutil.rmtree(cache / "datasets")
    ddgan.resume(run, data=(TENSOR, LABELS), verbose=False)
    assert_same(run, from_array)


def test_the_copy_in_the_cache_is_enough(
    config: RunConfig, from_array: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))
    whole = ddgan.train(config, tmp_path / "whole", data=(PIXELS, LABELS), verbose=False).path
    run = cut(whole, tmp_path / "run")
    assert main(["train", "--resume", str(run)]) == 0
    assert_same(run, from_array)


def test_without_it_the_command_line_says_how_to_resume(
    from_array: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "empty"))
    run = cut(from_array, tmp_path / "run")
    for command in (["train", "--resume", str(run)], ["evaluate", str(run), "-n", "8"]):
        assert main(command) == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        assert "the data was given from Python (array of uint8, (N, H, W, C), 24 images" in line
        assert "ddgan.resume(RUN, data=...)" in line
    assert main(["train", "--resume", str(run), "--data", str(folder)]) == 0  # files of the same images
    assert_same(run, from_array)


def test_other_data_is_refused(from_array: Path, tmp_path: Path) -> None:
    run = cut(from_array, tmp_path / "run")
    for other in ((PIXELS[::-1], LABELS), (PIXELS, LABELS[::-1].copy()), PIXELS, PIXELS[:, :4, :4]):
        with pytest.raises(
            ValueError, match=r"is not the data that the run was trained on; .* give it again"
        ):
            ddgan.resume(run, data=other, verbose=False)


def test_what_cannot_be_used_leaves_no_run(config: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="data has floating-point values"):
        ddgan.train(config, tmp_path / "run", data=PIXELS.astype(np.float32), verbose=False)
    with pytest.raises(ValueError, match=r"conditions.label is set, but array of uint8.* has no classes"):
        ddgan.train(config, tmp_path / "run", data=PIXELS, verbose=False)
    assert not (tmp_path / "run").exists()


def test_some_images_are_held_out(config: RunConfig, tmp_path: Path) -> None:
    held_out, all_of_them = (config.changed({"training.held_out": count}) for count in (4, 24))
    run = ddgan.train(held_out, tmp_path / "run", data=(PIXELS, LABELS), verbose=False)
    assert read_log(run.path / LOG_NAME)[-1]["d_held_out"] is not None
    with pytest.raises(ValueError, match=r"training.held_out is 24, but .* has 24 images"):
        ddgan.train(all_of_them, tmp_path / "other", data=(PIXELS, LABELS), verbose=False)


@pytest.mark.parametrize("form", FORMS)
def test_scores_compare_with_it(form: str, from_array: Path, folder: Path) -> None:
    model = ddgan.load(from_array)
    asked: dict[str, Any] = {"metrics": "frechet", "n": 16, "features": "pixels"}
    report = ddgan.evaluate(model, data=FORMS[form](), **asked)
    wanted = ddgan.evaluate(model, data=folder, **asked)
    assert report.frechet == wanted.frechet
    assert report.data_checksum == wanted.data_checksum
    assert report.num_real == 24
    by_default = ddgan.evaluate(model, **asked)
    assert by_default.frechet == wanted.frechet


def test_scores_take_data_as_they_take_files(from_array: Path, tmp_path: Path) -> None:
    model = ddgan.load(from_array)
    asked: dict[str, Any] = {"metrics": "frechet", "n": 16, "features": "pixels"}
    other = 255 - PIXELS
    np.save(tmp_path / "other.npy", other)
    report, wanted = (ddgan.evaluate(model, data=d, **asked) for d in (other, str(tmp_path / "other.npy")))
    assert report.data_checksum == wanted.data_checksum
    assert report.frechet == wanted.frechet
    larger = np.repeat(np.repeat(PIXELS, 2, axis=1), 3, axis=2)
    np.save(tmp_path / "larger.npy", larger)
    for data in (larger, str(tmp_path / "larger.npy")):
        with pytest.raises(
            ValueError, match=r"^the samples have shape .*, but .* has \(3, 16, 24\); use data of"
        ):
            ddgan.evaluate(model, data=data, **asked)


def test_memorisation_takes_held_out_images_from_python(from_array: Path) -> None:
    model = ddgan.load(from_array)
    unseen = 255 - PIXELS
    report = ddgan.evaluate(model, metrics="memorisation", n=16, features="pixels", held_out=unseen)
    assert report.memorisation is not None
    with pytest.raises(ValueError, match="data is a float; it must be a path, an array"):
        ddgan.evaluate(model, data=0.5, metrics="frechet", n=16)
