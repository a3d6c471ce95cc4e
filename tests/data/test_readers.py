"""Every form of source, read from small real files; the same images give the same arrays."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_files import CLASSES, LABELS, make_folder, names, png, shared
from PIL import Image

from ddgan.data.dataset import ImageDataset
from ddgan.data.decode import decode
from ddgan.data.prepare import Selection, prepare
from ddgan.data.readers import open_reader

Maker = Callable[[Path, np.ndarray], str]


def folder(path: Path, pixels: np.ndarray) -> str:
    return str(make_folder(path / "folder", pixels))


def zipped(path: Path, pixels: np.ndarray) -> str:
    with zipfile.ZipFile(path / "x.zip", "w") as archive:
        for name, image in reversed(list(zip(names(pixels), pixels, strict=True))):
            archive.writestr(f"everything/{name}", png(image))
        archive.writestr("__MACOSX/everything/._00.png", b"not an image")
    return str(path / "x.zip")


def tarred(suffix: str, mode: str) -> Maker:
    def make(path: Path, pixels: np.ndarray) -> str:
        with tarfile.open(path / f"x{suffix}", mode) as archive:  # type: ignore[call-overload]
            for name, image in zip(names(pixels), pixels, strict=True):
                data = png(image)
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        return str(path / f"x{suffix}")

    return make


def npz(path: Path, pixels: np.ndarray) -> str:
    np.savez(path / "x.npz", images=pixels, labels=LABELS)
    return str(path / "x.npz")


def parquet(path: Path, pixels: np.ndarray) -> str:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    (path / "parquet").mkdir()
    for part in (slice(0, 7), slice(7, 12)):
        rows = {
            "image": [{"bytes": png(image), "path": None} for image in pixels[part]],
            "label": LABELS[part].tolist(),
        }
        table = pyarrow.table(rows)
        features = {"label": {"names": list(CLASSES), "_type": "ClassLabel"}}
        metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        pq.write_table(
            table.replace_schema_metadata(metadata), path / "parquet" / f"train-{part.start:05d}.parquet"
        )
    return str(path / "parquet")


def hub(path: Path, pixels: np.ndarray) -> str:
    pytest.importorskip("datasets")
    return f"hf:{parquet(path, pixels)}"


def lsun_lmdb(path: Path, pixels: np.ndarray) -> str:
    return lmdb_of(path / "lsun.lmdb", {f"{i:03d}".encode(): png(image) for i, image in enumerate(pixels)})


def raw_lmdb(path: Path, pixels: np.ndarray) -> str:
    entries = {
        str(i).encode(): image.tobytes() for i, image in enumerate(pixels)
    }  # 10 comes after 1 as bytes
    return lmdb_of(path / "raw.lmdb", entries)


def lmdb_of(path: Path, entries: dict[bytes, bytes]) -> str:
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(path), map_size=1 << 24) as environment, environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    return str(path)


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(int(n).to_bytes(4, "big") for n in array.shape)
    return header + array.astype(np.uint8).tobytes()


def idx_color(path: Path, pixels: np.ndarray) -> str:
    (path / "idx").mkdir()
    (path / "idx" / "train-images-idx4-ubyte").write_bytes(idx(pixels))
    (path / "idx" / "train-labels-idx1-ubyte").write_bytes(idx(LABELS))
    return str(path / "idx")


SOURCES: dict[str, Maker] = {
    "folder": folder,
    "zip": zipped,
    "tar": tarred(".tar", "w"),
    "tar.gz": tarred(".tar.gz", "w:gz"),
    "npz": npz,
    "parquet": parquet,
    "hub": hub,
    "lsun lmdb": lsun_lmdb,
    "raw lmdb": raw_lmdb,
    "idx": idx_color,
}
WITHOUT_LABELS = ("lsun lmdb", "raw lmdb")
WITHOUT_NAMES = (*WITHOUT_LABELS, "npz", "idx")


@pytest.mark.parametrize("name", SOURCES)
def test_the_same_images_from_any_source_give_the_same_bytes(
    name: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    source = SOURCES[name](tmp_path, pixels)
    dataset = ImageDataset(prepare(source, tmp_path / "out"))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    assert (tmp_path / "out" / "images.bin").read_bytes() == pixels.transpose(0, 3, 1, 2).tobytes()
    if name in WITHOUT_LABELS:
        assert dataset.labels is None
    else:
        np.testing.assert_array_equal(dataset.labels, LABELS)
        assert dataset.info["per_class"] == [4, 4, 4]
    assert dataset.info["class_names"] == (None if name in WITHOUT_NAMES else list(CLASSES))
    assert dataset.checksum() == dataset.info["checksum"]


@pytest.mark.parametrize("name", SOURCES)
def test_readers_can_be_read_twice_and_know_their_length(
    name: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    reader = open_reader(SOURCES[name](tmp_path, pixels))
    first, second = list(reader), list(reader)
    assert [item.name for item in first] == [item.name for item in second]
    assert len({item.name for item in first}) == 12
    assert len(reader) in (12, 0 if name == "hub" else 12)


# --- files ------------------------------------------------------------------------------------------


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
        (tmp_path / "empty", "holds no images"),
        (tmp_path / "x.txt", "none of the known forms"),
        (tmp_path / "x.zip", "holds no images"),
        (tmp_path / "nowhere", "does not exist"),
        ("stackedmnist:" + str(tmp_path / "nowhere"), "is no folder"),
    ]:
        with pytest.raises(ValueError, match=words):
            open_reader(str(source))
    with pytest.raises(ValueError, match="split is 'eval'"):
        open_reader(str(tmp_path), split="eval")


# --- arrays -----------------------------------------------------------------------------------------


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
        ({"images": np.array([{}, {}], dtype=object)}, "cannot be read"),
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
    with pytest.raises(ValueError, match="no IDX images of the split validation"):
        open_reader(str(tmp_path), "validation")


@pytest.mark.parametrize("cut", [2, 10, 100])
def test_truncated_idx_files_are_named(cut: int, tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(idx(np.zeros((5, 28, 28)))[:cut])
    with pytest.raises(ValueError, match="train-images-idx3-ubyte"):
        open_reader(str(path))


def cifar(path: Path) -> np.ndarray:
    images = np.random.default_rng(0).integers(256, size=(12, 32, 32, 3), dtype=np.uint8)
    path.mkdir()
    for i, name in enumerate([*(f"data_batch_{k}" for k in range(1, 6)), "test_batch"]):
        part = images[2 * i : 2 * i + 2]
        batch = {b"data": part.transpose(0, 3, 1, 2).reshape(2, -1), b"labels": [i, 9 - i]}
        (path / name).write_bytes(pickle.dumps(batch, protocol=2))
    (path / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"c%d" % i for i in range(10)]}, 2))
    return images


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
    with pytest.raises(ValueError, match=r"no CIFAR batch|no whole CIFAR"):
        open_reader(str(tmp_path / "x"))
    assert capsys.readouterr().out == ""


# --- tables -----------------------------------------------------------------------------------------


def test_columns_can_be_named(tmp_path: Path, pixels: np.ndarray) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = {"photo": [png(image) for image in pixels], "kind": LABELS.tolist(), "label": [0] * 12}
    pq.write_table(pyarrow.table(rows), tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="columns photo, kind, label; name the images with --image_column"):
        open_reader(str(tmp_path / "x.parquet"))
    with pytest.raises(ValueError, match="label_column is 'sort', but"):
        open_reader(str(tmp_path / "x.parquet"), "train", "photo", "sort")
    items = list(open_reader(str(tmp_path / "x.parquet"), "train", "photo", "kind"))
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
    with pytest.raises(ValueError, match="no parquet files of the split validation"):
        open_reader(str(folder), "validation")
    lmdb_of(tmp_path / "train.lmdb", {b"0": pixels[0].tobytes()})
    lmdb_of(tmp_path / "validation.lmdb", {b"0": pixels[0].tobytes(), b"1": pixels[1].tobytes()})
    (tmp_path / "both").mkdir()
    for name in ("train.lmdb", "validation.lmdb"):
        (tmp_path / name).rename(tmp_path / "both" / name)
    assert len(open_reader(str(tmp_path / "both"), "train")) == 1
    assert len(open_reader(str(tmp_path / "both"), "validation")) == 2


def test_a_raw_lmdb_with_an_odd_value_names_it(tmp_path: Path, pixels: np.ndarray) -> None:
    source = lmdb_of(tmp_path / "x.lmdb", {b"0": pixels[0].tobytes(), b"1": pixels[1].tobytes()[:-3]})
    problems = [item.problem for item in open_reader(source)]
    assert problems[0] == ""
    assert problems[1].startswith("it has 240 bytes, where 9 x 9 RGB has 243")


def test_a_missing_package_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ddgan.data.readers import tables

    with pytest.raises(
        ValueError, match=r"needs the package nothing_like_this; .*pip install 'ddgan\[data\]'"
    ):
        tables.required("nothing_like_this")


# --- real data --------------------------------------------------------------------------------------


def test_real_cifar10_in_parquet() -> None:
    reader = open_reader(str(shared("cifar10")), "test")
    assert len(reader) == 10_000
    assert reader.class_names is not None
    assert reader.class_names[3] == "cat"
    first = next(iter(reader))
    assert isinstance(first.content, bytes)
    assert Image.open(io.BytesIO(first.content)).size == (32, 32)


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


def test_selection_passes_on_the_split(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = Path(parquet(tmp_path, pixels))
    (folder / "train-00007.parquet").rename(folder / "test-00000.parquet")
    path = prepare(str(folder), selection=Selection(split="test", labels="none"))
    dataset = ImageDataset(path)
    assert len(dataset) == 5
    assert dataset.labels is None
