"""Data sources by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ddgan.data import EMBEDDED, ImageDataset, check_source, open_source
from ddgan.data.decode import Preparation
from ddgan.data.preparation import prepare


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def array(tmp_path: Path) -> Path:
    path = tmp_path / "x.npz"
    rng = np.random.default_rng(0)
    np.savez(path, images=rng.integers(256, size=(6, 12, 10, 3), dtype=np.uint8), labels=np.arange(6) % 3)
    return path


@pytest.mark.parametrize("name", EMBEDDED)
def test_every_embedded_source_gives_batches_of_its_shape(name: str) -> None:
    source = open_source(name, seed=0)
    images, labels = source.batch(0, 3)
    assert images.shape == (3, *source.state_shape)
    assert (labels is None) == (source.num_classes == 0)
    if labels is not None:
        assert labels.dtype == torch.int64
        assert labels.max() < source.num_classes


@pytest.mark.parametrize(("name", "words"), [("cats", "data is 'cats'"), ("", "names no data")])
def test_other_names_are_answered_with_what_data_may_be(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=rf"{words}.*pass --data with one of digits.*a folder of images"):
        check_source(name)


def test_images_are_prepared_on_the_way_as_the_model_needs_them(array: Path, own_cache: Path) -> None:
    source = open_source(str(array), seed=1, state_shape=(1, 8, 8))
    assert isinstance(source, ImageDataset)
    assert source.state_shape == (1, 8, 8)
    assert source.num_classes == 3
    assert own_cache in source.path.parents
    again = open_source(str(array), seed=1, state_shape=(1, 8, 8))
    assert again.path == source.path  # type: ignore[attr-defined]
    assert torch.equal(source.batch(3, 4).images, again.batch(3, 4).images)


def test_a_prepared_dataset_must_fit_the_model(array: Path, tmp_path: Path) -> None:
    path = prepare(str(array), tmp_path / "out", Preparation(size=8))
    assert open_source(str(path), 0, state_shape=(3, 8, 8)).state_shape == (3, 8, 8)
    with pytest.raises(ValueError, match=r"samples of shape \(1, 8, 8\), but .* has \(3, 8, 8\)"):
        open_source(str(path), 0, state_shape=(1, 8, 8))


@pytest.mark.parametrize(
    ("shape", "words"), [((2,), "but .* has images"), ((3, 8, 6), "only square ones are prepared")]
)
def test_models_that_cannot_be_prepared_for(array: Path, shape: tuple[int, ...], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        open_source(str(array), 0, state_shape=shape)
