"""Pixels in arrays: .npy, .npz, IDX, CIFAR-10, StackedMNIST."""

from __future__ import annotations

import gzip
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import LABELS, png
from forms import cifar, idx

from ddgan.data.decode import Preparation, decode
from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import Wanted, open_reader
from ddgan.data.readers.arrays import ArrayReader
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


# --- layouts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "layout", "certain"),
    [
        ((9, 16, 16), "NHW", True),
        ((9, 16, 16, 3), "NHWC", True),
        ((9, 3, 16, 16), "NCHW", True),
        ((9, 1, 16, 16), "NCHW", True),
        ((9, 12, 16, 16), "NCHW", False),
        ((9, 16, 16, 12), "NHWC", False),
        ((9, 16, 12, 20), "NHWC", False),
        ((9, 16, 16, 16), "NHWC", False),
        ((9, 3, 4, 4), "NHWC", False),
        ((16, 16, 3), "HWC", False),
        ((16, 16, 4), "HWC", False),
        ((16, 16, 1), "HWC", False),
        ((3, 16, 16), "NHW", False),
    ],
)
def test_the_axes_are_found_and_said_where_they_are_not_certain(
    shape: tuple[int, ...], layout: str, certain: bool, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros(shape, np.uint8))
    reader = open_reader(str(tmp_path / "x.npy"))
    assert isinstance(reader, ArrayReader)
    assert reader.layout == layout
    assert (reader.notes == ()) == certain
    if not certain:
        assert f"has shape {shape}, read as {layout}:" in reader.notes[0]
        assert "if that is wrong, set layout, such as" in reader.notes[0]


@pytest.mark.parametrize("layout", ["NHW", "NHWC", "NCHW", "HW", "HWC", "CHW"])
def test_the_axes_can_be_stated(layout: str, tmp_path: Path) -> None:
    """The images are those of moving the axes to N, C, H, W by their letters."""
    array = np.random.default_rng(0).integers(256, size=(3, 2, 5, 6)[: len(layout)], dtype=np.uint8)
    np.save(tmp_path / "x.npy", array)
    dataset = ImageDataset(prepare(str(tmp_path / "x.npy"), selection=Selection(layout=layout)))  # type: ignore[arg-type]
    missing = [axis for axis in "NC" if axis not in layout]
    whole = array.reshape(*array.shape, *[1] * len(missing))
    order = [(layout + "".join(missing)).index(axis) for axis in "NCHW"]
    np.testing.assert_array_equal(dataset.images, whole.transpose(order))
    assert dataset.notes == []
    other = "NHW" if len(layout) != 3 else "HW"
    with pytest.raises(ValueError, match=f"layout is {other}, but .* has {len(layout)} axes"):
        prepare(str(tmp_path / "x.npy"), selection=Selection(layout=other))  # type: ignore[arg-type]


def test_one_image_is_one_image(tmp_path: Path, pixels: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", pixels[0])
    np.save(tmp_path / "f.npy", np.asfortranarray(pixels[0]))
    np.savez(tmp_path / "x.npz", images=pixels[0])
    for name in ("x.npy", "f.npy", "x.npz"):
        dataset = ImageDataset(prepare(str(tmp_path / name)))
        np.testing.assert_array_equal(dataset.images, pixels[:1].transpose(0, 3, 1, 2))


def test_a_layout_has_no_effect_on_files_and_says_so(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_bytes(png(pixels[0]))
    reader = open_reader(str(tmp_path / "x"), wanted=Wanted(layout="NCHW"))
    assert reader.notes == (f"layout NCHW has no effect, as '{tmp_path / 'x'}' has no arrays",)


# --- names of arrays --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".NPZ"])
@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("images", "labels"),
        ("x", "y"),
        ("X", "Y"),
        ("data", "target"),
        ("arr_0", "arr_1"),
        ("image", "label"),
    ],
)
def test_names_of_images_and_labels(
    images: str, labels: str, suffix: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    with (tmp_path / f"x{suffix}").open("wb") as file:
        np.savez(file, **{images: pixels, labels: LABELS})  # type: ignore[arg-type]
    dataset = ImageDataset(prepare(str(tmp_path / f"x{suffix}")))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.labels, LABELS)
    assert dataset.notes == []


