"""Data given from Python: every form is the same as files of the same images, or is refused in one line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from data_files import CLASSES, LABELS, make_folder
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, Subset, TensorDataset

from ddgan.config.settings import plain
from ddgan.data.batch import Dataset
from ddgan.data.from_python import is_given, kept
from ddgan.data.preparation import prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.sources import ImagesConfig, data_named, with_data

NAMES = np.array(CLASSES)[LABELS]
ONE_HOT = np.eye(3, dtype=np.float32)[LABELS]


class Rows:
    """A map-style dataset of what a function makes of an index."""

    def __init__(self, item: Callable[[int], Any], count: int = 12) -> None:
        self._item, self._count = item, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        if index >= self._count:
            raise IndexError(index)
        return self._item(index)


def tensor(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, -3)))


def hub(x: np.ndarray) -> Any:
    """A Hugging Face dataset with an image column and named classes."""
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(CLASSES)),
            "caption": datasets.Value("string"),
        }
    )
    rows = {"image": [Image.fromarray(one) for one in x], "label": LABELS.tolist(), "caption": ["x"] * len(x)}
    return datasets.Dataset.from_dict(rows, features=features)


FORMS: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "array": (lambda x: (x, LABELS), "array of uint8, (N, H, W, C)"),
    "array, channels first": (lambda x: (np.moveaxis(x, -1, 1), LABELS), "array of uint8, (N, C, H, W)"),
    "array, not contiguous": (lambda x: (x[::-1][::-1], list(LABELS)), "array of uint8, (N, H, W, C)"),
    "array, float in [0, 1]": (lambda x: (x / 255, LABELS), "array of float64 in [0, 1], (N, H, W, C)"),
    "array, float in [-1, 1]": (
        lambda x: (x.astype(np.float32) / 127.5 - 1, NAMES),
        "array of float32 in [-1, 1], (N, H, W, C)",
    ),
    "array, float16": (
        lambda x: ((x / 127.5 - 1).astype(np.float16), ONE_HOT),
        "array of float16 in [-1, 1], (N, H, W, C)",
    ),
    "array, 16 bits": (lambda x: (x.astype(np.uint16) * 257, LABELS), "array of uint16, (N, H, W, C)"),
    "tensor": (lambda x: (tensor(x), torch.from_numpy(LABELS)), "tensor of uint8, (N, C, H, W)"),
    "tensor, float": (
        lambda x: ((tensor(x) / 255).requires_grad_(), torch.from_numpy(ONE_HOT)),
        "tensor of float32 in [0, 1], (N, C, H, W)",
    ),
    "TensorDataset": (
        lambda x: TensorDataset(tensor(x), torch.from_numpy(LABELS)),
        "torch TensorDataset of uint8",
    ),
    "Subset": (
        lambda x: Subset(Rows(lambda i: (x[i % 12], LABELS[i % 12]), 30), range(12)),
        "torch Subset of uint8",
    ),
    "dataset of PIL images": (
        lambda x: Rows(lambda i: (Image.fromarray(x[i]), int(LABELS[i]))),
        "Rows of PIL images",
    ),
    "dataset of mappings": (lambda x: Rows(lambda i: {"image": x[i], "label": ONE_HOT[i]}), "Rows of uint8"),
    "dataset of floats": (
        lambda x: Rows(lambda i: (tensor(x[i]) / 127.5 - 1, str(NAMES[i]))),
        "Rows of float32 in [-1, 1]",
    ),
    "texts that come unsorted": (
        lambda x: Rows(lambda i: (x[i], {"ape": "a", "bee": "b", "cow": "c"}[NAMES[i]])),
        "Rows of uint8",
    ),
    "list": (lambda x: [(Image.fromarray(x[i]), LABELS[i]) for i in range(12)], "list of PIL images"),
    "Hugging Face": (hub, "Hugging Face Dataset of PIL images"),
    "Hugging Face for torch": (lambda x: hub(x).with_format("torch"), "Hugging Face Dataset of uint8"),
    "Hugging Face for numpy": (lambda x: hub(x).with_format("numpy"), "Hugging Face Dataset of uint8"),
}


@pytest.fixture
def folder(pixels: np.ndarray, tmp_path: Path) -> ImageDataset:
    """The same images, prepared from files."""
    return ImageDataset(prepare(str(make_folder(tmp_path / "files", pixels))), seed=5)


def same(given: Dataset, other: Dataset) -> None:
    for step in range(4):
        ours, theirs = given.batch(step, 5), other.batch(step, 5)
        assert torch.equal(ours.x, theirs.x)
        assert (ours.label is None) == (theirs.label is None)
        if ours.label is not None and theirs.label is not None:
            assert torch.equal(ours.label, theirs.label)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_folder_of_the_same_images(
    form: str, pixels: np.ndarray, folder: ImageDataset
) -> None:
    make, words = FORMS[form]
    config = kept(make(pixels))
    assert config.form == config.name == words
    assert (config.count, config.shape, config.num_classes) == (12, (3, 9, 9), 3)
    assert config.checksum == folder.checksum
    opened = config.open(5)
    assert opened.sample_shape == folder.sample_shape
    assert opened.conditions == folder.conditions
    same(opened, folder)


def test_texts_are_numbered_in_sorted_order_however_they_come(pixels: np.ndarray) -> None:
    texts = ["cow", "ape", "ape", "bee"] * 3
    wanted = torch.tensor([2, 0, 0, 1] * 3)
    for given in ((pixels, texts), (pixels, np.array(texts)), Rows(lambda i: (pixels[i], texts[i]))):
        config = kept(given)
        dataset = config.open()
        assert isinstance(dataset, ImageDataset)
        assert dataset.info["class_names"] == ["ape", "bee", "cow"]
        assert torch.equal(torch.from_numpy(dataset.labels), wanted)


def test_one_hot_labels_tell_of_classes_without_images(pixels: np.ndarray) -> None:
    rows = np.eye(7, dtype=bool)[LABELS]
    assert kept((pixels, rows)).num_classes == 7
    assert kept(Rows(lambda i: (pixels[i], rows[i]))).num_classes == 7


def test_grey_images_have_a_channel(pixels: np.ndarray) -> None:
    grey = pixels[..., 0]
    for given in (grey, torch.from_numpy(grey)[:, None], Rows(lambda i: grey[i]), Rows(lambda i: (grey[i],))):
        config = kept(given)
        assert (config.shape, config.num_classes) == ((1, 9, 9), 0)
        assert torch.equal(config.open(2).batch(0, 12).x, kept(grey).open(2).batch(0, 12).x)


def test_values_of_arrays_that_are_bool_are_black_and_white() -> None:
    given = np.arange(2 * 4 * 4).reshape(2, 4, 4) % 3 == 0
    assert set(kept(given).open().batch(0, 2).x.unique().tolist()) == {-1.0, 1.0}


def test_bfloat16_is_read(pixels: np.ndarray) -> None:
    x = (tensor(pixels) / 127.5 - 1).bfloat16()
    assert kept(x).checksum == kept(x.float()).checksum


def test_the_settings_of_the_run_prepare_and_select(pixels: np.ndarray, folder: ImageDataset) -> None:
    like = ImagesConfig(size=6, channels=1, filter="bilinear", limit=7, labels="none")
    config = with_data(like, (pixels, LABELS))
    assert (config.count, config.shape, config.num_classes) == (7, (1, 6, 6), 0)
    files = ImagesConfig(**{**plain_without_kind(like), "path": str(folder.path.parents[2] / "files")})
    same(config.open(3), files.open(3))
    assert with_data(config, (pixels, LABELS)) == config  # as when it is given again
    assert with_data(config, "files") == ImagesConfig(**{**plain_without_kind(like), "path": "files"})
    rows = Rows(lambda i: {"foto": pixels[i], "kind_of": str(NAMES[i])})
    named = with_data(ImagesConfig(image_column="foto", label_column="kind_of"), rows)
    assert (named.shape, named.num_classes) == ((3, 9, 9), 3)


def plain_without_kind(config: ImagesConfig) -> dict[str, Any]:
    return {name: value for name, value in plain(config).items() if name != "kind"}


def test_labels_that_are_not_wanted_are_not_looked_at(pixels: np.ndarray) -> None:
    like = ImagesConfig(labels="none")
    assert kept((pixels, LABELS / 3), like).num_classes == 0
    assert kept(Rows(lambda i: (pixels[i], 0.5)), like).num_classes == 0


def test_mixed_sizes_are_made_equal_where_a_size_is_set(pixels: np.ndarray) -> None:
    rows = Rows(lambda i: pixels[i, : 9 - i % 2])
    assert kept(rows, ImagesConfig(size=6)).shape == (3, 6, 6)


def test_what_happens_to_the_object_afterwards_changes_nothing(pixels: np.ndarray) -> None:
    config = kept(pixels)
    before = config.open().batch(0, 12).x
    pixels[:] = 0
    assert torch.equal(config.open().batch(0, 12).x, before)
    assert kept(pixels).checksum != config.checksum


def test_the_same_contents_are_kept_once(pixels: np.ndarray, own_cache: Path) -> None:
    first = kept((pixels, LABELS))
    inode = (first.folder / "images.bin").stat().st_ino
    assert kept((tensor(pixels), NAMES)).folder == first.folder
    assert (first.folder / "images.bin").stat().st_ino == inode
    assert [path.name for path in (own_cache / "datasets").iterdir()] == [first.folder.name]


def test_without_its_copy_in_the_cache_it_is_asked_for(pixels: np.ndarray, own_cache: Path) -> None:
    config = kept(pixels)
    assert data_named(plain(config)) == config
    (config.folder / "images.bin").write_bytes(b"cut short")
    words = (
        r"the data was given from Python \(array of uint8, \(N, H, W, C\), 12 images of shape \(3, 9, 9\)\), "
        r"but is not in this cache; give it again, as in ddgan.resume\(RUN, data=...\)"
    )
    for ask in (config.check, config.open):
        with pytest.raises(ValueError, match=words) as error:
            ask()
        assert "\n" not in str(error.value)
    assert kept(pixels) == config
    config.check()
    with pytest.raises(ValueError, match=r"^the data was given from Python, but is not"):
        data_named("from_python").check()


def test_it_has_no_splits(pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"split is test, but 'array of uint8.*' has no splits"):
        kept(pixels).open(split="test")
    with pytest.raises(ValueError, match="split is test, but 'data' has no splits"):
        kept(pixels, ImagesConfig(split="test"))


@pytest.mark.parametrize("name", [None, "photos", Path("photos"), ImagesConfig(), {"kind": "images"}])
def test_names_and_settings_are_no_objects(name: Any) -> None:
    assert not is_given(name)


class Stream(IterableDataset):  # type: ignore[type-arg]
    """A dataset without an order to ask for."""

    def __iter__(self) -> Any:
        return iter([])


def at(item: Callable[[int], Any], count: int = 12) -> Callable[[np.ndarray], Rows]:
    return lambda x: Rows(item, count)


def changed(x: np.ndarray, index: int, value: float) -> np.ndarray:
    """Floating-point images in [0, 1] with one other value."""
    x = x / 255
    x[index, 0, 0, 0] = value
    return x


def broken(index: int) -> np.ndarray:
    if index == 4:
        raise OSError("no such\nfile")
    return np.zeros((4, 4), np.uint8)


GREY = np.zeros((4, 4), np.uint8)
REFUSED: dict[str, tuple[Callable[[np.ndarray], Any], str]] = {
    "points": (
        lambda x: x.reshape(12, -1),
        r"'data' has images of shape \(12, 243\); it must be \(N, H, W\)",
    ),
    "float points": (lambda x: np.zeros((9, 2)), r"'data' has images of shape \(9, 2\); it must be"),
    "nothing": (lambda x: x[:0], r"'data' has images of shape \(0, 9, 9, 3\)"),
    "integers": (lambda x: x.astype(int), "'data' has images of type int64; convert them to uint8 in 0..255"),
    "NaN": (lambda x: changed(x, 3, np.nan), "data has NaN values; remove or replace these images"),
    "infinity": (lambda x: changed(x, 3, np.inf), r"data has floating-point values in 0..inf; scale them"),
    "floats in 0..255": (
        lambda x: x.astype(np.float32),
        r"data has floating-point values in 0..255; scale them to \[0, 1\] or \[-1, 1\], or give uint8",
    ),
    "below -1": (lambda x: changed(x, 3, -1.5), r"data has floating-point values in -1.5..1; scale them"),
    "labels of another length": (lambda x: (x, LABELS[:5]), r"'data' has labels of shape \(5,\).*must be 12"),
    "labels that are floats": (lambda x: (x, LABELS / 2), "type float64; there must be 12 integers"),
    "labels below 0": (lambda x: (x, LABELS - 1), "'data' has a label -1; labels must be 0 or more"),
    "labels not one-hot": (lambda x: (x, ONE_HOT + 1), "are not one-hot .*; give an integer for each"),
    "a label that is a number": (
        lambda x: (x, LABELS * 10**6),
        "has a label 2000000, which is not a class; .* set data.labels to none",
    ),
    "three in a tuple": (lambda x: (x, x, x), r"data is a tuple of 3; it must be \(images, labels\)"),
    "a mapping": (lambda x: {"train": x, "test": x}, "data is a dict of train, test; pass one of them"),
    "a loader": (
        lambda x: DataLoader(TensorDataset(tensor(x))),
        "data is a DataLoader, .*; pass its dataset",
    ),
    "a stream": (lambda x: Stream(), "data is a Stream; it must be a path, an array.*write the images"),
    "an object": (lambda x: 3, "data is a int; it must be a path, an array"),
    "bytes": (lambda x: b"x", "data is a bytes; it must be a path, an array"),
    "no items": (at(lambda i: GREY, 0), "data has no images: its length is 0"),
    "random": (
        at(lambda i: np.random.default_rng().integers(255, size=(4, 4), dtype=np.uint8)),
        r"data\[0\] differs when read twice; remove random transforms .* under augmentation",
    ),
    "random labels": (
        at(lambda i: (GREY, int(np.random.default_rng().integers(10**9)))),
        r"data\[0\] differs when read twice",
    ),
    "three values": (
        at(lambda i: (GREY, 1, 2)),
        r"data\[0\] is 3 values; it must be an image, \(image, label\)",
    ),
    "no image": (at(lambda i: "cat.png"), r"data\[0\] has an image that is a str; it must be a PIL image"),
    "nested lists": (at(lambda i: {"image": GREY.tolist()}), r"pass data.with_format\('numpy'\)"),
    "other keys": (
        at(lambda i: {"x": GREY, "y": 1}),
        "'data' has the columns x, y; name the one with images: data.image_column",
    ),
    "a shape": (at(lambda i: np.zeros((1, 2, 3, 4))), r"data\[0\] has an image of shape \(1, 2, 3, 4\); it"),
    "an empty image": (
        at(lambda i: np.zeros((0, 4))),
        r"data\[0\] has an image of shape \(0, 4\); it must be",
    ),
    "an image of integers": (
        at(lambda i: GREY.astype(int)),
        r"data\[0\] has an image of type int64; convert",
    ),
    "CMYK": (
        at(lambda i: Image.new("CMYK", (4, 4))),
        r"data\[0\] cannot be used: its colour mode is CMYK, .*; convert it to RGB",
    ),
    "broken": (at(broken), r"data\[4\] cannot be read: OSError: no such file$"),
    "mixed sizes": (
        at(lambda i: GREY[: 4 - i // 11]),
        r"'data\[11\]' cannot be used: it is 4 x 3 with 1 channels, but 'data\[0\]' is 4 x 4 .* set "
        "data.size, or prepare the files with ddgan prepare --size N",
    ),
    "mixed channels": (
        at(lambda i: np.zeros((4, 4, 3 if i == 9 else 1), np.uint8)),
        r"'data\[9\]' cannot be used: it has colour",
    ),
    "NaN in a dataset": (
        at(lambda i: np.full((4, 4), np.nan if i == 6 else 0.0)),
        "data has NaN values",
    ),
    "another range later": (
        at(lambda i: np.full((4, 4), -0.5 if i == 50 else 0.5), 100),
        r"'data\[50\]' cannot be used: its values are in -0.5..-0.5, but those of the images read first "
        r"in \[0, 1\]; give all images in one range",
    ),
    "NaN later": (
        at(lambda i: np.full((4, 4), np.nan if i == 50 else 0.5), 100),
        r"'data\[50\]' cannot be used: its values are in nan..nan",
    ),
    "floats later": (
        at(lambda i: GREY / 1 if i == 50 else GREY, 100),
        r"'data\[50\]' cannot be used: it has floating-point values, but the images read first have not",
    ),
    "a label that is half": (
        at(lambda i: (GREY, 0.5)),
        r"data\[0\] has the label 0.5; a label must be an integer",
    ),
    "labels of two kinds": (
        at(lambda i: (GREY, "cat" if i else 1)),
        r"data\[1\] has a label that is a string, but earlier labels are an integer; use one kind",
    ),
    "one-hot of two lengths": (
        at(lambda i: (GREY, np.eye(2 + i)[0])),
        r"data\[1\] has a label that is one-hot of 3, but earlier labels are one-hot of 2",
    ),
    "a label missing": (
        at(lambda i: (GREY, None if i == 2 else 1)),
        "has 1 images without a class from 0; to drop all classes: set data.labels to none",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(case: str, pixels: np.ndarray, own_cache: Path) -> None:
    make, words = REFUSED[case]
    with pytest.raises(ValueError, match=words) as error:
        kept(make(pixels))
    assert "\n" not in str(error.value)
    left = own_cache / "datasets"
    assert not left.exists() or list(left.iterdir()) == []


def test_values_a_little_outside_are_rounding_errors(pixels: np.ndarray) -> None:
    x = pixels.astype(np.float64) / 127.5 - 1
    assert kept(x * (1 + 5e-4)).checksum == kept(pixels).checksum


def test_data_is_named_where_it_may_not_be_given() -> None:
    with pytest.raises(
        ValueError, match=re.escape("pass --data with one of digits, emoji, gaussians, single_digits")
    ):
        ImagesConfig().check()
