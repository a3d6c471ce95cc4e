"""Class labels, as a user meets them: `classes auto`, `ddgan sample --class`, a column per class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from ddgan import DDGAN, RunConfig
from ddgan.cli import main
from ddgan.system.images import to_uint8

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def labelled_run(tiny_config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a folder of images with three classes, told by `--conditions.label.classes auto`."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    for index in range(12):
        path = folder / "photos" / "abc"[index % 3] / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(8, 8, 3), dtype=np.uint8)).save(path)
    (folder / "tiny.yaml").write_text(tiny_config.to_yaml(), encoding="utf-8")
    arguments = ["--config", str(folder / "tiny.yaml"), "--data", str(folder / "photos")]
    assert (
        main(["train", *arguments, "--conditions.label.classes", "auto", "--out", str(folder / "run")]) == 0
    )
    return folder / "run"


def test_auto_takes_the_number_of_classes_from_the_data(labelled_run: Path) -> None:
    model = DDGAN.from_pretrained(labelled_run)
    assert model.num_classes == 3
    assert yaml.safe_load((labelled_run / "config.yaml").read_text())["conditions"]["label"]["classes"] == 3


def test_auto_needs_data_with_classes(tiny_yaml: str, tmp_path: Path, capsys: Capture) -> None:
    np.save(tmp_path / "x.npy", np.zeros((9, 8, 8, 3), np.uint8))
    arguments = ["--config", tiny_yaml, "--data", str(tmp_path / "x.npy")]
    assert (
        main(["train", *arguments, "--conditions.label.classes", "auto", "--out", str(tmp_path / "run")]) == 2
    )
    assert "conditions.label is set, but" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_fewer_classes_than_the_data_has_are_refused(
    labelled_run: Path, tiny_yaml: str, tmp_path: Path, capsys: Capture
) -> None:
    arguments = ["--config", tiny_yaml, "--data", str(labelled_run.parent / "photos")]
    assert main(["train", *arguments, "--conditions.label.classes", "2", "--out", str(tmp_path / "run")]) == 2
    assert (
        "has 3 classes; set it to auto, or leave conditions.label out to ignore them"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


def test_one_class_can_be_asked_for(labelled_run: Path, tmp_path: Path, capsys: Capture) -> None:
    model, out = DDGAN.from_pretrained(labelled_run), tmp_path / "x.npz"
    assert main(["sample", str(labelled_run), "-n", "5", "--class", "2", "--out", str(out)]) == 0
    with np.load(out) as file:
        np.testing.assert_array_equal(file["images"], to_uint8(model.sample(5, classes=2)))
        assert not np.array_equal(file["images"], to_uint8(model.sample(5, classes=1)))
    assert json.loads((tmp_path / "x.npz.json").read_text())["class"] == 2
    capsys.readouterr()
    assert main(["sample", str(labelled_run), "--class", "4", "--out", str(tmp_path / "y.npz")]) == 2
    assert "class 4 is unknown; classes are 0..2, and 3 for none" in capsys.readouterr().err


def test_a_grid_has_a_column_per_class(labelled_run: Path, tmp_path: Path) -> None:
    model = DDGAN.from_pretrained(labelled_run)
    assert main(["sample", str(labelled_run), "-n", "6", "--out", str(tmp_path / "x.png")]) == 0
    picture = np.asarray(Image.open(tmp_path / "x.png"))
    assert picture.shape == (2 * 64 + 1, 3 * 64 + 2, 3)
    for column in range(3):
        alone = to_uint8(model.sample(6, classes=column))
        for row in range(2):
            tile = picture[row * 65 : row * 65 + 64 : 8, column * 65 : column * 65 + 64 : 8]
            np.testing.assert_array_equal(tile, alone[3 * row + column])
    assert (
        main(["sample", str(labelled_run), "-n", "4", "--class", "0", "--out", str(tmp_path / "y.png")]) == 0
    )
    assert Image.open(tmp_path / "y.png").size == (2 * 64 + 1, 2 * 64 + 1)


def test_a_model_without_classes_has_none_to_ask_for(run_copy: Path, tmp_path: Path, capsys: Capture) -> None:
    assert main(["sample", str(run_copy), "--class", "1", "--out", str(tmp_path / "x.png")]) == 2
    assert "this model was trained without" in capsys.readouterr().err