@pytest.mark.parametrize(
    "names",
    [
        {"train": ("x_train", "y_train"), "test": ("x_test", "y_test")},
        {
            "train": ("train_images", "train_labels"),
            "validation": ("val_images", "val_labels"),
            "test": ("test_images", "test_labels"),
        },
    ],
    ids=["keras", "medmnist"],
)
def test_splits_in_the_names_of_arrays(
    names: dict[str, tuple[str, str]], tmp_path: Path, pixels: np.ndarray
) -> None:
    parts = dict(zip(names, np.array_split(np.arange(12), len(names)), strict=True))
    arrays = {}
    for split, (images, labels) in names.items():
        arrays |= {images: pixels[parts[split]], labels: LABELS[parts[split], None].astype(np.uint8)}
    np.savez(tmp_path / "x.npz", **arrays)
    for split in ("", *names, "all"):
        dataset = ImageDataset(prepare(str(tmp_path / "x.npz"), selection=Selection(split=split)))
        part = np.arange(12) if split == "all" else parts[split or "train"]
        np.testing.assert_array_equal(dataset.images, pixels[part].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(dataset.labels, LABELS[part])
        assert (dataset.info["split"], dataset.notes) == (split or "train", [])
    with pytest.raises(ValueError, match="has no split validation" if len(names) == 2 else "split is 'x'"):
        prepare(str(tmp_path / "x.npz"), selection=Selection(split="validation" if len(names) == 2 else "x"))


def test_text_labels_have_one_number_in_all_splits(tmp_path: Path, pixels: np.ndarray) -> None:
    np.savez(
        tmp_path / "x.npz",
        **{"x_train": pixels[:2], "y_train": np.array(["cat", "eel"])},
        **{"x_test": pixels[:2], "y_test": np.array(["dog", "eel"])},
    )
    for split, wanted in {"train": [0, 2], "test": [1, 2], "all": [0, 2, 1, 2]}.items():
        dataset = ImageDataset(prepare(str(tmp_path / "x.npz"), selection=Selection(split=split)))
        assert (dataset.info["class_names"], dataset.labels.tolist()) == (["cat", "dog", "eel"], wanted)


def test_arrays_that_are_not_read_are_noted(tmp_path: Path, pixels: np.ndarray) -> None:
    np.savez(tmp_path / "x.npz", pixels, pixels[..., 0], ids=np.arange(12))
    dataset = ImageDataset(prepare(str(tmp_path / "x.npz")))
    assert (dataset.labels, dataset.notes) == (
        None,
        [f"arrays of '{tmp_path / 'x.npz'}' that were not read: ids, arr_1"],
    )
    named = prepare(str(tmp_path / "x.npz"), selection=Selection(image_column="arr_1", label_column="ids"))
    np.testing.assert_array_equal(ImageDataset(named).labels, np.arange(12))
    np.testing.assert_array_equal(ImageDataset(named).images[:, 0], pixels[..., 0])
    with pytest.raises(ValueError, match=r"label_column is 'no', but .* has the arrays"):
        prepare(str(tmp_path / "x.npz"), selection=Selection(label_column="no"))


@pytest.mark.parametrize(
    ("array", "low", "high"),
    [
        (np.linspace(0, 1, 2 * 5 * 5).reshape(2, 5, 5), 0, 1),
        (np.linspace(-1, 1, 2 * 5 * 5, dtype=np.float32).reshape(2, 5, 5), -1, 1),
        (np.arange(50).reshape(2, 5, 5) * 83, 0, 4095),
        (np.arange(50, dtype=np.uint16).reshape(2, 5, 5) * 20, 0, 1023),
        (np.arange(50, dtype=np.uint8).reshape(2, 5, 5) % 2, 0, 1),
        (np.arange(50, dtype=np.int16).reshape(2, 5, 5) - 25, -30, 30),
    ],
    ids=lambda value: str(getattr(value, "dtype", value)),
)
def test_a_stated_range_scales_arrays_of_any_type(
    array: np.ndarray, low: float, high: float, tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", array)
    options = Preparation(range=(low, high))
    dataset = ImageDataset(prepare(str(tmp_path / "x.npy"), options=options))
    wanted = np.rint((array.astype(float) - low) / (high - low) * 255)
    assert np.abs(dataset.images[:, 0].astype(float) - wanted).max() <= (array.dtype == np.float32)
    narrow = Preparation(range=(low, low + (float(array.max()) - low) / 2))
    with pytest.raises(
        ValueError, match=r"its values are in .*, but range is \[.*\]; state a range with all"
    ):
        prepare(str(tmp_path / "x.npy"), options=narrow)


# --- MNIST as torchvision leaves it -----------------------------------------------------------------


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw"])
def test_files_beside_their_gzipped_originals_are_read_once(place: str, tmp_path: Path) -> None:
    folder = tmp_path / "x" / place
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(256, size=(5, 28, 28), dtype=np.uint8)
    for name, array in {
        **{"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": np.arange(5)},
        **{"t10k-images-idx3-ubyte": images[:2], "t10k-labels-idx1-ubyte": np.arange(2)},
    }.items():
        (folder / name).write_bytes(idx(array))
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    for split, count in [("train", 5), ("test", 2), ("all", 7)]:
        reader = open_reader(str(tmp_path / "x"), split)
        assert len(list(reader)) == len(reader) == count
    assert [item.label for item in open_reader(str(tmp_path / "x"))] == [0, 1, 2, 3, 4]


def test_several_sets_of_idx_files_and_labels_of_another_kind_are_said(tmp_path: Path) -> None:
    (tmp_path / "emnist-letters-train-images-idx3-ubyte").write_bytes(idx(np.zeros((5, 28, 28))))
    (tmp_path / "emnist-letters-train-labels-idx2-int").write_bytes(b"")
    (note,) = open_reader(str(tmp_path)).notes
    assert note.endswith("as they are not an idx1-ubyte file: emnist-letters-train-labels-idx2-int")
    (tmp_path / "emnist-digits-train-images-idx3-ubyte").write_bytes(idx(np.zeros((5, 28, 28))))
    with pytest.raises(ValueError, match="has several IDX files of the split train; name one of them"):
        open_reader(str(tmp_path))


def test_labels_of_only_some_files_are_left_out_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((5, 28, 28))))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(5)))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(np.zeros((2, 28, 28))))
    assert open_reader(str(tmp_path), "train").notes == ()
    (note,) = open_reader(str(tmp_path), "all").notes
    assert "labels were left out, as" in note
    assert "t10k-images-idx3-ubyte' has none" in note


