"""Samples in all their forms are the same samples, and what cannot be scored is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.data.preparation import prepare
from ddgan.data.readers import Item
from ddgan.data.readers.arrays import ArrayReader
from ddgan.metrics.classes import requested_classes
from ddgan.metrics.real_data import RealData
from ddgan.metrics.samples import open_samples, quantised
from ddgan.models.sample_files import save_samples


def whole(source: object, n: int | None = None, seed: int = 0) -> torch.Tensor:
    samples = open_samples(source, n, seed, 10)
    images = torch.cat(list(samples.batches()))
    assert len(images) == samples.count
    assert tuple(images.shape[1:]) == samples.sample_shape
    return images


def test_a_model_and_its_saved_samples_are_the_same(model: DDGAN, tmp_path: Path) -> None:
    expected = whole(model, 12, seed=4)
    assert expected.dtype == torch.uint8
    for name in ("x.npz", "folder"):
        save_samples(model, 12, 4, tmp_path / name)
        assert torch.equal(whole(tmp_path / name), expected)
    weights = model.save(tmp_path / "model.safetensors")
    assert torch.equal(whole(str(weights), 12, seed=4), expected)
    assert torch.equal(whole(expected), expected)
    assert torch.equal(whole(expected.permute(0, 2, 3, 1).numpy()), expected)
    assert torch.equal(whole(model.sample(12, seed=4).clamp(-1, 1)), expected)
    assert torch.equal(whole(prepare(str(tmp_path / "x.npz"), tmp_path / "prepared")), expected)


def test_points_too(points_model: DDGAN, tmp_path: Path) -> None:
    expected = whole(points_model, 12)
    save_samples(points_model, 12, 0, tmp_path / "x.npz")
    assert torch.equal(whole(tmp_path / "x.npz"), expected)
    assert torch.equal(whole(expected), expected)


def test_the_first_n_of_a_file(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(1200, 4, 4, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(1200) % 7)
    samples = open_samples(tmp_path / "x.npz", 1100, 0, 10)
    found = torch.cat(list(samples.batches()))
    assert np.array_equal(found.permute(0, 2, 3, 1), images[:1100])
    assert samples.labels is not None
    assert torch.equal(samples.labels, torch.arange(1100) % 7)
    with pytest.raises(ValueError, match=r"n is 1201, but x.npz has 1200 samples"):
        open_samples(tmp_path / "x.npz", 1201, 0, 10)


def test_jpeg_is_remarked(tmp_path: Path) -> None:
    for index in range(2):
        Image.fromarray(np.full((8, 8, 3), 9 * index, dtype=np.uint8)).save(tmp_path / f"{index}.jpg")
    assert "2 files are JPEG" in open_samples(tmp_path, None, 0, 10).warnings[0]


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (torch.full((4, 3, 8, 8), torch.nan), "4 of 4 samples have NaN or infinite values"),
        (torch.rand(4, 3, 8, 8), r"float images in .*; they must be in \[-1, 1\]"),
        (torch.rand(4, 3, 8, 8) * 255 - 1, r"they must be in \[-1, 1\]"),
        (torch.zeros(4, 8, 8), r"samples have shape \(4, 8, 8\); images must be uint8"),
        (torch.zeros(4, 8, 8, 3, dtype=torch.uint8), "which means 8 channels; tensors must"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.int32), "samples are torch.int32; images must be uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), "samples have shape"),
    ],
)
def test_arrays_that_are_no_images(samples: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_samples(samples, None, 0, 10)


def test_a_model_that_makes_nan_is_refused(model: DDGAN, tmp_path: Path) -> None:
    broken = DDGAN.from_pretrained(model.save(tmp_path / "x.safetensors"))
    with torch.no_grad():
        next(broken.generator.parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="of 5 samples have NaN or infinite values; the model has diverged"):
        whole(broken, 5)


def test_files_that_are_no_samples(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"PK nothing")
    with pytest.raises(ValueError, match=r"x.npz' cannot be read"):
        open_samples(tmp_path / "x.npz", None, 0, 10)
    np.savez(tmp_path / "float.npz", images=np.zeros((3, 4, 4, 3)))
    with pytest.raises(ValueError, match="images of type float64; convert them to uint8"):
        open_samples(tmp_path / "float.npz", None, 0, 10)
    for index, size in enumerate((4, 5)):
        Image.fromarray(np.zeros((size, size, 3), np.uint8)).save(tmp_path / f"{index}.png")
    with pytest.raises(ValueError, match=r"1.png' has shape \(5, 5, 3\), but the first sample \(4, 4, 3\)"):
        whole(tmp_path)


def test_what_is_neither_a_model_nor_samples() -> None:
    with pytest.raises(ValueError, match=r"a dict cannot be scored; pass a model .*, a path, or samples"):
        open_samples({}, None, 0, 10)


def test_only_images_are_quantised() -> None:
    signals, images = torch.randn(4, 2, 16), torch.tensor([-2.0, -1, 0, 1]).view(1, 1, 2, 2)
    assert torch.equal(quantised(signals), signals)
    assert quantised(images).flatten().tolist() == [0, 0, 128, 255]


# --- classes ----------------------------------------------------------------------------------------


def pictures(folder: Path, names: list[str], count: int = 3) -> Path:
    """Folders of these names with 8 x 8 pictures."""
    for value, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            image = Image.fromarray(np.full((8, 8), 20 * value + index, np.uint8))
            image.save(folder / name / f"{index}.png")
    return folder


def real(names: tuple[str, ...] | None, num_classes: int) -> RealData:
    return RealData("cats", "all", np.zeros((1, 1, 8, 8)), np.zeros(1), num_classes, False, "", names)


def test_folders_are_classes_by_their_names(tmp_path: Path) -> None:
    samples = open_samples(pictures(tmp_path, ["dog", "owl"]), 5, 0, 10)
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 0, 0, 1, 1]
    assert samples.class_names == ("dog", "owl")
    assert requested_classes(samples, real(("cat", "dog", "emu", "owl"), 4)).tolist() == [1, 1, 1, 3, 3]
    with pytest.raises(ValueError, match="has the class 'dog', but 'cats' has cat, owl; name the classes"):
        requested_classes(samples, real(("cat", "owl"), 2))
    with pytest.raises(ValueError, match=r"has the class 'dog', but 'cats' has 0, 1, 2, .*, 9, \.\.\.; name"):
        requested_classes(samples, real(None, 12))


def test_folders_with_numbers_are_those_classes(tmp_path: Path) -> None:
    samples = open_samples(pictures(tmp_path, ["2", "07"], 1), None, 0, 10)
    assert sorted(requested_classes(samples, real(None, 10)).tolist()) == [2, 7]


def test_classes_that_the_data_does_not_have_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((4, 8, 8), np.uint8), labels=[0, 1, 2, 9])
    samples = open_samples(tmp_path / "x.npz", None, 0, 10)
    assert requested_classes(samples, real(None, 10)).tolist() == [0, 1, 2, 9]
    with pytest.raises(
        ValueError, match=r"'x.npz' has the class 9, but 'cats' has 0..8; compare with the data"
    ):
        requested_classes(samples, real(None, 9))


def test_some_samples_without_a_class_are_refused_when_classes_are_asked_for(tmp_path: Path) -> None:
    class Some(ArrayReader):
        def __iter__(self) -> Iterator[Item]:
            for index, item in enumerate(super().__iter__()):
                yield dataclasses.replace(item, label=None if index else 0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "ddgan.metrics.samples.open_reader", lambda path: Some(path, np.zeros((3, 8, 8), np.uint8))
        )
        np.savez(tmp_path / "x.npz", images=np.zeros((3, 8, 8), np.uint8))
        samples = open_samples(tmp_path / "x.npz", None, 0, 10)
    with pytest.raises(ValueError, match=r"x.npz' has 2 of 3 samples without a class"):
        assert samples.labels


@pytest.mark.parametrize("name", ["x.npz", "folder"])
@pytest.mark.parametrize("asked", [None, 4])
def test_the_classes_of_recorded_samples_are_read(
    tiny_config: RunConfig, make_model: Callable[..., DDGAN], tmp_path: Path, name: str, asked: int | None
) -> None:
    model = make_model(tiny_config.changed({"conditions": {"label": {"classes": 7}}}))
    save_samples(model, 10, 0, tmp_path / name, classes=asked)
    samples = open_samples(tmp_path / name, None, 0, 10)
    assert samples.labels is not None
    assert samples.labels.tolist() == ([asked] * 10 if asked else [0, 1, 2, 3, 4, 5, 6, 0, 1, 2])
    if asked is None:
        of_model = open_samples(model, 10, 0, 10).labels
        assert of_model is not None
        assert torch.equal(samples.labels, of_model)


def test_samples_of_a_model_without_classes_have_none(model: DDGAN, tmp_path: Path) -> None:
    save_samples(model, 10, 0, tmp_path / "x.npz")
    assert open_samples(tmp_path / "x.npz", None, 0, 10).labels is None
    (tmp_path / "x.npz.json").write_text("[" * 9)
    assert open_samples(tmp_path / "x.npz", None, 0, 10).labels is None


def test_labels_of_points_are_read_and_other_arrays_told(tmp_path: Path) -> None:
    points = np.zeros((5, 2), np.float32)
    np.savez(tmp_path / "x.npz", points=points, labels=np.arange(5), extra=points, more=points)
    samples = open_samples(tmp_path / "x.npz", None, 0, 10)
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 2, 3, 4]
    assert samples.warnings == ("x.npz: the arrays 'extra', 'more' were not read",)
    np.savez(tmp_path / "x.npz", points=points, labels=np.zeros((5, 2)))
    samples = open_samples(tmp_path / "x.npz", None, 0, 10)
    assert samples.labels is None
    assert samples.warnings == ("x.npz: the array 'labels' was not read",)


def test_arrays_of_images_that_are_not_read_are_told(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((80, 8, 8), np.uint8), ids=np.arange(80))
    (tmp_path / "x.npz").rename(tmp_path / "x.NPZ")
    samples = open_samples(tmp_path / "x.NPZ", None, 0, 10)
    assert samples.count == 80
    assert "ids" in samples.warnings[0]
    with pytest.warns(UserWarning, match="x.NPZ: .*not read: ids"):
        ddgan.evaluate(
            np.zeros((80, 8, 8, 1), np.uint8), tmp_path / "x.NPZ", ["precision_recall"], features="pixels"
        )
