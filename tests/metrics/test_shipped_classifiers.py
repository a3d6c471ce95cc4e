"""The classifiers that come with ddgan: what they tell apart, what a record says, which files are refused."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from docs.results import classifiers as script
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

import ddgan
from ddgan.data.emoji import split_emoji
from ddgan.metrics.classifier import keep_classifier, kept_classifier
from ddgan.metrics.collect import FeatureCollector
from ddgan.metrics.frechet import frechet_distance
from ddgan.metrics.moments import Statistics
from ddgan.metrics.real_data import open_real
from ddgan.metrics.shipped_classifiers import (
    FOLDER,
    CompactClassifier,
    ShippedClassifier,
    about,
    open_classifier,
    whitening_filters,
)
from shared_data import shared

EMOJI = FOLDER / "emoji.safetensors"
FEWEST_RIGHT = {"cifar10": 0.9, "emoji": 0.7, "mnist": 0.99}
"""The least accuracy on held-out images; CIFAR-10 misses its target of .93 (docs/results/classifiers.md)."""
MOST_BYTES = 5 * 10**6


class Labelled(NamedTuple):
    """Real images, their labels, and the features of the classifier that comes for them."""

    images: Tensor
    labels: Tensor
    features: ShippedClassifier


def held_out(name: str) -> tuple[np.ndarray, np.ndarray]:
    if name == "emoji":
        return split_emoji("test")
    real = open_real(str(shared(name)), "test")
    assert real.labels is not None
    return np.array(real.images), real.labels


def opened(name: str) -> ShippedClassifier:
    path = FOLDER / f"{name}.safetensors"
    if not path.is_file():
        pytest.skip(f"the weights of {name}_classifier are not there yet")
    return ShippedClassifier(path)


@pytest.fixture(scope="module", params=["cifar10", "emoji", "mnist"])
def real(request: pytest.FixtureRequest) -> Labelled:
    """A thousand held-out images in random order; of emoji, which are few, some of the train split too."""
    features = opened(request.param)
    images, labels = held_out(request.param)
    if request.param == "emoji":
        more = split_emoji("train")
        images, labels = np.concatenate([images, more[0]]), np.concatenate([labels, more[1]])
    order = np.random.default_rng(0).permutation(len(labels))[:1000]
    return Labelled(torch.from_numpy(images[order]), torch.from_numpy(labels[order]), features)


def statistics(features: ShippedClassifier, images: Tensor) -> Statistics:
    collector = FeatureCollector(features, len(images), torch.device("cpu"))
    collector.update(images)
    return collector.statistics()


def blurred(images: Tensor, sigma: float) -> Tensor:
    place = torch.arange(-8, 9.0)
    weights = (-0.5 * (place / max(sigma, 1e-3)) ** 2).softmax(dim=0)
    channels = images.shape[1]
    x = F.pad(images.float(), [8] * 4, mode="reflect")
    for shape in ((1, 1, 17, 1), (1, 1, 1, 17)):
        x = F.conv2d(x, weights.view(shape).repeat(channels, 1, 1, 1), groups=channels)
    return x.round().byte()


def noisy(images: Tensor, deviation: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + deviation * noise).round().clamp(0, 255).byte()


@pytest.mark.parametrize(
    ("change", "strengths"),
    [(blurred, (0.0, 0.5, 1.0, 2.0)), (noisy, (0.0, 16.0, 32.0, 64.0))],
    ids=["blur", "noise"],
)
def test_the_frechet_distance_rises_with_what_spoils_images(
    real: Labelled, change: Callable[[Tensor, float], Tensor], strengths: tuple[float, ...]
) -> None:
    middle = len(real.images) // 2
    reference = statistics(real.features, real.images[:middle])
    others = real.images[middle:]
    assert torch.equal(change(others, 0.0), others)
    distances = [
        frechet_distance(statistics(real.features, change(others, strength)), reference)
        for strength in strengths
    ]
    assert distances == sorted(distances)
    assert distances[-1] > 5 * distances[0]


def test_the_frechet_distance_rises_with_the_classes_that_are_missing(real: Labelled) -> None:
    middle = len(real.images) // 2
    reference = statistics(real.features, real.images[:middle])
    images, labels = real.images[middle:], real.labels[middle:]
    kept = [int(labels.max()) + 1, 7, 5, 3]
    count = int((labels < kept[-1]).sum())  # as many of each, as fewer images are farther away
    distances = [
        frechet_distance(statistics(real.features, images[labels < most][:count]), reference) for most in kept
    ]
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[0]


@pytest.mark.parametrize("name", FEWEST_RIGHT)
def test_the_accuracy_in_the_file_is_the_one_that_the_weights_have(name: str) -> None:
    features = opened(name)
    images, labels = held_out(name)
    found = []
    for part in torch.from_numpy(images).split(1000):
        probabilities = features(part, with_probabilities=True).probabilities
        assert probabilities is not None
        torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(len(part)))
        found.append(probabilities.argmax(dim=1))
    accuracy = float((torch.cat(found).numpy() == labels).mean())
    assert accuracy == pytest.approx(features.metadata["classifier_accuracy"], abs=1.5 / len(labels))
    assert accuracy >= FEWEST_RIGHT[name]


@pytest.mark.parametrize("name", FEWEST_RIGHT)
def test_weights_are_small_and_say_how_they_were_made(name: str) -> None:
    opened(name)
    path = FOLDER / f"{name}.safetensors"
    assert path.stat().st_size <= MOST_BYTES
    tensors, known = kept_classifier(path)
    assert {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()} == {torch.float16}
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())
    assert {"name", "version", "num_classes", "seed", "epochs", "minutes", "device", "accuracy"} <= set(known)


def test_a_score_says_which_weights_it_was_made_by(tmp_path: Path) -> None:
    images = split_emoji("test")[0].transpose(0, 2, 3, 1)
    with pytest.warns(UserWarning, match="rank 182 at most in 256 dimensions"):
        report = ddgan.evaluate(
            images, "emoji", ["frechet", "precision_recall", "inception_score"], features="emoji_classifier"
        )
    assert report.frechet is not None
    assert report.frechet.name == "Fréchet distance (emoji_classifier features)"
    assert report.precision_recall is not None
    assert report.inception_score is not None
    assert "FID" not in str(report.table())
    report.save(tmp_path / "scores.json")
    features = json.loads((tmp_path / "scores.json").read_text())["features"]
    checksum = sha256(EMOJI.read_bytes()).hexdigest()
    known = kept_classifier(EMOJI)[1]
    assert (features["name"], features["checksum"]) == ("emoji_classifier", checksum)
    assert features["metadata"] == {
        "classifier": "emoji",
        "classifier_version": known["version"],
        "classifier_accuracy": known["accuracy"],
        "classifier_sha256": checksum,
    }


def test_samples_of_another_shape_are_refused_before_the_work() -> None:
    words = r"emoji_classifier are for images of 3 x 32 x 32 .*, and these samples have 3 x 8 x 8; choose"
    with pytest.raises(ValueError, match=words):
        ddgan.evaluate(np.zeros((4, 8, 8, 3), np.uint8), "digits", ["frechet"], features="emoji_classifier")
    with pytest.raises(ValueError, match="these samples have 1 x 32 x 32; choose the features classifier"):
        ShippedClassifier(EMOJI)(torch.zeros(2, 1, 32, 32, dtype=torch.uint8))


def copied(tmp_path: Path, name: str = "emoji") -> Path:
    return Path(shutil.copy(EMOJI, tmp_path / f"{name}.safetensors"))


def refused(path: Path, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        ShippedClassifier(path)
    assert "\n" not in str(error.value)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = copied(tmp_path)
    for size in (EMOJI.stat().st_size - 1, 1000, 4, 0):
        path.write_bytes(EMOJI.read_bytes()[:size])
        refused(path, r"emoji.safetensors' is damaged \(.*\); install ddgan again")


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    refused(copied(tmp_path, "cifar10"), "does not hold the classifier cifar10; install ddgan again")
    path = tmp_path / "emoji.safetensors"
    save_file({"x": torch.zeros(3)}, path, {"format": "pt"})
    refused(path, "is damaged")
    for known in ({}, [], {"name": "emoji"}, {"name": "emoji", "sample_shape": [], "widths": 3}):
        save_file({"x": torch.zeros(3)}, path, {"facts": json.dumps(known)})
        refused(path, "does not hold the classifier emoji; install ddgan again")
    network = CompactClassifier(3, 9, (8, 8, 8))
    described = about(network, (3, 32, 32), name="emoji", version=1, accuracy=0.5) | {"widths": [8, 8, 16]}
    keep_classifier(path, network, described)
    refused(path, "does not hold the tensors that its metadata describes; install ddgan again")


def test_weights_that_are_not_there_say_how_they_are_made(tmp_path: Path) -> None:
    refused(
        tmp_path / "cifar10.safetensors",
        "cifar10_classifier: this version of ddgan has no weights for them; make them with python "
        "docs/results/classifiers.py cifar10 --data",
    )


def test_what_is_written_is_opened_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CompactClassifier(1, 4, (8, 16, 8)).eval()
    assert network.num_features == 8
    path = tmp_path / "mnist.safetensors"
    keep_classifier(path, network, about(network, (1, 28, 28), name="mnist", version=1, accuracy=0.5))
    again, known = open_classifier(path)
    assert (known["sample_shape"], known["accuracy"]) == ([1, 28, 28], 0.5)
    images = torch.rand(3, 1, 28, 28) * 2 - 1
    with torch.no_grad():
        assert torch.equal(again(images), network(images))
        assert network.features(images).shape == (3, 8)
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_filters_whiten_the_patches_of_images() -> None:
    rng = torch.Generator().manual_seed(0)
    images = F.avg_pool2d(torch.randn(64, 3, 18, 18, generator=rng), 3, 1)
    images[:, 1] += images[:, 0]
    filters, biases = whitening_filters(images + 3, eps=0.0)
    assert filters.shape == (24, 3, 2, 2)
    assert torch.equal(filters[:12], -filters[12:])
    answers = F.conv2d(images + 3, filters[:12], biases[:12]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(answers.mean(dim=1), torch.zeros(12), rtol=0, atol=1e-3)
    torch.testing.assert_close(torch.cov(answers), torch.eye(12), rtol=0, atol=2e-3)


def strokes(count: int = 128) -> Tensor:
    """Thin bright strokes on black, uint8 (N, 1, 28, 28): upright for even indices, level for odd ones."""
    images = torch.zeros(count, 1, 28, 28, dtype=torch.uint8)
    place = torch.randint(6, 20, (count,), generator=torch.Generator().manual_seed(0))
    for index, at in enumerate(place.tolist()):
        image = images[index, 0]
        (image if index % 2 else image.T)[at : at + 2, 6:22] = 255
    return images


def test_no_channel_begins_constant() -> None:
    """Batch norm divides by what deviation a channel has; a constant one gave gradients of thousands."""
    images, labels = strokes(), torch.arange(128) % 2
    for seed in range(3):
        torch.manual_seed(seed)
        network = CompactClassifier(1, 2, (16, 16, 16))
        filters, biases = whitening_filters(images.float() / 127.5 - 1)
        network.whiten.weight.data.copy_(filters)
        network.whiten.bias.data.copy_(biases)
        F.cross_entropy(network(images.float() / 127.5 - 1), labels).backward()
        gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
        assert torch.cat([gradient.flatten() for gradient in gradients]).norm() < 3


def test_training_learns_and_writes_what_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for part, count in (("train", 128), ("t10k", 64)):  # the form of MNIST's files
        sizes = struct.pack(">HBBIII", 0, 8, 3, count, 28, 28), struct.pack(">HBBI", 0, 8, 1, count)
        images, labels = strokes(count).numpy(), np.arange(count, dtype=np.uint8) % 2
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(sizes[0] + images.tobytes())
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(sizes[1] + labels.tobytes())
    recipe = script.Recipe(epochs=10, flips=False, widths=(8, 8, 8), batch_size=32, lr=0.2)
    monkeypatch.setitem(script.RECIPES, "mnist", recipe)
    out = tmp_path / "mnist.safetensors"
    monkeypatch.setattr(
        "sys.argv", ["classifiers.py", "mnist", "--data", str(tmp_path), "--out", str(out), "--device", "cpu"]
    )
    script.main()
    features = ShippedClassifier(out)
    probabilities = features(strokes(64), with_probabilities=True).probabilities
    assert probabilities is not None
    accuracy = float((probabilities.argmax(dim=1) == torch.arange(64) % 2).double().mean())
    assert features.metadata["classifier_accuracy"] == accuracy >= 0.9
    assert f"mnist: accuracy {accuracy:.2%} on 64 test images, seed 0, 10 epochs" in capsys.readouterr().out


def test_images_are_moved_by_two_pixels_at_most_and_reflect_at_the_edges() -> None:
    images = torch.arange(2 * 6 * 6.0).view(1, 2, 6, 6).expand(200, -1, -1, -1)
    moved = script.translated(images, torch.Generator().manual_seed(0))
    padded = F.pad(images[:1], [2] * 4, mode="reflect")[0]
    every = {padded[:, y : y + 6, x : x + 6].numpy().tobytes() for y in range(5) for x in range(5)}
    assert {image.numpy().tobytes() for image in moved} == every
