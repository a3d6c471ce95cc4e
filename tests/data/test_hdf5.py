"""HDF5 files, made by h5py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import CLASSES, LABELS

from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import hdf5, open_reader

h5py: Any = pytest.importorskip("h5py")


@pytest.mark.parametrize(
    "options", [{}, {"chunks": True}, {"compression": "gzip", "chunks": (5, 9, 9, 1)}], ids=str
)
@pytest.mark.parametrize("block", [1, 1000, 1 << 23])
def test_images_and_labels(
    block: int,
    options: dict[str, Any],
    tmp_path: Path,
    pixels: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hdf5, "BLOCK_BYTES", block)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", data=pixels, **options)
        file["labels"], file["extra"] = LABELS[:, None], np.zeros(3)
    dataset = ImageDataset(prepare(str(tmp_path / "x.h5")))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.notes == [f"arrays of '{tmp_path / 'x.h5'}' that were not read: extra"]


def test_groups_may_be_splits_and_labels_text(tmp_path: Path, pixels: np.ndarray) -> None:
    words = np.array(CLASSES, object)[LABELS]
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        for split, part in (("train", slice(0, 8)), ("test", slice(8, 12))):
            file[f"{split}/images"] = pixels[part]
            file.create_dataset(f"{split}/labels", data=words[part], dtype=h5py.string_dtype())
    both = np.roll(np.arange(12), 4)  # in the order of the names
    for split, part in (("train", np.arange(8)), ("test", np.arange(8, 12)), ("all", both)):
        dataset = ImageDataset(prepare(str(tmp_path / "x.hdf5"), selection=Selection(split=split)))
        np.testing.assert_array_equal(dataset.images, pixels[part].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(dataset.labels, LABELS[part])
        assert dataset.info["class_names"] == list(CLASSES)


def test_arrays_can_be_named(tmp_path: Path, pixels: np.ndarray) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["photos"], file["kinds"] = pixels, LABELS
    with pytest.raises(ValueError, match="has the arrays kinds, photos; one must be named images"):
        open_reader(str(tmp_path / "x.h5"))
    selection = Selection(image_column="photos", label_column="kinds")
    np.testing.assert_array_equal(
        ImageDataset(prepare(str(tmp_path / "x.h5"), selection=selection)).labels, LABELS
    )


def test_arrays_in_other_files_are_not_read(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "secret").write_bytes(bytes(81))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = pixels
    with h5py.File(tmp_path / "external.h5", "w") as file:
        outside = [(str(tmp_path / "secret"), 0, 81)]
        file.create_dataset("images", shape=(1, 9, 9), dtype="u1", external=outside)
    with h5py.File(tmp_path / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout((12, 9, 9, 3), "u1")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "images", (12, 9, 9, 3))
        file.create_virtual_dataset("images", layout)
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["images"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "images")
    for name, words in [
        ("external", "images is in other files"),
        ("virtual", "images is in other files"),
        ("linked", "has no arrays"),
    ]:
        with pytest.raises(ValueError, match=words):
            open_reader(str(tmp_path / f"{name}.h5"))


def test_chunks_that_would_fill_the_memory_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset(
            "images", (2, 40_000, 40_000), "u1", chunks=(1, 40_000, 40_000), compression="gzip"
        )
    with pytest.raises(ValueError, match=r"has chunks of 1,600,000,000 bytes; the limit is 268,435,456"):
        open_reader(str(tmp_path / "x.h5"))


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_damaged_files_are_named(cut: int, tmp_path: Path, pixels: np.ndarray) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = pixels
    (tmp_path / "x.h5").write_bytes((tmp_path / "x.h5").read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"x.h5' is not a valid HDF5 file"):
        list(open_reader(str(tmp_path / "x.h5")))
