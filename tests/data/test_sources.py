"""Data by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ddgan.config.components import find, kinds
from ddgan.data.decode import Preparation
from ddgan.data.embedded import is_embedded
from ddgan.data.preparation import prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.sources import ImagesConfig, data_named, open_data

EMBEDDED = [
    kind
    for kind in kinds("data")
    if kind != "images"
    and find("data", kind).__module__.startswith("ddgan.")
    and is_embedded(data_named(kind))
]


@pytest.fixture
def array(tmp_path: Path) -> Path:
    path = tmp_path / "x.npz"
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(256, size=(6, 12, 10, 3), dtype=np.uint8), labels=np.arange(6) % 3)
    return path


def test_what_comes_with_the_package_is_known() -> None:
    assert {"digits", "single_digits", "gaussians"} <= set(EMBEDDED)


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_dataset_gives_batches_of_its_shape(name: str) -> None:
    dataset = open_data(name, seed=0)
    batch = dataset.batch(0, 3)
    assert batch.x.shape == (3, *dataset.sample_shape)
    assert batch.x.dtype == torch.float32
    count = dataset.conditions.num_classes
    assert (batch.label is None) == (count == 0)
    if batch.label is not None:
        assert batch.label.dtype == torch.int64
        assert batch.label.max() < count


@pytest.mark.parametrize("name", EMBEDDED)
def test_rows_of_a_batch_are_those_of_the_whole(name: str) -> None:
    dataset = open_data(name, seed=2)
    whole, part = dataset.batch(3, 8), dataset.batch(3, 8, slice(2, 6))
    assert torch.equal(part.x, whole.x[2:6])
    if whole.label is not None and part.label is not None:
        assert torch.equal(part.label, whole.label[2:6])


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_data_has_two_splits(name: str) -> None:
    with pytest.raises(ValueError, match=f"split is 'validation'; {name} has train and test"):
        open_data(name, split="validation")
    first, other = (open_data(name, split=split).batch(0, 64).x for split in ("train", "test"))
    assert torch.equal(first, open_data(name).batch(0, 64).x)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "words"), [("cats", "data is 'cats'"), ("", "names no data")])
def test_other_names_are_answered_with_what_data_may_be(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=rf"{words}.*pass --data with one of digits.*a folder of images"):
        data_named(name).check()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"kind": "tables"},
            "kind is 'tables', which is not a data that is known here; it must be one of digits",
        ),
        ({"path": "x"}, "kind is missing; it must be one of digits"),
        ({"kind": "images", "sizes": 8}, "sizes is not a setting; did you mean size"),
        ({"kind": "digits", "size": 8}, "size is not a setting; there are none here"),
        ({"kind": "images", "size": -1}, "size is -1; it must be at least 0"),
        ({"kind": "images", "path": 3}, "path is 3; it must be text"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        data_named(values)  # type: ignore[arg-type]


def test_images_are_prepared_on_the_way_as_the_model_needs_them(array: Path, own_cache: Path) -> None:
    dataset = open_data(str(array), seed=1, sample_shape=(1, 8, 8))
    assert isinstance(dataset, ImageDataset)
    assert dataset.sample_shape == (1, 8, 8)
    assert dataset.conditions.num_classes == 3
    assert own_cache in dataset.path.parents
    again = open_data(str(array), seed=1, sample_shape=(1, 8, 8))
    assert again.path == dataset.path  # type: ignore[attr-defined]
    assert torch.equal(dataset.batch(3, 4).x, again.batch(3, 4).x)


def test_without_a_model_images_keep_their_shape(array: Path) -> None:
    assert open_data(str(array)).sample_shape == (3, 12, 10)
    assert open_data(ImagesConfig(path=str(array), size=6, channels=1)).sample_shape == (1, 6, 6)


def test_a_prepared_dataset_must_fit_the_model(array: Path, tmp_path: Path) -> None:
    path = prepare(str(array), tmp_path / "out", Preparation(size=8))
    assert open_data(str(path), 0, sample_shape=(3, 8, 8)).sample_shape == (3, 8, 8)
    with pytest.raises(ValueError, match=r"samples of shape \(1, 8, 8\), but .* has \(3, 8, 8\); name data"):
        open_data(str(path), 0, sample_shape=(1, 8, 8))
    with pytest.raises(ValueError, match=r"^size is 4, but .* was prepared at \(8, 8\) pixels; leave it out"):
        ImagesConfig(path=str(path), size=4).open()


@pytest.mark.parametrize(
    ("shape", "words"), [((2,), "but .* has images"), ((3, 8, 6), "only square ones are prepared")]
)
def test_models_that_cannot_be_prepared_for(array: Path, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_data(str(array), 0, sample_shape=shape)


def test_a_split_that_was_not_prepared_is_refused(array: Path, tmp_path: Path) -> None:
    path = prepare(str(array), tmp_path / "out")
    with pytest.raises(ValueError, match=r"split is test, but .* was prepared from all; prepare that split"):
        open_data(str(path), split="test")
