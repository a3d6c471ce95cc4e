"""Labels in all forms, for files of every kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import CLASSES, LABELS, make_folder, png
from hypothesis import given
from hypothesis import strategies as st

from ddgan.data.inspection import check_dataset
from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers.labels import LabelNumbers, class_numbers, natural_order

WORDS = np.array(CLASSES)[LABELS]
ONE_HOT = np.eye(3)[LABELS]


def test_numbers_in_names_are_ordered_by_value() -> None:
    given = ["10", "2", "1", "b10", "b2", "b02", "a", "class 9x3", "class 9x20", ""]
    wanted = ["", "1", "2", "10", "a", "b02", "b2", "b10", "class 9x3", "class 9x20"]
    assert sorted(given, key=natural_order) == wanted


@given(st.lists(st.integers(0, 10**30)))
def test_whole_numbers_are_ordered_like_numbers(numbers: list[int]) -> None:
    assert [int(text) for text in sorted(map(str, numbers), key=natural_order)] == sorted(numbers)


@given(st.lists(st.text(max_size=8), unique=True))
def test_the_order_does_not_depend_on_the_order_before(names: list[str]) -> None:
    assert sorted(names, key=natural_order) == sorted(set(names), key=natural_order)


def test_class_folders_are_in_natural_order(tmp_path: Path, pixels: np.ndarray) -> None:
    for index, name in enumerate(("10", "2", "1")):
        (tmp_path / "x" / name).mkdir(parents=True)
        (tmp_path / "x" / name / "a.png").write_bytes(png(pixels[index]))
    dataset = ImageDataset(prepare(str(tmp_path / "x")))
    assert dataset.info["class_names"] == ["1", "2", "10"]
    found = {int(label): image.tobytes() for label, image in zip(dataset.labels, dataset.images, strict=True)}
    assert found == {label: pixels[2 - label].transpose(2, 0, 1).tobytes() for label in range(3)}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (LABELS, None),
        (LABELS[:, None], None),
        (LABELS.astype(np.uint8)[:, None], None),
        (WORDS, list(CLASSES)),
        (WORDS.astype("S"), list(CLASSES)),
        (WORDS[:, None], list(CLASSES)),
        (ONE_HOT, ["0", "1", "2"]),
        (ONE_HOT.astype(bool), ["0", "1", "2"]),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_labels_of_an_npz(
    labels: np.ndarray, names: list[str] | None, tmp_path: Path, pixels: np.ndarray
) -> None:
    np.savez(tmp_path / "x.npz", images=pixels, labels=labels)
    dataset = ImageDataset(prepare(str(tmp_path / "x.npz")))
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.info["class_names"] == names


@pytest.mark.parametrize(
    "labels",
    [
        LABELS / 2,
        np.ones((12, 3)),
        np.zeros((12, 2, 2)),
        np.array(["a"] * 12, object),
        LABELS[:5],
        LABELS - 1,
    ],
    ids=["halves", "several", "deep", "objects", "few", "negative"],
)
def test_what_is_not_a_label_is_refused_and_can_be_dropped(
    labels: np.ndarray, tmp_path: Path, pixels: np.ndarray
) -> None:
    np.savez(tmp_path / "x.npz", images=pixels, labels=labels)
    with pytest.raises(ValueError, match=r"--labels none --out DATA|labels must be 0 or more"):
        prepare(str(tmp_path / "x.npz"))
    dataset = ImageDataset(prepare(str(tmp_path / "x.npz"), selection=Selection(labels="none")))
    assert (len(dataset), dataset.labels) == (12, None)


@pytest.mark.parametrize(
    "column",
    [LABELS.tolist(), WORDS.tolist(), ONE_HOT.astype(int).tolist(), [[int(label)] for label in LABELS]],
    ids=["integers", "strings", "one-hot", "lists of one"],
)
def test_labels_of_a_parquet(column: list[Any], tmp_path: Path, pixels: np.ndarray) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = {"image": [png(image) for image in pixels], "label": column, "caption": ["x"] * 12}
    pq.write_table(pyarrow.table(rows), tmp_path / "x.parquet")
    dataset = ImageDataset(prepare(str(tmp_path / "x.parquet")))
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.notes == [f"columns of '{tmp_path / 'x.parquet'}' that were not read: caption"]
    report = check_dataset(str(tmp_path / "x.parquet"))
    assert report.per_class == {0: 4, 1: 4, 2: 4}
    assert report.notes == dataset.notes


def test_text_labels_have_one_number_in_all_splits_of_a_parquet(tmp_path: Path, pixels: np.ndarray) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    for split, labels in {"train": ["cat", "eel"], "test": ["dog", "eel"]}.items():
        rows = {
            "image": [png(image) for image in pixels[:2]],
            "label": pyarrow.array(labels).dictionary_encode(),
        }
        pq.write_table(pyarrow.table(rows), tmp_path / f"{split}.parquet")
    for split, wanted in {"train": [0, 2], "test": [1, 2]}.items():
        dataset = ImageDataset(prepare(str(tmp_path), selection=Selection(split=split)))
        assert dataset.info["class_names"] == ["cat", "dog", "eel"]
        assert dataset.labels.tolist() == wanted


@pytest.mark.parametrize("label", [0.5, [1, 1, 0], [[1]], {"a": 1}, [0.2, 0.8]], ids=str)
def test_a_label_of_a_row_that_is_none_is_refused(label: Any) -> None:
    with pytest.raises(ValueError, match=r"row 3 has the label .*; to drop labels, say so"):
        LabelNumbers("say so").number("row 3", label)


def test_missing_and_negative_labels_have_no_number() -> None:
    numbers = LabelNumbers("say so")
    assert [numbers.number("x", label) for label in (None, -1, 2)] == [None, None, 2]
    with pytest.raises(ValueError, match="has a label that is a string, but earlier labels are an integer"):
        numbers.number("x", "two")


def test_arrays_of_labels_agree_with_labels_one_by_one() -> None:
    for labels in (LABELS, WORDS, ONE_HOT, WORDS[::-1]):
        one_by_one = LabelNumbers("say so")
        found = np.array([one_by_one.number("x", label) for label in labels.tolist()])
        together, names = class_numbers(labels, "x", "say so")
        np.testing.assert_array_equal(one_by_one.numbered(found), together)
        assert one_by_one.class_names == names


def test_labels_that_all_are_missing_are_noted_by_their_column(tmp_path: Path, pixels: np.ndarray) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = {"image": [png(image) for image in pixels], "label": [-1] * 12}
    pq.write_table(pyarrow.table(rows), tmp_path / "x.parquet")
    dataset = ImageDataset(prepare(str(tmp_path / "x.parquet")))
    assert dataset.labels is None
    assert dataset.notes == ["no image has a label from 0 in 'label', so there are no classes"]


def test_the_folder_of_a_class_keeps_its_meaning(tmp_path: Path, pixels: np.ndarray) -> None:
    dataset = ImageDataset(prepare(str(make_folder(tmp_path / "x", pixels))))
    assert (dataset.notes, dataset.info["class_names"]) == ([], list(CLASSES))
