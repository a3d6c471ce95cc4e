"""Labels in a file among the images: StyleGAN, EDM and the image folders of the Hub."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from data_files import CLASSES, LABELS, make_folder, png

from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset, is_prepared

NAMES = [f"{index // 5:05d}/img{index:08d}.png" for index in range(12)]
"""Folders of five images, which are not classes."""


def files_of(pixels: np.ndarray, metadata: dict[str, bytes], names: list[str] = NAMES) -> dict[str, bytes]:
    return dict(zip(names, map(png, pixels), strict=True)) | metadata


def as_folder(path: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (path / "x" / name).write_bytes(content)
    return str(path / "x")


def as_zip(path: Path, files: dict[str, bytes]) -> str:
    with zipfile.ZipFile(path / "x.zip", "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return str(path / "x.zip")


def as_wrapped_tar(path: Path, files: dict[str, bytes]) -> str:
    import tarfile

    with tarfile.open(path / "x.tar", "w") as archive:
        archive.add(as_folder(path, files), "everything")
    return str(path / "x.tar")


FORMS = pytest.mark.parametrize("form", [as_folder, as_zip, as_wrapped_tar])
Form = Callable[[Path, dict[str, bytes]], str]


@FORMS
@pytest.mark.parametrize(
    "labels",
    [
        [[name, int(label)] for name, label in zip(NAMES, LABELS, strict=True)],
        dict(zip(NAMES, LABELS.tolist(), strict=True)),
        [[name, np.eye(3)[label].tolist()] for name, label in zip(NAMES, LABELS, strict=True)],
        [[name.replace("/", "\\"), int(label)] for name, label in zip(NAMES, LABELS, strict=True)],
    ],
    ids=["pairs", "mapping", "one-hot", "backslashes"],
)
def test_dataset_json_has_the_labels(form: Form, labels: object, tmp_path: Path, pixels: np.ndarray) -> None:
    files = files_of(pixels, {"dataset.json": json.dumps({"labels": labels}).encode()})
    dataset = ImageDataset(prepare(form(tmp_path, files)))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.notes == []


@FORMS
def test_without_labels_its_folders_are_not_classes(form: Form, tmp_path: Path, pixels: np.ndarray) -> None:
    dataset = ImageDataset(prepare(form(tmp_path, files_of(pixels, {"dataset.json": b'{"labels": null}'}))))
    assert dataset.labels is None
    assert dataset.notes[0].endswith("dataset.json has no labels, and its folders are not classes")


def test_another_programs_dataset_json_is_ignored_and_counted(tmp_path: Path, pixels: np.ndarray) -> None:
    dataset = ImageDataset(prepare(as_folder(tmp_path, files_of(pixels, {"dataset.json": b"[1]"}))))
    assert dataset.num_classes == 3
    assert dataset.notes == ["ignored 1 file that is not a supported image (.json)"]


def csv(names: list[str], labels: list[object], column: str = "label") -> bytes:
    rows = "".join(f'{name},{label},"a, caption"\n' for name, label in zip(names, labels, strict=True))
    return f"file_name,{column},text\n{rows}".encode()


def jsonl(names: list[str], labels: list[object], column: str = "label") -> bytes:
    rows = [
        {"file_name": name, column: label, "text": "x"} for name, label in zip(names, labels, strict=True)
    ]
    return "\n".join(map(json.dumps, rows)).encode()


def parquet(names: list[str], labels: list[object], column: str = "label") -> bytes:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    sink = pyarrow.BufferOutputStream()
    pq.write_table(pyarrow.table({"file_name": names, column: labels, "text": ["x"] * len(names)}), sink)
    return bytes(sink.getvalue().to_pybytes())


TABLES = pytest.mark.parametrize(
    ("suffix", "table"),
    [("csv", csv), ("jsonl", jsonl), ("parquet", parquet)],
    ids=["csv", "jsonl", "parquet"],
)
Table = Callable[..., bytes]


@FORMS
@TABLES
@pytest.mark.parametrize("kind", ["numbers", "words"])
def test_tables_have_the_labels(
    kind: str, suffix: str, table: Table, form: Form, tmp_path: Path, pixels: np.ndarray
) -> None:
    flat = [f"{index:02d}.png" for index in range(12)]
    labels = LABELS.tolist() if kind == "numbers" else [CLASSES[label] for label in LABELS]
    files = files_of(pixels, {f"metadata.{suffix}": table(flat, labels)}, flat)
    dataset = ImageDataset(prepare(form(tmp_path, files)))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.info["class_names"] == (None if kind == "numbers" else list(CLASSES))
    (note,) = dataset.notes
    assert note.endswith(f"metadata.{suffix} that were not read: text")


def test_the_library_of_the_hub_reads_the_same_labels(tmp_path: Path, pixels: np.ndarray) -> None:
    datasets = pytest.importorskip("datasets")
    flat = [f"{index:02d}.png" for index in range(12)]
    folder = as_folder(tmp_path, files_of(pixels, {"metadata.csv": csv(flat, LABELS.tolist())}, flat))
    theirs = datasets.load_dataset(
        "imagefolder", data_dir=folder, split="train", cache_dir=str(tmp_path / "hf")
    )
    dataset = ImageDataset(prepare(folder))
    assert dataset.labels.tolist() == theirs["label"]
    for image, row in zip(dataset.images, theirs, strict=True):
        np.testing.assert_array_equal(image.transpose(1, 2, 0), np.asarray(row["image"]))


@TABLES
def test_each_split_has_its_table_and_classes_have_one_number(
    suffix: str, table: Table, tmp_path: Path, pixels: np.ndarray
) -> None:
    files = files_of(pixels[:4], {}, ["train/a.png", "train/b.png", "test/a.png", "test/b.png"])
    files[f"train/metadata.{suffix}"] = table(["a.png", "b.png"], ["cat", "eel"])
    files[f"test/metadata.{suffix}"] = table(["a.png", "b.png"], ["dog", "eel"])
    source = as_folder(tmp_path, files)
    for split, wanted in {"train": [0, 2], "test": [1, 2]}.items():
        dataset = ImageDataset(prepare(source, selection=Selection(split=split)))
        assert (dataset.info["class_names"], dataset.labels.tolist()) == (["cat", "dog", "eel"], wanted)


def test_a_column_can_be_named_and_others_are_said(tmp_path: Path, pixels: np.ndarray) -> None:
    flat = [f"{index:02d}.png" for index in range(12)]
    source = as_folder(tmp_path, files_of(pixels, {"metadata.csv": csv(flat, LABELS.tolist(), "kind")}, flat))
    plain = ImageDataset(prepare(source))
    assert plain.labels is None
    assert plain.notes == ["columns of metadata.csv that were not read: kind, text"]
    named = ImageDataset(prepare(source, selection=Selection(label_column="kind")))
    np.testing.assert_array_equal(named.labels, LABELS)
    with pytest.raises(
        ValueError, match=r"label_column is 'sort', but 'metadata\.csv' has the columns file_name"
    ):
        prepare(source, selection=Selection(label_column="sort"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("dataset.json", b"{", "x/dataset.json' is not a valid .json file"),
        ("dataset.json", b'{"labels": [[1, 2]]}', "x/dataset.json' is not a valid .json file: it has a file"),
        ("dataset.json", b'{"labels": [["a.png", 0.5]]}', "has the label 0.5; .*--labels none"),
        ("dataset.json", b"[" * 100_000, "x/dataset.json' is not a valid .json file"),
        ("metadata.csv", b"\xff\xfe", "x/metadata.csv' is not a valid .csv file"),
        ("metadata.jsonl", b"[1]\n", "it has a line that is not a mapping"),
        ("metadata.parquet", b"PAR1", "x/metadata.parquet' is not a valid .parquet file"),
        (
            "metadata.csv",
            b"file_name,label\n00000/img00000000.png,1\n",
            "has 11 images without a class from 0",
        ),
    ],
    ids=str,
)
def test_damaged_metadata_is_named(
    name: str, content: bytes, words: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    with pytest.raises(ValueError, match=words):
        prepare(as_folder(tmp_path, files_of(pixels, {name: content})))


def test_a_table_without_file_names_and_one_of_other_files_are_noted(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    source = make_folder(tmp_path / "x", pixels)
    (source / "metadata.csv").write_text("path,label\nape/00.png,0\n")
    assert ImageDataset(prepare(str(source))).notes == [
        "metadata.csv was not read, as it has no column file_name but path, label"
    ]
    names = sorted(file.relative_to(source).as_posix() for file in source.rglob("*.png"))
    (source / "metadata.csv").write_bytes(csv([*names, "gone.png"], [0] * 12 + [1]))
    dataset = ImageDataset(prepare(str(source)))
    assert set(dataset.labels) == {0}
    assert "classes are the labels in metadata.csv, not the folders" in dataset.notes
    assert "metadata.csv names 1 files that are not there, such as gone.png" in dataset.notes


def test_labels_none_reads_no_metadata_labels(tmp_path: Path, pixels: np.ndarray) -> None:
    files = files_of(pixels, {"dataset.json": b'{"labels": [["a.png", 0.5]]}'})
    dataset = ImageDataset(prepare(as_folder(tmp_path, files), selection=Selection(labels="none")))
    assert dataset.labels is None


def test_changed_metadata_is_read_again(tmp_path: Path, pixels: np.ndarray) -> None:
    flat = [f"{index:02d}.png" for index in range(12)]
    source = as_folder(tmp_path, files_of(pixels, {"metadata.csv": csv(flat, LABELS.tolist())}, flat))
    first = prepare(source)
    (Path(source) / "metadata.csv").write_bytes(csv(flat, LABELS[::-1].tolist()))
    second = prepare(source)
    assert first != second
    np.testing.assert_array_equal(ImageDataset(second).labels, LABELS[::-1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_named_like_metadata_is_not_opened(tmp_path: Path, pixels: np.ndarray) -> None:
    source = make_folder(tmp_path / "x", pixels)
    os.mkfifo(source / "dataset.json")
    os.mkfifo(source / "metadata.csv")
    assert not is_prepared(source)
    assert ImageDataset(prepare(str(source))).num_classes == 3
