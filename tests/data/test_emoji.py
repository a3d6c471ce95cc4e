"""Emoji: all pictures, the split, and the order of training."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np
import pytest
import torch

from ddgan.data.batch import shuffled_indices
from ddgan.data.emoji import GROUPS, Emoji, load_emoji, split_emoji
from ddgan.data.sources import open_data
from ddgan.metrics.real_data import open_real
from shared_data import shared

PER_CLASS = [166, 362, 152, 133, 218, 85, 261, 223, 261]


def test_emoji_are_all_there_and_never_others() -> None:
    images, labels = load_emoji()
    assert (images.shape, images.dtype, labels.dtype) == ((1861, 3, 32, 32), np.uint8, np.int64)
    assert np.bincount(labels).tolist() == PER_CLASS
    assert len(GROUPS) == 9
    digest = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    assert digest == "257be8e314e28e6b01e142df31dd14e438b5b94e0b67d0cdc4905e09e704d960"


def test_emoji_are_those_that_were_rendered() -> None:
    with np.load(shared("emoji") / "emoji32.npz") as file:
        np.testing.assert_array_equal(load_emoji()[0], file["images"].transpose(0, 3, 1, 2))
        np.testing.assert_array_equal(load_emoji()[1], file["labels"])


def test_a_tenth_of_each_class_is_held_out() -> None:
    images, labels = load_emoji()
    (train, train_labels), (test, test_labels) = split_emoji("train"), split_emoji("test")
    assert np.bincount(test_labels).tolist() == [count // 10 for count in PER_CLASS]
    whole = sorted((image.tobytes(), label) for image, label in zip(images, labels, strict=True))
    parts = zip([*train, *test], [*train_labels, *test_labels], strict=True)
    assert sorted((image.tobytes(), label) for image, label in parts) == whole
    assert len({image for image, _ in whole}) == 1861  # each is in one split alone


def test_an_epoch_shows_each_picture_once_with_its_class() -> None:
    data = Emoji(seed=3)
    images, labels = split_emoji("train")
    batch = data.batch(0, len(data))
    assert batch.x.shape == (1678, *Emoji.sample_shape) == (1678, 3, 32, 32)
    assert (batch.x.min(), batch.x.max()) == (-1, 1)
    assert batch.label is not None
    order = shuffled_indices(3, 0, len(data), len(data))
    assert torch.equal(order.sort().values, torch.arange(len(data)))
    assert torch.equal(((batch.x + 1) * 127.5).round().byte(), torch.from_numpy(images)[order])
    assert torch.equal(batch.label, torch.from_numpy(labels)[order])


def test_batches_depend_on_seed_and_step_alone() -> None:
    first = Emoji(seed=1)
    first.batch(0, 8)
    expected = first.batch(5, 8).x
    assert torch.equal(expected, Emoji(seed=1).batch(5, 8).x)
    assert torch.equal(expected[2:5], Emoji(seed=1).batch(5, 8, slice(2, 5)).x)
    assert not torch.equal(expected, first.batch(6, 8).x)
    assert not torch.equal(expected, Emoji(seed=2).batch(5, 8).x)


def test_held_out_pictures_are_those_of_the_test_split() -> None:
    unseen = Emoji(seed=1).held_out(1000)
    assert unseen is not None
    found = {image.numpy().tobytes() for image in ((unseen.x + 1) * 127.5).round().byte()}
    assert found == {image.tobytes() for image in split_emoji("test")[0]}
    assert torch.equal(unseen.x[:20], Emoji(seed=9).held_out(20).x)
    assert Emoji(split="test").held_out(5) is None


def test_emoji_are_opened_by_name() -> None:
    data = open_data("emoji", sample_shape=(3, 32, 32))
    assert (data.conditions.num_classes, data.sample_shape) == (9, (3, 32, 32))
    for split in ("train", "test"):
        real = open_real("emoji", split, num_samples=50_000)
        np.testing.assert_array_equal(real.images, split_emoji(split)[0])
        np.testing.assert_array_equal(real.labels, split_emoji(split)[1])
        assert (real.name, real.split, real.num_classes, real.stacked) == ("emoji", split, 9, False)
    with pytest.raises(ValueError, match="split is 'all'; emoji has train and test"):
        open_real("emoji", "all")


def test_the_source_and_its_licence_lie_beside_the_emoji() -> None:
    notice = files("ddgan.data").joinpath("emoji_notice.txt").read_text(encoding="utf-8")
    for words in ("Noto Emoji, Copyright Google Inc.", "Apache License, Version 2.0", "Open Font License"):
        assert words in notice
