"""`ddgan edit`, as a user meets it: files, records, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_main import Capture, refused

from ddgan import Run, editing
from ddgan.cli import main
from ddgan.cli.edit import EDITS
from ddgan.system.images import to_uint8


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures of different sizes, and masks of their left half."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for name, (width, height) in {"a": (20, 20), "b": (30, 24)}.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{name}.png")
        mask = np.zeros((height, width), dtype=np.uint8)
        mask[:, : width // 2] = 255
        Image.fromarray(mask).save(folder / f"mask_{name}.png")
    half = np.zeros((8, 8), dtype=np.uint8)
    half[:, :4] = 255
    Image.fromarray(half).save(folder / "half.png")
    return folder


def edited(run: Run, out: Path, *arguments: str) -> np.ndarray:
    assert main(["edit", str(run.path), *arguments, "--out", str(out)]) == 0
    with np.load(out) as file:
        return file["images"]


def test_each_edit_writes_what_python_makes_and_a_record(tiny_run: Run, files: Path, tmp_path: Path) -> None:
    model, pair = tiny_run.model, [files / "a.png", files / "b.png"]
    both = ["--image", *map(str, pair), "-n", "2", "--seed", "3"]
    images = editing.repeated(editing.read_images(model, pair), 2)
    half = editing.read_mask(model, files / "half.png", pair[0])
    expected = {
        "stroke": (editing.stroke(model, images, 1, 3), [*both, "--strength", "1"]),
        "variations": (editing.stroke(model, images, 2, 3), both),
        "inpaint": (
            editing.inpaint(model, images, half, 3, rounds=2),
            [*both, "--mask", str(files / "half.png"), "--rounds", "2"],
        ),
        "interpolate": (
            editing.interpolate(model, 2, (3, 7), 4).flatten(0, 1),
            ["-n", "2", "--seed", "3", "--to_seed", "7", "--frames", "4"],
        ),
        "filmstrip": (editing.filmstrip(model, 2, 3).tiles(), ["-n", "2", "--seed", "3"]),
    }
    for name, (result, arguments) in expected.items():
        made = edited(tiny_run, tmp_path / f"{name}.npz", name, *arguments)
        np.testing.assert_array_equal(made, to_uint8(result))
        record = json.loads((tmp_path / f"{name}.npz.json").read_text())
        assert (record["edit"], record["seed"], record["n"]) == (name, 3, len(result))
        assert record["config"] == model.config.to_dict()
        assert "out" not in record["options"]
    assert record["options"]["n"] == 2


def test_a_mask_of_each_images_size_goes_its_way(tiny_run: Run, files: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.npz"
    arguments = ["--image", str(files / "b.png"), "--mask", str(files / "mask_b.png")]
    made = edited(tiny_run, out, "inpaint", *arguments)
    known = to_uint8(editing.read_images(tiny_run.model, files / "b.png"))
    np.testing.assert_array_equal(made[:, :, 4:], known[:, :, 4:])
    assert (made[:, :, :4] != known[:, :, :4]).any()


def test_pictures_are_grids_or_folders(tiny_run: Run, files: Path, tmp_path: Path, capsys: Capture) -> None:
    run = str(tiny_run.path)
    assert (
        main(["edit", run, "interpolate", "-n", "2", "--frames", "5", "--out", str(tmp_path / "x.png")]) == 0
    )
    assert Image.open(tmp_path / "x.png").size == (5 * 65 - 1, 2 * 65 - 1)
    folder = tmp_path / "folder"
    image = str(files / "a.png")
    assert main(["edit", run, "variations", "--image", image, "-n", "3", "--out", str(folder)]) == 0
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".png", ".png", ".png"]
    assert "3 images in" in capsys.readouterr().err


def test_points_are_written_as_numbers(
    scored_points_run: Run, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    run = str(scored_points_run.path)
    assert main(["edit", run, "filmstrip", "-n", "2", "--out", str(tmp_path / "x.npz")]) == 0
    with np.load(tmp_path / "x.npz") as file:
        assert file["points"].shape == (2 * 4, 2)
    capsys.readouterr()
    image = ["--image", str(files / "a.png"), "--strength", "1"]
    assert "makes points" in refused(capsys, "edit", run, "stroke", *image, "--out", str(tmp_path / "y.npz"))
    assert "cannot be saved as PNG" in refused(
        capsys, "edit", run, "filmstrip", "--out", str(tmp_path / "y.png")
    )


@pytest.mark.parametrize("edit", EDITS)
def test_help(edit: str, capsys: Capture) -> None:
    assert main(["edit", "MODEL", edit, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: ddgan edit MODEL {edit}")
    assert main(["edit", "--help"]) == 0
    assert edit in capsys.readouterr().out


WRONG = [
    (["RUN"], ["is given, but no edit", "stroke, inpaint"]),
    (["RUN", "paint"], ["unknown edit 'paint'", "filmstrip"]),
    (["RUN", "stroke", "--image", "A", "--strength", "1"], ["--out X.png"]),
    (["RUN", "stroke", "--image", "A", "--out", "OUT"], ["--strength t, in 0..3"]),
    (["RUN", "stroke", "--strength", "1", "--out", "OUT"], ["--image FILE"]),
    (["RUN", "stroke", "--image", "A", "--strength", "4", "--out", "OUT"], ["strength is 4", "0..3"]),
    (["RUN", "stroke", "--image", "A", "--strength", "-1", "--out", "OUT"], ["strength is -1"]),
    (["RUN", "stroke", "--image", "A", "--strength", "much", "--out", "OUT"], ["strength", "much"]),
    (["RUN", "stroke", "--image", "NONE", "--strength", "1", "--out", "OUT"], ["does not exist"]),
    (["RUN", "stroke", "--image", "RUN", "--strength", "1", "--out", "OUT"], ["cannot be used"]),
    (
        ["RUN", "stroke", "--image", "A", "--strength", "1", "--class", "1", "--out", "OUT"],
        ["trained without"],
    ),
    (["RUN", "variations", "--image", "A", "-n", "0", "--out", "OUT"], ["n is 0"]),
    (["RUN", "inpaint", "--image", "A", "--out", "OUT"], ["--mask FILE"]),
    (
        ["RUN", "inpaint", "--image", "A", "--mask", "B", "--out", "OUT"],
        ["mask has 30 x 24", "20 x 20", "8 x 8"],
    ),
    (["RUN", "inpaint", "--image", "A", "--mask", "HALF", "--rounds", "0", "--out", "OUT"], ["rounds is 0"]),
    (["RUN", "interpolate", "--frames", "1", "--out", "OUT"], ["--frames is 1; it must be at least 2"]),
    (["RUN", "interpolate", "--to_seed", "-1", "--out", "OUT"], ["seed is -1"]),
    (["RUN", "filmstrip", "--class", "1", "--out", "OUT"], ["trained without"]),
    (["nowhere", "filmstrip", "--out", "OUT"], ["'nowhere' does not exist"]),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[" ".join(a) for a, _ in WRONG])
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], words: list[str], tiny_run: Run, files: Path, tmp_path: Path, capsys: Capture
) -> None:
    places = {
        "RUN": tiny_run.path,
        "OUT": tmp_path / "out.npz",
        "A": files / "a.png",
        "B": files / "mask_b.png",
        "HALF": files / "half.png",
        "NONE": tmp_path / "none.png",
    }
    line = refused(capsys, "edit", *(str(places.get(argument, argument)) for argument in arguments))
    assert [word for word in words if word not in line] == [], line
    assert list(tmp_path.iterdir()) == []
