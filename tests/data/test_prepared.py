"""A prepared dataset: which images each batch has, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ddgan.data.batch import _order
from ddgan.data.preparation import prepare
from ddgan.data.prepared import ImageDataset

COUNT = 23


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 images; the first pixel of image i is i, and its class is i modulo 3."""
    folder = tmp_path_factory.mktemp("dataset")
    images = np.zeros((COUNT, 4, 4, 1), np.uint8)
    images[:, 0, 0, 0] = np.arange(COUNT)
    np.savez(folder / "x.npz", images=images, labels=np.arange(COUNT) % 3)
    return prepare(str(folder / "x.npz"), folder / "out")


def epoch(dataset: ImageDataset, number: int, count: int = COUNT, size: int = 1) -> list[int]:
    """The images of an epoch, in order, cut from batches of any size that run over its ends."""
    first, last = number * count // size, -(-(number + 1) * count // size)
    shown = torch.cat([dataset.indices(step, size) for step in range(first, last)]).tolist()
    start = number * count - first * size
    return shown[start : start + count]


@pytest.mark.parametrize("size", [1, 4, 7, 23, 50])
def test_every_epoch_shows_every_image_once(prepared: Path, size: int) -> None:
    dataset = ImageDataset(prepared, seed=3)
    orders = [epoch(dataset, number, size=size) for number in range(5)]
    for order in orders:
        assert sorted(order) == list(range(COUNT))
    assert len({tuple(order) for order in orders}) == 5


def test_the_order_depends_on_seed_and_epoch_alone(prepared: Path) -> None:
    """Neither the size of batches, nor what was loaded before, nor the number of processes matters."""
    orders = {size: epoch(ImageDataset(prepared, seed=3), 4, size=size) for size in (1, 5, 23, 40)}
    assert len({tuple(order) for order in orders.values()}) == 1
    _order.cache_clear()
    assert epoch(ImageDataset(prepared, seed=3), 4) == orders[1]
    assert epoch(ImageDataset(prepared, seed=4), 4) != orders[1]
    dataset = ImageDataset(prepared, seed=3)
    whole = dataset.batch(2, 8)
    halves = [dataset.batch(2, 8, rows) for rows in (slice(0, 4), slice(4, 8))]
    assert torch.equal(torch.cat([half.x for half in halves]), whole.x)


def test_batches_have_the_images_and_classes_of_their_indices(prepared: Path) -> None:
    dataset = ImageDataset(prepared)
    batch = dataset.batch(5, 6)
    images, labels = batch.x, batch.label
    shown = dataset.indices(5, 6)
    assert torch.equal(((images[:, 0, 0, 0] + 1) * 127.5).round().long(), shown)
    assert labels is not None
    assert torch.equal(labels, shown % 3)
    assert images.dtype == torch.float32
    assert images.min() >= -1


def test_held_out_images_are_never_in_a_batch(prepared: Path) -> None:
    dataset = ImageDataset(prepared, seed=1, num_held_out=6)
    kept = dataset.held_out(100)
    assert kept is not None
    held = set(((kept.x[:, 0, 0, 0] + 1) * 127.5).round().long().tolist())
    assert len(held) == 6
    for number in range(3):
        shown = epoch(dataset, number, count=COUNT - 6, size=4)
        assert sorted([*shown, *held]) == list(range(COUNT))
    again = ImageDataset(prepared, seed=2, num_held_out=6).held_out(6)  # a resumed run, another seed
    assert again is not None
    assert torch.equal(again.x, kept.x)
    assert ImageDataset(prepared).held_out(5) is None
    with pytest.raises(ValueError, match=r"held_out is 23, but .* has 23 images; hold out fewer"):
        ImageDataset(prepared, num_held_out=COUNT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 0}, r"prepared by another version \(format 0, this one reads 1\); prepare it again"),
        ({"format": None}, "another version"),
        ({"shape": [23, 1, 4]}, "is damaged"),
        ({"shape": [24, 1, 4, 4]}, "is cut short"),
        ({"num_classes": 2}, "does not fit its dataset"),
    ],
    ids=str,
)
def test_caches_of_other_versions_and_damaged_ones_are_refused(
    change: dict[str, object], words: str, prepared: Path, tmp_path: Path
) -> None:
    for file in prepared.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    info = json.loads((prepared / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps(info | change))
    with pytest.raises(ValueError, match=words):
        ImageDataset(tmp_path)


def test_an_older_cache_is_made_again(tmp_path: Path, pixels: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", pixels)
    path = prepare(str(tmp_path / "x.npy"))
    info = json.loads((path / "dataset.json").read_text())
    (path / "dataset.json").write_text(json.dumps(info | {"format": 0}))
    assert prepare(str(tmp_path / "x.npy")) == path
    assert len(ImageDataset(path)) == 12
