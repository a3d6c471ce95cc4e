"""Pixels in arrays: .npy, .npz, IDX, CIFAR-10, StackedMNIST."""

from __future__ import annotations

import gzip
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forms import cifar, idx

from ddgan.data.decode import decode
from ddgan.data.preparation import prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import open_reader
from shared_data import shared


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.zeros((2, 6, 5), np.uint8), (6, 5, 1)),
        (np.zeros((2, 6, 5, 3), np.uint8), (6, 5, 3)),
        (np.zeros((2, 3, 6, 5), np.uint8), (6, 5, 3)),
        (np.zeros((2, 6, 5, 7), np.uint8), (6, 5, 7)),
        (np.ones((2, 6, 5), np.bool_), (6, 5, 1)),
        (np.full((2, 6, 5), 65535, np.uint16), (6, 5, 1)),
    ],
    ids=str,
)
def test_arrays_of_these_forms(array: np.ndarray, shape: tuple[int, ...], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", array)
    image = decode(next(iter(open_reader(str(tmp_path / "x.npy")))).content)
    assert image.shape == shape
    assert image.dtype == np.uint8
    assert image.max() == (255 if array.any() else 0)


def test_channels_first_are_turned(tmp_path: Path, pixels: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", pixels.transpose(0, 3, 1, 2))
    dataset = ImageDataset(prepare(str(tmp_path / "x.npy")))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((2, 4, 4), np.float32)}, "float32; convert them to uint8"),
        ({"images": np.zeros((4, 4), np.uint8)}, r"shape \(4, 4\)"),
        ({"images": np.zeros((0, 4, 4), np.uint8)}, r"shape \(0, 4, 4\)"),
        ({"pictures": np.zeros((2, 4, 4), np.uint8)}, "the arrays pictures; one must be named images"),
        (
            {"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3, np.int64)},
            "there must be 2 integers",
        ),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, -1])}, "a label -1"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0.5, 1])}, "there must be 2 integers"),
        ({"images": np.zeros((2, 4, 4), object)}, "of type object; convert them to uint8"),
    ],
    ids=str,
)
def test_mistakes_in_arrays(arrays: dict[str, np.ndarray], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words):
        open_reader(str(tmp_path / "x.npz"))


@pytest.mark.parametrize("name", ["x.npz", "x.npy"])
def test_damaged_arrays_are_named(name: str, tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / name
    if name.endswith("z"):
        np.savez(path, images=pixels)
    else:
        np.save(path, pixels)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=name):
        open_reader(str(path))


def test_mnist_files_gzipped_or_not(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(5, 28, 28), dtype=np.uint8)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(5))))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images[:2]))
    for split, count in [("train", 5), ("test", 2), ("all", 7)]:
        items = list(open_reader(str(tmp_path), split))
        assert len(items) == count
        np.testing.assert_array_equal(items[-1].content, images[1] if split == "test" else images[4])
        assert (items[0].label is None) == (split != "train")
    single = open_reader(str(tmp_path / "train-images-idx3-ubyte.gz"))
    assert [item.label for item in single] == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="has no split validation; it has test, train"):
        open_reader(str(tmp_path), "validation")


@pytest.mark.parametrize("cut", [2, 10, 100])
def test_truncated_idx_files_are_named(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx(np.zeros((5, 28, 28)))[:cut])
    with pytest.raises(ValueError, match="train-images-idx3-ubyte"):
        open_reader(str(path))


def test_cifar_batches_in_a_folder_or_a_tar(tmp_path: Path) -> None:
    images = cifar(tmp_path / "cifar-10-batches-py")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    for source in (tmp_path, tmp_path / "cifar-10-batches-py", tmp_path / "cifar-10-python.tar.gz"):
        reader = open_reader(str(source))
        items = list(reader)
        np.testing.assert_array_equal(np.stack([item.content for item in items]), images[:10])
        assert [item.label for item in items] == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5]
        assert reader.class_names == tuple(f"c{i}" for i in range(10))
        assert len(list(open_reader(str(source), "test"))) == 2


class Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this must never run",)


@pytest.mark.parametrize("content", [Hostile(), {b"data": Hostile(), b"labels": [0]}, [1, 2], {}])
def test_hostile_and_strange_cifar_pickles_are_refused_unrun(
    content: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cifar(tmp_path / "x")
    (tmp_path / "x" / "data_batch_3").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match=r"data_batch_3' is not a (valid )?CIFAR batch"):
        open_reader(str(tmp_path / "x"))
    assert capsys.readouterr().out == ""


def test_stacked_mnist_is_fixed_and_labelled() -> None:
    folder = shared("mnist")
    train, test = (open_reader(f"stackedmnist:{folder}", split) for split in ("train", "test"))
    assert (len(train), len(test)) == (120_000, 20_000)
    digits = open_reader(str(folder))
    by_label: dict[int, set[bytes]] = {}
    for item in digits:
        assert item.label is not None
        by_label.setdefault(item.label, set()).add(np.asarray(item.content).tobytes())
    iterator = iter(train)
    items = [next(iterator) for _ in range(50)]
    for item in items:
        image = np.asarray(item.content)
        assert image.shape == (32, 32, 3)
        assert not image[:2].any()
        assert not image[:, -2:].any()
        for channel, digit in enumerate(f"{item.label:03d}"):
            assert image[2:-2, 2:-2, channel].tobytes() in by_label[int(digit)]
    again = iter(open_reader(f"stackedmnist:{folder}"))
    assert all(np.array_equal(next(again).content, item.content) for item in items)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="splits train and test"):
        open_reader(f"stackedmnist:{folder}", "all")
