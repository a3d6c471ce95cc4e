"""A full disk: one line, and what was there before is still whole."""

from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddgan import Run
from ddgan.cli import main
from forked import forked

LIMIT = 1000
"""Bytes that a file may have in the limited process; beyond, the system refuses as on a full disk."""
COMMANDS: dict[str, list[str]] = {
    "x.npz": ["sample", "RUN", "-n", "64", "--seed"],
    "x.png": ["sample", "RUN", "-n", "64", "--seed"],
    "folder": ["sample", "RUN", "-n", "64", "--seed"],
    "path.png": ["edit", "RUN", "interpolate", "-n", "8", "--seed"],
    "path": ["edit", "RUN", "interpolate", "-n", "8", "--seed"],
    "scores.json": ["evaluate", "RUN", "--metrics", "speed", "-n", "20", "--seed"],
    "data": ["prepare", "IMAGES", "--size", "16", "--limit"],
}


def limited(arguments: list[str]) -> int:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))
    return main(arguments)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_old_output_stays_whole(tiny_run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "images").mkdir()
    for index in range(4):
        noise = np.random.default_rng(index).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / "images" / f"{index}.png")
    places = {"RUN": str(tiny_run.path), "IMAGES": str(tmp_path / "images")}
    out = tmp_path / "out"
    out.mkdir()
    command = [places.get(word, word) for word in COMMANDS[name]]
    assert main([*command, "3", "--out", str(out / name)]) == 0
    before = contents(out)
    assert before
    process = forked(tmp_path / "said", limited, [*command, "4", "--out", str(out / name), "--overwrite"])
    said = process.ended().splitlines()
    assert process.code == 1, said
    assert "File too large" in said[-1]
    assert not any("Traceback" in line for line in said)
    now = {file: content for file, content in contents(out).items() if ".unfinished" not in file}
    assert now == before


def test_a_comparison_stays_whole(scored_run: Run, tmp_path: Path) -> None:
    scores = scored_run.path / "scores.json"
    command = ["evaluate", "--compare", str(scores), str(scores), "--out", str(tmp_path / "x.html")]
    assert main(command) == 0
    before = contents(tmp_path)
    assert before.keys() == {"x.html", "x.png"}
    process = forked(tmp_path.parent / "said", limited, [*command, "--overwrite"])
    assert "File too large" in process.ended()
    assert process.code == 1
    assert contents(tmp_path) == before
