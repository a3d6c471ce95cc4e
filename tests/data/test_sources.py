"""Data by name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan import RunConfig
from ddgan.config.components import find, kinds
from ddgan.data.decode import Preparation
from ddgan.data.digits import DigitsConfig
from ddgan.data.embedded import is_embedded
from ddgan.data.from_python import kept
from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.sources import ImagesConfig, data_named, open_data, prepared_as, with_data
from ddgan.data.toy import GaussiansConfig

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
            "kind is 'tables', which is not a known kind of data; it must be one of digits",
        ),
        ({"path": "x"}, "kind is missing; it must be one of digits"),
        ({"kind": "images", "sizes": 8}, "sizes is not a setting; did you mean size"),
        ({"kind": "digits", "size": 8}, "size is not a setting; there are no settings here"),
        ({"kind": "images", "size": -1}, "size is -1; it must be at least 0"),
        ({"kind": "images", "path": 3}, "path is 3; it must be text"),
    ],
)
def test_settings_that_cannot_be_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        data_named(values)  # type: ignore[arg-type]


def test_images_are_compared_as_they_are_prepared(array: Path, own_cache: Path) -> None:
    dataset = open_data(ImagesConfig(path=str(array), size=8, channels=1), seed=1, sample_shape=(1, 8, 8))
    assert isinstance(dataset, ImageDataset)
    assert dataset.sample_shape == (1, 8, 8)
    assert dataset.conditions.num_classes == 3
    assert own_cache in dataset.path.parents
    again = open_data(ImagesConfig(path=str(array), size=8, channels=1), seed=1, sample_shape=(1, 8, 8))
    assert again.path == dataset.path  # type: ignore[attr-defined]
    assert torch.equal(dataset.batch(3, 4).x, again.batch(3, 4).x)


def test_without_a_model_images_keep_their_shape(array: Path) -> None:
    assert open_data(str(array)).sample_shape == (3, 12, 10)
    assert open_data(ImagesConfig(path=str(array), size=6, channels=1)).sample_shape == (1, 6, 6)


def test_a_prepared_dataset_must_fit_the_model(array: Path, tmp_path: Path) -> None:
    path = prepare(str(array), tmp_path / "out", Preparation(size=8))
    assert open_data(str(path), 0, sample_shape=(3, 8, 8)).sample_shape == (3, 8, 8)
    with pytest.raises(
        ValueError, match=r"shape \(1, 8, 8\), but .* has \(3, 8, 8\); use data of that shape: prepare "
    ):
        open_data(str(path), 0, sample_shape=(1, 8, 8))
    with pytest.raises(ValueError, match=r"^size is 4, but .* was prepared at \(8, 8\) pixels; leave it out"):
        ImagesConfig(path=str(path), size=4).open()


@pytest.mark.parametrize(
    ("shape", "remedy"),
    [
        ((3, 8, 8), r": ddgan prepare .*x\.npz --size 8 --channels 3 --out DATA$"),
        ((1, 12, 12), r": ddgan prepare .*x\.npz --size 12 --channels 1 --out DATA$"),
        ((4, 12, 10), "$"),
        ((3, 10, 12), "$"),
        ((2,), "$"),
        ((1, 2, 3, 4), "$"),
    ],
)
def test_images_are_never_made_to_fit_samples(
    array: Path, own_cache: Path, shape: tuple[int, ...], remedy: str
) -> None:
    """Nothing is decoded for it but the first image."""
    said = re.escape(f"the samples have shape {shape}, but {array} has (3, 12, 10); use data of that shape")
    with pytest.raises(ValueError, match=f"^{said}{remedy}"):
        open_data(str(array), sample_shape=shape)
    assert not (own_cache / "datasets").exists()


def test_a_split_that_was_not_prepared_is_refused(array: Path, tmp_path: Path) -> None:
    path = prepare(str(array), tmp_path / "out")
    with pytest.raises(ValueError, match=r"split is test, but .* was prepared from all; prepare that split"):
        open_data(str(path), split="test")


@pytest.mark.parametrize("text", ["digits", "gaussians", "photos/", "hf:someone/flowers", "single_digits/"])
def test_a_text_is_a_kind_or_else_a_path(text: str) -> None:
    config = data_named(text)
    assert config.name == text
    if text in EMBEDDED:
        assert type(config) is find("data", text)
    else:
        assert config == ImagesConfig(path=text)
    assert RunConfig.from_dict({"data": text}).data == config


def test_settings_are_taken_as_they_are() -> None:
    config = ImagesConfig(path="photos/", size=8)
    assert data_named(config) is config
    assert data_named({"kind": "images", "path": "photos/", "size": 8}) == config  # type: ignore[arg-type]


def test_images_are_prepared_and_selected_as_their_settings_say() -> None:
    config = ImagesConfig(
        path="photos/",
        size=16,
        channels=1,
        resize="fit",
        filter="bilinear",
        split="test",
        labels="none",
        limit=9,
    )
    assert config.preparation == Preparation(16, 1, "fit", "bilinear")
    assert config.selection == Selection(split="test", labels="none", limit=9)
    assert (ImagesConfig().preparation, ImagesConfig().selection) == (Preparation(), Selection())


def test_a_configuration_without_data_says_what_to_pass() -> None:
    config = RunConfig.load("cifar10").data
    assert config.name == ""
    with pytest.raises(
        ValueError, match=r"^this configuration names no data; pass --data with one of digits, "
    ) as told:
        config.check()
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("prefix", ["hf:", "stackedmnist:"])
def test_a_prefix_alone_is_not_data(prefix: str) -> None:
    ImagesConfig(path=f"{prefix}x").check()  # what it names is looked for when it is opened
    with pytest.raises(
        ValueError, match=f"^data is '{prefix}', which does not exist; pass --data with one of"
    ):
        ImagesConfig(path=prefix).check()


def test_images_from_disk_can_be_held_out(array: Path) -> None:
    dataset = ImagesConfig(path=str(array), size=4).open(seed=0, num_held_out=2)
    held_out = dataset.held_out(10)
    assert held_out is not None
    assert held_out.x.shape == (2, 3, 4, 4)
    seen = {tuple(image.flatten().tolist()) for image in dataset.batch(0, 40).x}
    assert len(seen) == 4
    assert not seen & {tuple(image.flatten().tolist()) for image in held_out.x}


# --- other data for a run ---------------------------------------------------------------------------


def test_another_path_keeps_how_images_are_prepared() -> None:
    config = ImagesConfig(path="photos/", size=32, channels=1, labels="none")
    assert with_data(config, "others/") == ImagesConfig(path="others/", size=32, channels=1, labels="none")
    assert with_data(ImagesConfig(size=32), "hf:someone/flowers").name == "hf:someone/flowers"


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        (ImagesConfig(path="photos/", size=32), "digits", DigitsConfig()),
        (DigitsConfig(), "photos/", ImagesConfig(path="photos/")),
        (DigitsConfig(), "gaussians", GaussiansConfig()),
        (
            ImagesConfig(path="photos/", size=32),
            ImagesConfig(path="others/"),
            ImagesConfig(path="others/"),
        ),
    ],
)
def test_data_of_another_kind_comes_as_it_is(config: object, given: Any, expected: object) -> None:
    assert with_data(config, given) == expected


# --- data for a model -------------------------------------------------------------------------------


def test_images_by_name_are_prepared_as_the_data_of_a_model(array: Path, tmp_path: Path) -> None:
    like = ImagesConfig(path="other", size=5, channels=1, resize="fit", split="test", limit=3, labels="none")
    expected = ImagesConfig(path=str(array), size=5, channels=1, resize="fit")
    assert prepared_as(str(array), like) == expected
    given = kept(np.zeros((2, 4, 4), np.uint8), like=Preparation(5, 1, "fit"))
    assert prepared_as(str(array), given) == expected
    assert prepared_as(str(array), DigitsConfig()) == ImagesConfig(path=str(array))
    assert prepared_as(str(array), None) == ImagesConfig(path=str(array))
    prepared = str(prepare(str(array), tmp_path / "out"))
    for as_it_is in (ImagesConfig(path=prepared), ImagesConfig(path=str(array)), DigitsConfig()):
        assert prepared_as(as_it_is, like) is as_it_is
    assert prepared_as(prepared, like) == ImagesConfig(path=prepared)


def test_data_of_another_shape_is_not_set_beside_a_model() -> None:
    assert open_data("gaussians", sample_shape=(2,)).sample_shape == (2,)
    with pytest.raises(
        ValueError, match=r"samples have shape \(3,\), but gaussians has \(2,\); use data of that shape$"
    ):
        open_data("gaussians", sample_shape=(3,))


def test_images_that_cannot_be_used_are_skipped_if_asked_to_and_the_first_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(folder / f"{i}.png")
    (folder / "b.png").write_text("no image")
    with pytest.raises(ValueError, match=r"b\.png' cannot be used"):
        ImagesConfig(path=str(folder)).open()
    dataset: Any = ImagesConfig(path=str(folder), skip_bad=True).open()
    assert len(dataset) == 3
    assert dataset.notes == [f"skipped 1 image that cannot be used: '{folder / 'b.png'}', it is not an image"]
    (folder / "a.png").write_text("no image either")
    again: Any = ImagesConfig(path=str(folder), skip_bad=True).open()
    assert again.notes[0].startswith("skipped 2 images that cannot be used, the first: '")
    assert again.checksum == dataset.checksum  # of the images that are used
