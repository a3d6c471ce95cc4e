"""Datasets in the Hub's forms, opened from local folders through the same code as from the Hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import CLASSES, LABELS, make_folder, png
from forms import parquet

from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import Wanted, open_reader
from ddgan.data.readers.huggingface import _name_and_config, _with_bytes

pytest.importorskip("datasets")


def contents(source: str, split: str = "") -> list[bytes]:
    return [item.content for item in open_reader(source, split) if isinstance(item.content, bytes)]


def test_image_folders_are_read_though_their_rows_are_only_paths(tmp_path: Path, pixels: np.ndarray) -> None:
    make_folder(tmp_path / "x" / "train", pixels)
    make_folder(tmp_path / "x" / "test", pixels[::-1])
    source = f"hf:{tmp_path / 'x'}"
    dataset = ImageDataset(prepare(source, tmp_path / "out"))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.info["class_names"] == list(CLASSES)
    assert dataset.info["split"] == "train"


def test_paths_without_bytes_and_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"content")
    assert _with_bytes({"path": str(tmp_path / "x.png"), "bytes": None}) == {"bytes": b"content"}
    assert _with_bytes({"path": "gone.png", "bytes": b"kept"}) == {"path": "gone.png", "bytes": b"kept"}
    assert _with_bytes({"path": None, "bytes": None}) == {"path": None, "bytes": None}
    assert _with_bytes(b"plain") == b"plain"


def test_a_missing_image_names_the_dataset(tmp_path: Path, pixels: np.ndarray) -> None:
    make_folder(tmp_path / "x", pixels)
    reader = open_reader(f"hf:{tmp_path / 'x'}", "train")
    (tmp_path / "x" / "cow" / "11.png").unlink()
    with pytest.raises(ValueError, match=r"'hf:.*x' is not a dataset that can be read to the end: .*11.png"):
        list(reader)


def with_readme(folder: Path, pixels: np.ndarray) -> Path:
    """Two configurations, one of which has splits of unusual names."""
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    folder.mkdir()
    for index, name in enumerate(("small-train", "small-dev", "small-extra", "large-train")):
        rows = {"image": [{"bytes": png(pixels[index]), "path": None}], "label": [index]}
        pq.write_table(pyarrow.table(rows), folder / f"{name}.parquet")
    small = "".join(
        f"  - split: {split}\n    path: small-{split}.parquet\n" for split in ("train", "dev", "extra")
    )
    (folder / "README.md").write_text(
        f"---\nconfigs:\n- config_name: small\n  data_files:\n{small}- config_name: large\n"
        "  data_files:\n  - split: train\n    path: large-train.parquet\n---\n"
    )
    return folder


def test_a_configuration_is_named_after_a_colon(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = with_readme(tmp_path / "x", pixels)
    assert contents(f"hf:{folder}:small") == [png(pixels[0])]
    assert contents(f"hf:{folder}:large") == [png(pixels[3])]
    with pytest.raises(ValueError, match=r"hf:OWNER/NAME:CONFIG: .*small"):
        open_reader(f"hf:{folder}")
    small, large = (prepare(f"hf:{folder}:{name}") for name in ("small", "large"))
    assert small != large


def test_splits_are_found_by_their_own_name_or_by_what_it_means(tmp_path: Path, pixels: np.ndarray) -> None:
    source = f"hf:{with_readme(tmp_path / 'x', pixels)}:small"
    for split, index in [("validation", 1), ("dev", 1), ("val", 1), ("extra", 2)]:
        assert contents(source, split) == [png(pixels[index])], split
    assert contents(source, "all") == [png(image) for image in pixels[:3]]
    with pytest.raises(ValueError, match=r"has no split test; it has train, validation, extra"):
        open_reader(source, "test")
    path = prepare(source, selection=Selection(split="dev"))
    assert ImageDataset(path).info["split"] == "dev"


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("owner/name", ("owner/name", None)),
        ("owner/name:config", ("owner/name", "config")),
        ("cifar10", ("cifar10", None)),
        ("/a:b/name", ("/a:b/name", None)),
        ("owner/name:", ("owner/name:", None)),
    ],
)
def test_names_with_a_configuration(name: str, parts: tuple[str, str | None]) -> None:
    assert _name_and_config(name) == parts


def test_a_changed_local_dataset_is_prepared_again(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = make_folder(tmp_path / "x", pixels)
    first = prepare(f"hf:{folder}")
    (folder / "ape" / "00.png").write_bytes(png(255 - pixels[0]))
    second = prepare(f"hf:{folder}")
    assert second != first
    np.testing.assert_array_equal(ImageDataset(second).images[0], (255 - pixels[0]).transpose(2, 0, 1))


def test_columns_are_those_of_the_dataset(tmp_path: Path, pixels: np.ndarray) -> None:
    source = f"hf:{parquet(tmp_path, pixels)}"
    with pytest.raises(ValueError, match=r"image_column is 'photo', but 'hf:.*' has the columns image"):
        open_reader(source, "", Wanted("photo"))


# --- save_to_disk -----------------------------------------------------------------------------------


def saved(path: Path, pixels: np.ndarray, labels: list[object], *, is_named: bool) -> str:
    import datasets

    label = datasets.ClassLabel(names=list(CLASSES)) if is_named else datasets.Value("string")
    features = datasets.Features({"image": datasets.Image(), "label": label, "id": datasets.Value("int64")})
    rows = {
        "image": [{"bytes": png(one), "path": None} for one in pixels],
        "label": labels,
        "id": LABELS.tolist(),
    }
    datasets.Dataset.from_dict(rows, features).save_to_disk(str(path))
    return str(path)


@pytest.mark.parametrize("is_named", [True, False])
def test_a_saved_dataset(is_named: bool, tmp_path: Path, pixels: np.ndarray) -> None:
    labels = LABELS.tolist() if is_named else [CLASSES[label] for label in LABELS]
    source = saved(tmp_path / "x", pixels, labels, is_named=is_named)
    dataset = ImageDataset(prepare(source))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.info["class_names"] == list(CLASSES)
    assert dataset.notes == [f"columns of '{source}' that were not read: id"]
    with pytest.raises(ValueError, match="has no splits; leave --split out"):
        open_reader(source, "test")


def test_a_saved_dataset_of_several_splits(tmp_path: Path, pixels: np.ndarray) -> None:
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("string")})
    given = {"train": (pixels[:2], ["cat", "eel"]), "test": (pixels[2:4], ["dog", "eel"])}
    found = {
        split: datasets.Dataset.from_dict(
            {"image": [{"bytes": png(one), "path": None} for one in images], "label": labels}, features
        )
        for split, (images, labels) in given.items()
    }
    datasets.DatasetDict(found).save_to_disk(str(tmp_path / "x"))
    for split, wanted in {"": [0, 2], "test": [1, 2]}.items():
        dataset = ImageDataset(prepare(str(tmp_path / "x"), selection=Selection(split=split)))
        assert (dataset.info["class_names"], dataset.labels.tolist()) == (["cat", "dog", "eel"], wanted)
        images = given[split or "train"][0]
        np.testing.assert_array_equal(dataset.images, images.transpose(0, 3, 1, 2))
    with pytest.raises(ValueError, match="has no split validation; it has train, test"):
        open_reader(str(tmp_path / "x"), "validation")


def test_a_damaged_saved_dataset_is_named(tmp_path: Path, pixels: np.ndarray) -> None:
    source = saved(tmp_path / "x", pixels, LABELS.tolist(), is_named=True)
    (arrow,) = Path(source).glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:100])
    with pytest.raises(ValueError, match="x' is not a dataset that"):
        list(open_reader(source))
