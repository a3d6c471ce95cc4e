"""Images in parquet, LMDB and datasets of the Hub."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from data_files import LABELS, png
from forms import SOURCES, lmdb_of, parquet
from PIL import Image

from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import Wanted, columns, databases, open_reader
from shared_data import shared


def test_columns_can_be_named(tmp_path: Path, pixels: np.ndarray) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = {"photo": [png(image) for image in pixels], "kind": LABELS.tolist(), "label": [0] * 12}
    pq.write_table(pyarrow.table(rows), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match=r"columns photo, kind, label; .* --image_column NAME"):
        open_reader(str(tmp_path / "x.parquet"))
    with pytest.raises(ValueError, match="label_column is 'sort', but"):
        open_reader(str(tmp_path / "x.parquet"), "", Wanted("photo", "sort"))
    items = list(open_reader(str(tmp_path / "x.parquet"), "", Wanted("photo", "kind")))
    assert [item.label for item in items] == LABELS.tolist()


def test_rows_without_an_image_are_problems(tmp_path: Path, pixels: np.ndarray) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = {"image": [{"bytes": png(pixels[0])}, {"bytes": None}, None], "label": [0, 1, -1]}
    pq.write_table(pyarrow.table(rows), tmp_path / "x.parquet")
    items = list(open_reader(str(tmp_path / "x.parquet")))
    assert [bool(item.problem) for item in items] == [False, True, True]


def test_damaged_tables_are_named(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("lmdb")
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "y.lmdb").mkdir()
    (tmp_path / "y.lmdb" / "data.mdb").write_bytes(b"x" * 5000)
    for name in ("x.parquet", "y.lmdb"):
        with pytest.raises(ValueError, match=name):
            open_reader(str(tmp_path / name))


def test_splits_of_parquet_and_lmdb_folders(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = Path(parquet(tmp_path, pixels))
    (folder / "train-00007.parquet").rename(folder / "test-00000.parquet")
    assert len(open_reader(str(folder), "train")) == 7
    assert len(open_reader(str(folder), "test")) == 5
    assert len(open_reader(str(folder), "all")) == 12
    with pytest.raises(ValueError, match="has no split validation; it has test, train"):
        open_reader(str(folder), "validation")


@pytest.mark.parametrize(
    ("train", "validation"),
    [("train.lmdb", "validation.lmdb"), ("church_outdoor_train_lmdb", "church_outdoor_val_lmdb")],
    ids=["celeba", "lsun"],
)
def test_the_lmdb_of_a_split_is_chosen(
    train: str, validation: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    """CelebA-HQ's published preparation and LSUN lay an LMDB of each split into one folder."""
    folder = tmp_path / "both"
    folder.mkdir()
    lmdb_of(folder / train, {b"0": pixels[0].tobytes()})
    lmdb_of(folder / validation, {b"0": pixels[1].tobytes(), b"1": pixels[2].tobytes()})
    for split, numbers in [("", [0]), ("train", [0]), ("validation", [1, 2]), ("all", [0, 1, 2])]:
        reader = open_reader(str(folder), split)
        assert len(reader) == len(numbers)
        for item, number in zip(reader, numbers, strict=True):
            np.testing.assert_array_equal(np.asarray(item.content), pixels[number])
    assert ImageDataset(prepare(str(folder))).info["split"] == "train"
    with pytest.raises(ValueError, match="has no split test; it has train, validation"):
        open_reader(str(folder), "test")
    with pytest.raises(ValueError, match=r"split is validation, but .* has no splits"):
        open_reader(str(folder / train), "validation")


@pytest.mark.parametrize("stretch", [1, 500, 600, 1 << 20])
def test_an_lmdb_is_read_in_stretches_that_miss_nothing(
    stretch: int, tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "STRETCH", stretch)
    for form in ("lsun lmdb", "raw lmdb"):
        dataset = ImageDataset(prepare(SOURCES[form](tmp_path, pixels), tmp_path / form))
        np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))


def test_a_raw_lmdb_with_an_odd_value_names_it(tmp_path: Path, pixels: np.ndarray) -> None:
    source = lmdb_of(tmp_path / "x.lmdb", {b"0": pixels[0].tobytes(), b"1": pixels[1].tobytes()[:-3]})
    problems = [item.problem for item in open_reader(source)]
    assert problems[0] == ""
    assert problems[1].startswith("it has 240 bytes, but 9 x 9 RGB has 243")


def test_a_missing_package_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ValueError, match=r"needs the package nothing_like_this; .*pip install 'ddgan\[data\]'"
    ):
        columns.required("nothing_like_this")


def test_real_cifar10_in_parquet() -> None:
    reader = open_reader(str(shared("cifar10")), "test")
    assert len(reader) == 10_000
    assert reader.class_names is not None
    assert reader.class_names[3] == "cat"
    first = next(iter(reader))
    assert isinstance(first.content, bytes)
    assert Image.open(io.BytesIO(first.content)).size == (32, 32)


def test_selection_passes_on_the_split(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = Path(parquet(tmp_path, pixels))
    (folder / "train-00007.parquet").rename(folder / "test-00000.parquet")
    path = prepare(str(folder), selection=Selection(split="test", labels="none"))
    dataset = ImageDataset(path)
    assert len(dataset) == 5
    assert dataset.labels is None


@pytest.mark.parametrize("form", ["lsun lmdb", "raw lmdb"])
def test_entries_beside_the_images_of_an_lmdb_are_known(
    form: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    lmdb = pytest.importorskip("lmdb")
    source = SOURCES[form](tmp_path, pixels)
    with lmdb.open(source, map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key in (b"length", b"__keys__", b"num-samples"):
            transaction.put(key, b"12")
    assert len(open_reader(source)) == 12
    np.testing.assert_array_equal(ImageDataset(prepare(source)).images, pixels.transpose(0, 3, 1, 2))
