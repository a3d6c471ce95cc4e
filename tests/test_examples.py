"""The examples run as they stand, as a reader starts them, and each leaves a picture."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).resolve().parents[1] / "examples"
LEAVES = {
    "own_callback": "filmstrip.png",
    "own_dataset": "numbers.png",
    "own_loss": "samples.png",
    "own_networks": "samples.png",
    "training_with_plots": "plots/samples.png",
}
"""By example: the picture that it ends with."""


def run(name: str, out: Path, *options: str) -> Path:
    """Start an example, and return its picture."""
    ended = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *options, "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MPLBACKEND": "agg"},
    )
    assert ended.returncode == 0, ended.stderr
    assert str(out) in ended.stdout  # it says where to look
    return out / LEAVES[name]


def test_every_example_is_known() -> None:
    assert {path.stem for path in FOLDER.glob("*.py")} == set(LEAVES)


@pytest.mark.parametrize("name", LEAVES)
def test_it_is_short_and_names_its_command(name: str) -> None:
    text = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    assert 20 <= len(text.splitlines()) <= 60
    assert f"python examples/{name}.py --out" in text


@pytest.mark.parametrize("name", LEAVES)
def test_it_runs_and_leaves_a_picture(name: str, tmp_path: Path) -> None:
    picture = np.asarray(Image.open(run(name, tmp_path / "run", "--smoke")).convert("L"))
    assert picture.std() > 1


@pytest.mark.slow
@pytest.mark.parametrize("name", LEAVES)
def test_it_runs_to_its_end(name: str, tmp_path: Path) -> None:
    """Whole: minutes each; what it draws has black and white, as digits have."""
    picture = np.asarray(Image.open(run(name, tmp_path / "run")).convert("L"))
    assert np.percentile(picture, 1) < 50
    assert np.percentile(picture, 99) > 200
