"""Stacked digits: the split, and triples that depend on (seed, step) alone."""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np
import pytest
import torch

from ddgan.data.digits import HELD_OUT_PER_CLASS, SingleDigits, StackedDigits, load_digits, split_digits


def test_digits_are_those_of_scikit_learn_on_the_full_range() -> None:
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    images, labels = load_digits()
    np.testing.assert_array_equal(np.round(images * (16 / 255)), theirs.images)
    np.testing.assert_array_equal(images, np.round(theirs.images * (255 / 16)).astype(np.uint8))
    np.testing.assert_array_equal(labels, theirs.target)


def test_digits_are_all_there_and_never_others() -> None:
    images, labels = load_digits()
    assert (images.shape, images.dtype, labels.dtype) == ((1797, 8, 8), np.uint8, np.int64)
    assert (images.min(), images.max(), len(np.unique(images))) == (0, 255, 17)
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    digest = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes()).hexdigest()
    assert digest == "0b7e9c3202d7bcd255d6a19a238d3743bf5e320ba74812a6679958a017c55382"


def test_the_split_is_fixed_balanced_and_complete() -> None:
    images, labels = load_digits()
    (train, train_labels), (held_out, held_out_labels) = split_digits("train"), split_digits("test")
    assert np.bincount(held_out_labels).tolist() == [HELD_OUT_PER_CLASS] * 10
    together = np.concatenate([train, held_out]).reshape(1797, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, images.reshape(1797, -1)))
    assert sorted([*train_labels, *held_out_labels]) == sorted(labels)
    assert not {bytes(i) for i in train.reshape(len(train), -1)} & {
        bytes(i) for i in held_out.reshape(360, -1)
    }


def test_each_channel_is_one_training_digit() -> None:
    data = StackedDigits(seed=4)
    triples = data.triples(3, 16)
    batch, numbers = data.batch(3, 16).x, data.batch(3, 16).label
    assert batch.shape == (16, *StackedDigits.sample_shape) == (16, 3, 8, 8)
    assert batch.min() == -1
    assert batch.max() == 1
    train, labels = split_digits("train")
    expected = torch.from_numpy(train)[triples].float() / 127.5 - 1
    assert torch.equal(batch, expected)
    assert torch.equal(data.labels, torch.from_numpy(labels))
    written = ["".join(map(str, row)) for row in torch.from_numpy(labels)[triples].tolist()]
    assert numbers is not None
    assert [f"{number:03d}" for number in numbers.tolist()] == written


def test_batches_depend_on_seed_and_step_alone() -> None:
    first = StackedDigits(seed=1)
    first.batch(0, 8)
    expected = first.batch(5, 8).x
    assert torch.equal(expected, StackedDigits(seed=1).batch(5, 8).x)
    assert not torch.equal(expected, first.batch(6, 8).x)
    assert not torch.equal(expected, StackedDigits(seed=2).batch(5, 8).x)


def test_single_digits_are_grey_with_ten_classes() -> None:
    data = SingleDigits(seed=0)
    images, labels = data.batch(0, 500).x, data.batch(0, 500).label
    assert images.shape == (500, 1, 8, 8)
    assert labels is not None
    assert sorted(labels.unique().tolist()) == list(range(10))
    train, train_labels = split_digits("train")
    for image, label in zip(images[:20], labels[:20].tolist(), strict=True):
        same = (torch.from_numpy(train).float() / 127.5 - 1 == image).all(dim=2).all(dim=1)
        assert label in train_labels[same.numpy()]


@pytest.mark.parametrize("split", ["train", "test"])
def test_all_thousand_modes_are_equally_likely_up_to_the_classes(split: str) -> None:
    data = StackedDigits(seed=0, split=split)
    share = torch.bincount(data.labels, minlength=10).double() / len(data.labels)
    numbers = data.labels[data.triples(0, 200_000)] @ torch.tensor([100, 10, 1])
    counts = torch.bincount(numbers, minlength=1000).double()
    expected = 200_000 * torch.einsum("i,j,k->ijk", share, share, share).flatten()
    chi_squared = ((counts - expected).square() / expected).sum()
    assert chi_squared < 999 + 5 * (2 * 999) ** 0.5  # five standard deviations


def test_the_source_and_its_licence_lie_beside_the_digits() -> None:
    notice = files("ddgan.data").joinpath("digits_notice.txt").read_text(encoding="utf-8")
    for words in ("E. Alpaydin and C. Kaynak", "UCI Machine Learning Repository, 1998", "CC BY 4.0"):
        assert words in notice
