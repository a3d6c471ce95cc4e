"""Folders and archives of image files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import make_folder, png
from forms import SOURCES

from ddgan.data.preparation import prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import open_reader


def test_a_flat_folder_and_a_mixed_one_have_no_classes(tmp_path: Path, pixels: np.ndarray) -> None:
    make_folder(tmp_path / "x", pixels)
    (tmp_path / "x" / "alone.png").write_bytes(png(pixels[0]))
    assert open_reader(str(tmp_path / "x")).class_names is None
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "b.PNG").write_bytes(png(pixels[0]))
    (flat / "a.png").write_bytes(png(pixels[1]))
    (flat / ".hidden.png").write_bytes(b"")
    (flat / "notes.txt").write_text("not an image")
    items = list(open_reader(str(flat)))
    assert [Path(item.name).name for item in items] == ["a.png", "b.PNG"]
    assert [item.label for item in items] == [None, None]


def test_links_are_followed_and_loops_are_not(tmp_path: Path, pixels: np.ndarray) -> None:
    root = make_folder(tmp_path / "x", pixels)
    (root / "ape" / "back").symlink_to(root)
    (root / "bee" / "self").symlink_to(root / "bee")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.png").write_bytes(png(pixels[0]))
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cow" / "broken.png").symlink_to(root / "nowhere.png")
    items = list(open_reader(str(root)))
    assert sum(item.name.endswith("linked.png") for item in items) == 1
    assert [item.problem for item in items if item.name.endswith("broken.png")] == [
        "No such file or directory"
    ]
    assert len(items) == 14
    assert sorted({item.label for item in items if item.label is not None}) == [0, 1, 2, 3]


@pytest.mark.parametrize("evil", ["../escape.png", "/absolute.png", "a/../../escape.png"])
def test_archive_members_that_lead_outside_are_refused(evil: str, tmp_path: Path, pixels: np.ndarray) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("fine.png", png(pixels[0]))
        archive.writestr(evil, png(pixels[1]))
    with pytest.raises(ValueError, match="leads out of the archive"):
        prepare(str(tmp_path / "x.zip"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    dataset = ImageDataset(prepare(str(tmp_path / "x.zip"), tmp_path / "out", skip_bad=True))
    assert len(dataset) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "out", "x.zip"]


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_truncated_archives_are_named(suffix: str, tmp_path: Path, pixels: np.ndarray) -> None:
    path = Path(SOURCES[suffix](tmp_path, pixels))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"x.{suffix}"):
        prepare(str(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("hello")
    zipfile.ZipFile(tmp_path / "x.zip", "w").close()
    for source, words in [
        (tmp_path / "empty", "has no images"),
        (tmp_path / "x.txt", "has an unknown form"),
        (tmp_path / "x.zip", "has no images"),
        (tmp_path / "nowhere", "does not exist"),
        ("stackedmnist:" + str(tmp_path / "nowhere"), "is not a folder; after stackedmnist: name the folder"),
    ]:
        with pytest.raises(ValueError, match=words):
            open_reader(str(source))
    with pytest.raises(ValueError, match="split is 'eval'"):
        open_reader(str(tmp_path), split="eval")
