"""Class weights: how often classes and their samples are drawn, and from what that follows."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddgan
from ddgan import RunConfig
from ddgan.data.batch import Dataset
from ddgan.data.digits import SingleDigits, StackedDigits
from ddgan.data.emoji import Emoji
from ddgan.data.prepared import ImageDataset
from ddgan.data.sources import data_named
from ddgan.data.toy import Gaussians
from ddgan.data.weighting import ClassDraws, Members, WeightedOrder, Weights, in_words, with_class_weights
from steps import changed, untimed

COUNTS = torch.tensor([100, 25, 0, 4])
LABELS = torch.repeat_interleave(torch.arange(4), COUNTS)[torch.randperm(129)]


def weighted(dataset: Dataset, weights: Weights) -> Dataset:
    return with_class_weights(dataset, weights, "the data")[0]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve grey images of the class common, six of it held out at most, and three of the class rare."""
    rng = np.random.default_rng(0)
    for name, count in (("common", 12), ("rare", 3)):
        (tmp_path / "images" / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{index}.png")
    return tmp_path / "images"


@pytest.mark.parametrize(
    ("weights", "shares"),
    [
        ("balanced", [1, 1, 0, 1]),
        ("sqrt", [10, 5, 0, 2]),
        ({"3": 5}, [100, 25, 0, 20]),
        ({"0": 0, "1": 0.5, "2": 9}, [0, 12.5, 0, 4]),
        ({}, [100, 25, 0, 4]),
    ],
)
def test_classes_have_their_shares_in_every_batch_and_over_many(
    weights: Weights, shares: list[float]
) -> None:
    draws = ClassDraws(weights, COUNTS, seed=5)
    expected = torch.tensor(shares, dtype=torch.float64) / sum(shares)
    torch.testing.assert_close(draws.shares, expected)
    size, batches, total = 37, 400, torch.zeros(4)
    for step in range(batches):
        found = torch.bincount(draws.classes(step, size)[0], minlength=4)
        assert ((found - size * expected).abs() < 1 + 1e-9).all()
        assert (found[expected == 0] == 0).all()
        total += found
    # A count has the expectation size * share, and differs from it by less than 1: Hoeffding's bound.
    bound = math.sqrt(2 * batches * math.log(2 * 4 / 1e-6))
    assert ((total - size * batches * expected).abs() < bound).all()


def test_classes_are_at_random_places_of_a_batch() -> None:
    draws = ClassDraws("balanced", torch.tensor([5, 5]), seed=0)
    found = torch.stack([draws.classes(step, 10)[0] for step in range(2000)]).double()
    assert ((found.mean(dim=0) - 0.5).abs() < 5 * 0.5 / math.sqrt(2000)).all()


def test_samples_of_a_class_are_equally_frequent() -> None:
    members, rng = Members(LABELS, 4), torch.Generator().manual_seed(0)
    drawn = members.draw(torch.full((40_000,), 1), rng)
    assert (LABELS[drawn] == 1).all()
    counts = torch.bincount(drawn, minlength=129)[LABELS == 1].double()
    chi_square = float(((counts - 1600) ** 2 / 1600).sum())
    assert chi_square < 24 + 5 * math.sqrt(2 * 24)  # mean and deviation of 24 degrees of freedom


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    def indices(seed: int, step: int) -> torch.Tensor:
        return WeightedOrder("sqrt", LABELS, 4, seed).indices(step, 32)

    torch.manual_seed(1)
    first = indices(0, 3)
    torch.manual_seed(2)
    assert torch.equal(indices(0, 3), first)
    assert not torch.equal(indices(0, 4), first)
    assert not torch.equal(indices(1, 3), first)


@pytest.mark.parametrize(
    "dataset", [Emoji(), SingleDigits(), StackedDigits()], ids=lambda one: type(one).__name__
)
def test_embedded_data_is_weighted_and_else_unchanged(dataset: Dataset) -> None:
    before = dataset.batch(3, 16)
    other = weighted(dataset, "balanced")
    assert torch.equal(dataset.batch(3, 16).x, before.x)
    assert other.sample_shape == dataset.sample_shape
    held_out = [one.held_out(8) for one in (other, dataset)]
    assert held_out[0] is not None
    assert held_out[1] is not None
    assert torch.equal(held_out[0].x, held_out[1].x)
    whole, part = other.batch(2, 16), other.batch(2, 16, slice(4, 9))
    assert torch.equal(whole.rows(slice(4, 9)).x, part.x)
    assert whole.label is not None
    assert part.label is not None
    assert torch.equal(whole.label[4:9], part.label)
    classes = dataset.conditions.num_classes
    size = 1000 * max(classes // 100, 1)
    label = other.batch(0, size).label
    assert label is not None
    counts = torch.bincount(label, minlength=classes)
    assert ((counts - size / classes).abs() <= 1).all()


def test_weighted_digits_are_the_digits_of_their_class() -> None:
    data = StackedDigits()
    batch = weighted(data, {"0": 0, "7": 400}).batch(0, 64)  # 7 is the class 007
    assert batch.label is not None
    assert int((batch.label == 7).sum()) > 10
    triples = data._digits.flatten(1)
    for image, label in zip(batch.x, batch.label.tolist(), strict=True):
        for channel, digit in enumerate(f"{label:03}"):
            (place,) = (triples == image[channel].flatten()).all(dim=1).nonzero()[:1, 0]
            assert int(data.labels[place]) == int(digit)


def test_a_folder_of_classes_by_name_and_by_number(folder: Path) -> None:
    config = data_named(str(folder))
    dataset = config.open(num_held_out=4)
    assert isinstance(dataset, ImageDataset)
    common = int((dataset.labels[dataset.trained_rows] == 0).sum())  # type: ignore[index]
    rare = 11 - common
    other, words = with_class_weights(dataset, {"rare": 3}, config.name)
    label = other.batch(0, 1100).label
    assert label is not None
    assert abs(int(label.sum()) - 1100 * 3 * rare / (common + 3 * rare)) <= 1
    assert "a sample of 'rare' is drawn 3 times as often as one of 'common'" in words
    same = weighted(dataset, {"1": 3}).batch(0, 1100)
    assert torch.equal(same.x, other.batch(0, 1100).x)
    held_out = dataset.held_out(4)
    assert held_out is not None
    assert not any((other.batch(0, 500).x == one).flatten(1).all(dim=1).any() for one in held_out.x)


def test_data_from_python_is_weighted_in_training_and_resumes_exactly(
    tiny_config: RunConfig, tmp_path: Path
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 3), np.uint8)
    labels = ["a"] * 18 + ["b"] * 2
    config = changed(tiny_config, class_weights={"b": 9}, keep_every=1)
    whole = ddgan.train(config, tmp_path / "whole", data=(images, labels), verbose=False).path
    assert RunConfig.load(whole / "config.yaml").training.class_weights == {"b": 9.0}
    shutil.copytree(whole, run := tmp_path / "run")
    for step in (4, 5):
        shutil.rmtree(run / "checkpoints" / f"step-{step:08d}")
    ddgan.resume(run, verbose=False)
    assert untimed(run) == untimed(whole)
    ours, theirs = (ddgan.load(path).state_dict() for path in (run, whole))
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    plain = ddgan.train(
        changed(config, class_weights=None), tmp_path / "plain", data=(images, labels), verbose=False
    )
    assert untimed(plain.path) != untimed(whole)


@pytest.mark.parametrize(
    ("dataset", "weights", "words"),
    [
        (Gaussians(), "sqrt", "training.class_weights is set, but the data has no classes; leave it out"),
        (
            Emoji(),
            {"cats": 2},
            "names the class 'cats', which the data does not have; its classes are Smileys",
        ),
        (
            SingleDigits(),
            {"10": 2},
            "names the class '10', which the data does not have; its classes are 0, 1",
        ),
        (SingleDigits(), {str(k): 0 for k in range(10)}, "gives all classes of the data the weight 0"),
    ],
)
def test_mistakes_are_named(dataset: Dataset, weights: Weights, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        weighted(dataset, weights)


def test_data_of_ones_own_without_weights_is_refused() -> None:
    class Bare:
        conditions = SingleDigits.conditions

    with pytest.raises(ValueError, match=r"is set, but Bare has no method weighted\(weights\)"):
        weighted(Bare(), "sqrt")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("half", "training.class_weights is 'half'; it must be one of balanced or sqrt, or a mapping"),
        ({"cat": -1}, "training.class_weights.cat is -1; it must be at least 0"),
        ({"cat": "2"}, "training.class_weights.cat is '2'; it must be a number"),
    ],
)
def test_mistakes_in_the_setting_are_named(tiny_config: RunConfig, given: object, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        tiny_config.changed({"training.class_weights": given})
    numbered = tiny_config.changed({"training.class_weights": {7: 2}})
    assert numbered.training.class_weights == {"7": 2.0}
    assert RunConfig.from_dict(numbered.to_dict()) == numbered


def test_words_name_the_extremes() -> None:
    draws = ClassDraws({"2": 0}, torch.tensor([8, 1, 1]), 0, ["a", "b", "c"])
    assert in_words(draws) == "class weights: 'a' is 88.9% of a batch, 'c' 0.0%"
    assert in_words(Emoji().weighted("sqrt")[1]).count("'") == 8
