"""The classifier of the data: trained once, measured on what it has not seen, and its features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bars import bars

from ddgan.metrics import labelled
from ddgan.metrics.labelled import ClassifierFeatures, Labelled, single_digits_of, trained_classifier
from ddgan.metrics.real_data import RealData, open_real


def stacks(count: int = 400) -> RealData:
    """Stacks of bars, which stand for digits, each bar used in several stacks."""
    rng = np.random.default_rng(3)
    digits = np.arange(200) % 10
    images = bars(digits, 12, 4)
    triples = rng.integers(200, size=(count, 3))
    labels = digits[triples] @ np.array([100, 10, 1])
    return RealData("stacks", "train", images[triples], labels, 1000, True, "checksum of stacks")


def test_it_is_trained_once_and_kept(
    labelled_data: Path, monkeypatch: pytest.MonkeyPatch, session_cache: Path
) -> None:
    real = open_real(str(labelled_data))
    first = trained_classifier(real)
    assert first.accuracy > 0.9
    monkeypatch.setattr(labelled, "fit_classifier", None)  # would be called to train again
    again = trained_classifier(real)
    assert again.checksum == first.checksum
    assert torch.equal(again.network.head.weight, first.network.head.weight)
    assert len(list((session_cache / "classifiers").glob("*.safetensors"))) >= 1


def test_held_out_images_are_not_learned_from(labelled_data: Path) -> None:
    parts = Labelled.of(open_real(str(labelled_data)))
    assert (len(parts.images), len(parts.held_out_images)) == (360, 40)
    learned = {image.tobytes() for image in parts.images}
    assert not any(image.tobytes() in learned for image in parts.held_out_images)


def test_features_and_probabilities(labelled_data: Path) -> None:
    real = open_real(str(labelled_data))
    features = ClassifierFeatures(trained_classifier(real), real.stacked)
    batch = features(next(real.batches(50)), with_probabilities=True)
    assert batch.features.shape == (50, 128)
    assert batch.probabilities is not None
    assert real.labels is not None
    torch.testing.assert_close(batch.probabilities.sum(dim=1), torch.ones(50))
    assert (batch.probabilities.argmax(dim=1).numpy() == real.labels[:50]).mean() > 0.9
    assert features.metadata["classifier_accuracy"] > 0.9


def test_stacks_give_each_of_their_digits_once() -> None:
    data = stacks()
    images, labels = single_digits_of(data)
    assert images.shape[1:] == (1, 12, 12)
    assert len({image.tobytes() for image in images}) == len(images) <= 200
    for image, label in zip(images[:20], labels, strict=False):
        where = np.argwhere((data.images == image[0]).all(axis=(2, 3)))
        stack, channel = where[0]
        assert data.labels is not None
        assert f"{data.labels[stack]:03d}"[channel] == str(label)


def test_stacks_are_read_channel_by_channel() -> None:
    data = stacks()
    classifier = trained_classifier(data)
    assert classifier.accuracy > 0.9
    assert data.labels is not None
    digits, _ = classifier.of_channels.read(next(data.batches()).float() / 127.5 - 1)
    numbers = digits @ torch.tensor([100, 10, 1])
    assert (numbers.numpy() == data.labels).mean() > 0.9
    batch = ClassifierFeatures(classifier, stacked=True)(next(data.batches(30)), with_probabilities=True)
    assert batch.features.shape == (30, 384)
    assert batch.probabilities is not None
    assert torch.equal(batch.probabilities.argmax(dim=1), numbers[:30])


def test_data_without_labels_is_refused() -> None:
    data = RealData("cats", "train", np.zeros((9, 3, 8, 8), np.uint8), None, 0, False, "c")
    with pytest.raises(ValueError, match="'cats' has no labels, which a classifier needs; use"):
        trained_classifier(data)


def test_a_damaged_file_is_named(
    labelled_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path))
    monkeypatch.setattr(labelled, "IMAGES_SEEN", 1)  # two epochs
    real = open_real(str(labelled_data))
    trained_classifier(real)
    (file,) = (tmp_path / "classifiers").iterdir()
    file.write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"{file.name}' is damaged .* delete it, and it will be made again"):
        trained_classifier(real)
    file.unlink()
    trained_classifier(real)
    assert file.stat().st_size > 1
