"""Samples in all their forms are the same samples, and what cannot be scored is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddgan import DDGAN
from ddgan.data.preparation import prepare
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
