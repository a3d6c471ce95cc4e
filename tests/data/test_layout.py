"""What folders around images mean: splits, classes, wrappers; which split is taken, and which refused."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import make_folder, png
from forms import SOURCES

from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import open_reader
from ddgan.data.readers.layout import layout_of


def fill(folder: Path, files: list[str], pixels: np.ndarray) -> Path:
    for index, name in enumerate(files):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(pixels[index % len(pixels)]))
    return folder


WITH_SPLITS = ["train/cat/0.png", "train/dog/1.png", "test/dog/2.png", "val/cat/3.png", "val/dog/4.png"]


@pytest.mark.parametrize("form", ["folder", "zip", "wrapped zip"])
def test_top_folders_train_test_val_are_splits(form: str, tmp_path: Path, pixels: np.ndarray) -> None:
    source = fill(tmp_path / "x", WITH_SPLITS, pixels)
    if form != "folder":
        with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
            for name in WITH_SPLITS:
                archive.write(source / name, name if form == "zip" else f"everything/{name}")
        source = tmp_path / "x.zip"
    for split, names in [
        ("", ["0.png", "1.png"]),
        ("train", ["0.png", "1.png"]),
        ("test", ["2.png"]),
        ("validation", ["3.png", "4.png"]),
        ("val", ["3.png", "4.png"]),
        ("all", ["0.png", "1.png", "2.png", "3.png", "4.png"]),
    ]:
        reader = open_reader(str(source), split)
        items = sorted(reader, key=lambda item: item.name[-5:])
        assert [Path(item.name).name for item in items] == names
        assert reader.class_names == ("cat", "dog")  # test has no cat: dog is 1 all the same
        assert all(("cat", "dog")[item.label] in item.name for item in items if item.label is not None)
        assert reader.split == {"": "train", "val": "validation"}.get(split, split)


def test_the_split_is_in_the_dataset_and_in_the_key_of_the_cache(tmp_path: Path, pixels: np.ndarray) -> None:
    source = str(fill(tmp_path / "x", WITH_SPLITS, pixels))
    path = prepare(source)
    assert prepare(source, selection=Selection(split="train")) == path
    assert ImageDataset(path).info["split"] == "train"
    assert prepare(source, selection=Selection(split="test")) != path


def test_a_missing_split_is_named_with_those_that_are_there(tmp_path: Path, pixels: np.ndarray) -> None:
    source = fill(tmp_path / "x", ["train/a.png", "test/b.png"], pixels)
    with pytest.raises(
        ValueError, match=r"has no split validation; it has test, train.*prepare .* --split test"
    ):
        open_reader(str(source), "validation")
    with pytest.raises(ValueError, match="has no split train; it has validation, test"):
        open_reader(str(fill(tmp_path / "y", ["dev/a.png", "test/b.png"], pixels)))


def test_splits_beside_other_folders_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    for extra in ("extra/c.png", "c.png"):
        source = fill(tmp_path / extra[0], ["train/a.png", "test/b.png", extra], pixels)
        with pytest.raises(ValueError, match="has the split folders test, train beside other images"):
            open_reader(str(source))


@pytest.mark.parametrize(
    ("names", "split", "classes"),
    [
        (["bus/a", "car/b", "train/c"], "all", ("bus", "car", "train")),
        (["train/bus/a", "train/car/b"], "train", ("bus", "car")),
        (["test/bus/a", "test/car/b"], "all", ("bus", "car")),
        (["train/cat/a", "train/dog/b", "test/c"], "train", ("cat", "dog")),
        (["train/images/a", "train/images/b"], "train", None),
        (["train/a", "test/b"], "train", None),
        (["x/y/cat/a", "x/y/dog/b"], "all", ("cat", "dog")),
        (["a", "b"], "all", None),
        ([], "all", None),
    ],
    ids=str,
)
def test_layouts(names: list[str], split: str, classes: tuple[str, ...] | None) -> None:
    layout = layout_of("x", names)
    assert (layout.split, layout.class_names) == (split, classes)


WITHOUT_SPLITS = ["folder", "zip", "tar", "npz", "lsun lmdb", "raw lmdb"]


@pytest.mark.parametrize("form", WITHOUT_SPLITS)
def test_sources_without_splits_refuse_one_by_name(form: str, tmp_path: Path, pixels: np.ndarray) -> None:
    source = SOURCES[form](tmp_path, pixels)
    for split in ("train", "test", "validation"):
        words = f"split is {split}, but '{re.escape(source)}' has no splits; leave --split out"
        with pytest.raises(ValueError, match=words):
            open_reader(source, split)
    for split in ("", "all"):
        assert open_reader(source, split).split == "all"


def test_single_files_of_a_form_with_splits_have_none(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = Path(SOURCES["idx"](tmp_path, pixels))
    assert open_reader(str(folder), "train").split == "train"
    with pytest.raises(ValueError, match="has no splits"):
        open_reader(str(folder / "train-images-idx4-ubyte"), "test")


def test_a_folder_of_classes_still_has_classes(tmp_path: Path, pixels: np.ndarray) -> None:
    reader = open_reader(str(make_folder(tmp_path / "x", pixels)))
    assert reader.class_names == ("ape", "bee", "cow")
