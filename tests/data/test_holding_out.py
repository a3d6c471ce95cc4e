"""Images are held out by their contents: the same share of the same images, never one of two equal ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddgan.data.from_python import kept
from ddgan.data.holding_out import held_out_rows, image_key, image_keys
from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import HELD_OUT_NAME, ImageDataset
from ddgan.data.sources import ImagesConfig


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 4, 4, 3), dtype=np.uint8)


def test_equal_images_have_equal_keys() -> None:
    images = noise(1000)
    keys = image_keys(images)
    assert (keys.shape, keys.dtype) == ((1000,), np.uint64)
    assert len(np.unique(keys)) == 1000
    assert np.array_equal(image_keys(np.asfortranarray(images)), keys)
    assert image_key(images[3]) == keys[3].tobytes()
    changed = images[3].copy()
    changed[0, 0, 0] ^= 1
    assert image_key(changed) != image_key(images[3])


@pytest.mark.parametrize(("count", "share", "expected"), [(60, 0.1, 6), (1000, 0.25, 250), (7, 0.3, 2)])
def test_the_share_is_exact_and_does_not_depend_on_the_order(count: int, share: float, expected: int) -> None:
    keys = image_keys(noise(count))
    rows = held_out_rows(keys, share)
    assert len(rows) == expected
    assert (np.diff(rows) > 0).all()
    order = np.random.default_rng(1).permutation(count)
    assert set(order[held_out_rows(keys[order], share)]) == set(rows)


def test_equal_images_stay_together() -> None:
    images = noise(50)[np.arange(150) % 50]  # each three times
    rows = held_out_rows(image_keys(images), 0.2)
    assert len(rows) == 30
    assert len(set(rows % 50)) == 10


def test_a_share_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hold_out is 0.01, which is 0 of 20 images \(20 different ones\)"):
        held_out_rows(image_keys(noise(20)), 0.01)
    with pytest.raises(ValueError, match=r"0 of 20 images \(1 different ones\)"):
        held_out_rows(image_keys(np.zeros((20, 4, 4, 1), np.uint8)), 0.5)


def test_no_batch_has_an_image_held_out_by_the_preparation(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=noise(40), labels=np.arange(40) % 4)
    path = prepare(str(tmp_path / "x.npz"), tmp_path / "out", selection=Selection(hold_out=0.2))
    dataset = ImageDataset(path)
    assert (len(dataset.held_out_rows), len(dataset.trained_rows), dataset.info["num_held_out"]) == (8, 32, 8)
    held_out = dataset.held_out(100)
    assert held_out is not None
    assert held_out.label is not None
    assert held_out.label.tolist() == (dataset.held_out_rows % 4).tolist()
    unseen = {tuple(image.flatten().tolist()) for image in held_out.x}
    seen = {tuple(image.flatten().tolist()) for image in dataset.batch(0, 400).x}
    assert (len(seen), len(unseen), seen & unseen) == (32, 8, set())
    assert dataset.checksum_now() == dataset.checksum
    without = ImageDataset(prepare(str(tmp_path / "x.npz"), tmp_path / "all"))
    assert without.checksum != dataset.checksum
    assert not len(without.held_out_rows)
    with pytest.raises(
        ValueError, match=r"training.held_out is 3, but .* with 8 images held out; set it to 0"
    ):
        ImageDataset(path, num_held_out=3)
    with pytest.raises(ValueError, match=r"hold_out is 0.5, but .* was prepared with 0.2; leave it out, or"):
        ImagesConfig(path=str(path), hold_out=0.5).open()
    ImagesConfig(path=str(path), hold_out=0.2).open()


def test_objects_can_be_held_out_too(own_cache: Path) -> None:
    config = kept(noise(40), ImagesConfig(hold_out=0.25))
    dataset = config.open()
    assert isinstance(dataset, ImageDataset)
    assert len(dataset.held_out_rows) == 10
    assert config.hold_out == 0.25


@pytest.mark.parametrize("rows", [[0, 1], [0, 0, 1, 2], [-1, 0, 1, 2], [0, 1, 2, 40], [0.0, 1.0, 2.0, 3.0]])
def test_damaged_indices_are_refused(tmp_path: Path, rows: list[float]) -> None:
    np.save(tmp_path / "x.npy", noise(40))
    path = prepare(str(tmp_path / "x.npy"), tmp_path / "out", selection=Selection(hold_out=0.1))
    np.save(path / HELD_OUT_NAME, np.array(rows))
    with pytest.raises(ValueError, match=r"held_out.npy' does not fit its dataset; prepare it again"):
        ImageDataset(path)
    (path / HELD_OUT_NAME).unlink()
    with pytest.raises(ValueError, match=r"held_out.npy' cannot be read: "):
        ImageDataset(path)