# --- the other forms of CIFAR -----------------------------------------------------------------------


def cifar_binary(folder: Path, images: np.ndarray, labels: list[tuple[int, ...]], names: list[str]) -> None:
    """Each record is the labels and then the red, green and blue planes, as the published files say."""
    folder.mkdir()
    records = [
        bytes(label) + image.transpose(2, 0, 1).tobytes() for label, image in zip(labels, images, strict=True)
    ]
    for part, name in zip(np.array_split(np.arange(len(records)), len(names)), names, strict=True):
        (folder / name).write_bytes(b"".join(records[index] for index in part))


def in_tar(folder: Path, name: str) -> Path:
    with tarfile.open(folder.with_name(name), "w:gz") as archive:
        archive.add(folder, folder.name)
    return folder.with_name(name)


IMAGES = np.random.default_rng(0).integers(256, size=(12, 32, 32, 3), dtype=np.uint8)


def test_cifar10_in_binary(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    names = [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    cifar_binary(folder, IMAGES, [(i % 10,) for i in range(12)], names)
    (folder / "batches.meta.txt").write_text("".join(f"class {i}\n" for i in range(10)) + "\n")
    for source in (folder, tmp_path, in_tar(folder, "cifar-10-binary.tar.gz")):
        reader = open_reader(str(source), "all" if source == folder else "")
        items = list(reader)
        np.testing.assert_array_equal(np.stack([item.content for item in items]), IMAGES[: len(items)])
        assert [item.label for item in items] == [i % 10 for i in range(len(items))]
        assert reader.class_names == tuple(f"class {i}" for i in range(10))
    (folder / "data_batch_2.bin").write_bytes(bytes(3000))
    with pytest.raises(ValueError, match=r"data_batch_2.bin' is not a valid CIFAR batch: it has 3,000 bytes"):
        open_reader(str(folder))


@pytest.mark.parametrize("form", ["python", "binary"])
def test_cifar100(form: str, tmp_path: Path) -> None:
    coarse, fine = [i % 20 for i in range(12)], [99 - i for i in range(12)]
    folder = tmp_path / f"cifar-100-{form}"
    kinds = {"fine": [f"fine {i}" for i in range(100)], "coarse": [f"coarse {i}" for i in range(20)]}
    if form == "binary":
        cifar_binary(folder, IMAGES, list(zip(coarse, fine, strict=True)), ["train.bin", "test.bin"])
        for kind, names in kinds.items():
            (folder / f"{kind}_label_names.txt").write_text("\n".join(names))
    else:
        folder.mkdir()
        for name, part in (("train", slice(0, 6)), ("test", slice(6, 12))):
            batch = {b"data": IMAGES[part].transpose(0, 3, 1, 2).reshape(6, -1)}
            batch |= {b"fine_labels": fine[part], b"coarse_labels": coarse[part]}
            (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
        meta = {f"{kind}_label_names".encode(): [n.encode() for n in names] for kind, names in kinds.items()}
        (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    for source in (folder, tmp_path, in_tar(folder, f"cifar-100-{form}.tar.gz")):
        for column, labels in ((None, fine), ("fine_labels", fine), ("coarse_labels", coarse)):
            reader = open_reader(str(source), "all", Wanted(label_column=column))
            items = list(reader)
            np.testing.assert_array_equal(np.stack([item.content for item in items]), IMAGES)
            assert [item.label for item in items] == labels
            assert reader.class_names == tuple(kinds["coarse" if labels == coarse else "fine"])
            other = "fine_labels" if labels == coarse else "coarse_labels"
            assert reader.notes == (f"labels that were not read: {other} (to read them, set label_column)",)
        assert [item.label for item in open_reader(str(source), "test")] == fine[6:]
    with pytest.raises(
        ValueError, match=r"label_column is 'label', but .* has fine_labels and coarse_labels"
    ):
        open_reader(str(folder), "", Wanted(label_column="label"))
