"""The classifier of digits must read digits, and must not read what is not one."""

from __future__ import annotations

import numpy as np
import torch

from ddgan.data.digits import split_digits
from ddgan.metrics.classifier import (
    CONFIDENT,
    MeasuredClassifier,
    non_digits,
    shuffle_pixels,
    train_digit_classifier,
)


def held_out() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = split_digits("test")
    return torch.from_numpy(images).float().unsqueeze(1) / 127.5 - 1, torch.from_numpy(labels)


def test_the_classifier_is_trustworthy(classifier: MeasuredClassifier) -> None:
    assert classifier.accuracy >= 0.985
    assert classifier.confident_real >= 0.9
    assert classifier.confident_shuffled <= 0.2


def test_its_own_figures_are_those_of_the_held_out_digits(classifier: MeasuredClassifier) -> None:
    images, labels = held_out()
    digit, confidence = classifier.read(images)
    assert classifier.accuracy == (digit[:, 0] == labels).double().mean()
    assert classifier.confident_real == (confidence >= CONFIDENT).double().mean()


def test_it_reads_noisy_digits_as_a_person_does(classifier: MeasuredClassifier) -> None:
    images, labels = held_out()
    noisy = images + 0.2 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    digit, _ = classifier.read(noisy.clamp(-1, 1))
    assert (digit[:, 0] == labels).double().mean() > 0.95


def test_it_reads_neither_blends_nor_blanks_nor_blobs(classifier: MeasuredClassifier) -> None:
    images, labels = held_out()
    rng = torch.Generator().manual_seed(1)
    blends = (images + images.flip(0))[labels != labels.flip(0)] / 2
    shares = {
        "non-digits": classifier.read(non_digits(images, labels, rng))[1],
        "blends": classifier.read(blends)[1],
        "blank": classifier.read(torch.full((1, 1, 8, 8), -1.0))[1],
        "full": classifier.read(torch.full((1, 1, 8, 8), 1.0))[1],
        "mean digit": classifier.read(images.mean(dim=0, keepdim=True))[1],
    }
    shares = {name: (confidence >= CONFIDENT).double().mean() for name, confidence in shares.items()}
    assert {name: share for name, share in shares.items() if share > 0.2} == {}


def test_channels_are_read_one_by_one(classifier: MeasuredClassifier) -> None:
    images, _ = held_out()
    stacked = images[:30].view(10, 3, 8, 8)
    digits, confidence = classifier.read(stacked)
    alone, alone_confidence = classifier.read(images[:30])
    assert torch.equal(digits, alone.view(10, 3))
    torch.testing.assert_close(confidence, alone_confidence.view(10, 3))


def test_shuffling_keeps_each_images_pixels() -> None:
    images, _ = held_out()
    shuffled = shuffle_pixels(images, torch.Generator().manual_seed(0))
    assert shuffled.shape == images.shape
    assert torch.equal(shuffled.flatten(1).sort(dim=1).values, images.flatten(1).sort(dim=1).values)
    assert (shuffled != images).any(dim=(1, 2, 3)).all()


def test_training_depends_on_its_seed_alone() -> None:
    images, labels = (part[:200] for part in split_digits("train"))
    torch.manual_seed(3)
    first = train_digit_classifier(images, labels, seed=0, num_epochs=2)
    expected = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(2), expected)  # torch's own state was left alone
    again = train_digit_classifier(np.array(images), labels, seed=0, num_epochs=2)
    other = train_digit_classifier(images, labels, seed=1, num_epochs=2)
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
