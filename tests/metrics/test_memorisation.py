"""Memorisation: copies are seen, new samples of the same distribution are not accused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.metrics.memorisation import MemorisationScore, memorisation_score, relative_share


def normal(count: int, seed: int) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def test_new_samples_are_as_near_as_held_out_images() -> None:
    score, _, _ = memorisation_score(normal(800, 0), normal(400, 1), normal(500, 2))
    assert score.nearer == pytest.approx(0.5, abs=0.05)
    assert score.interval[0] < score.nearer < score.interval[1]
    assert score.ratio == pytest.approx(1, abs=0.1)
    assert score.copies == 0
    assert (score.num_train, score.num_held_out) == (800, 400)


def test_copies_and_near_copies_are_seen() -> None:
    train = normal(800, 0)
    copies, distances, which = memorisation_score(train, normal(400, 1), train[100:300])
    assert (copies.nearer, copies.copies, copies.near) == (1, 1, 1)
    assert torch.equal(which[:, 0], torch.arange(100, 300))
    assert float(distances[:, 0].max()) == 0
    near, _, _ = memorisation_score(train, normal(400, 1), train[100:300] + 0.01)
    assert near.nearer > 0.99
    assert near.copies == 0


def test_samples_far_from_the_data_are_below_a_half() -> None:
    score, _, _ = memorisation_score(normal(800, 0), normal(400, 1), normal(200, 2) * 3)
    assert score.nearer < 0.2


def test_held_out_images_are_the_nearest_by_chance_unless_samples_are_copies() -> None:
    """Blurred samples, nearer to the mean, are near to all images; they are no copies."""
    train, held_out = normal(800, 0), normal(200, 1)
    for samples in (normal(1000, 2), 0.3 * normal(1000, 2)):
        score, _, _ = memorisation_score(train, held_out, samples)
        low, high = score.held_out_nearest_interval
        assert low < 1 < high
    assert score.nearer > 0.8  # which does not tell blur from copies
    for samples in (train, train + 0.05 * normal(800, 3)):
        score, _, _ = memorisation_score(train, held_out, samples)
        assert score.held_out_nearest < 0.1
        assert score.held_out_nearest_interval[1] < 0.3
    score, _, _ = memorisation_score(train, held_out, held_out)
    assert score.held_out_nearest == pytest.approx(5)  # all of them, and one in five by chance


def test_ties_count_half_and_the_interval_is_over_the_held_out_images() -> None:
    wins = torch.tensor([1.0, 0.5, 1.0, 0.0], dtype=torch.float64)
    share, (low, high) = relative_share(wins, torch.tensor([0, 0, 1, 1]), num_train=3, num_held_out=2)
    expected = 4 * 2 / 5
    half = 1.96 * math.sqrt(2 * 0.25**2)  # counts 1.5 and 1
    assert share == pytest.approx(2.5 / expected)
    assert (low, high) == pytest.approx(((2.5 - half) / expected, (2.5 + half + 3) / expected))


def test_the_chance_is_that_of_all_pairs() -> None:
    train, held_out, samples = normal(50, 0), normal(30, 1), normal(20, 2)
    samples[:5] = held_out[:5]
    own, real = (torch.cdist(x.double(), train.double()).amin(dim=1) for x in (samples, held_out))
    less = (own[:, None] < real - 1e-12).double() + ((own[:, None] - real).abs() <= 1e-12).double() / 2
    score, _, _ = memorisation_score(train, held_out, samples)
    assert score.nearer == pytest.approx(float(less.mean()), abs=1e-3)


def test_digits_of_a_file_that_copies(tmp_path: Path) -> None:
    from ddgan.data.digits import split_digits

    copied = split_digits("train")[0][40:90, :, :, None]
    np.savez(tmp_path / "x.npz", images=copied)
    report = ddgan.evaluate(tmp_path / "x.npz", "single_digits", ["memorisation"], features="pixels")
    assert report.memorisation is not None
    assert report.memorisation.copies == 1
    picture = report.pictures["neighbours"]
    assert picture.shape == (12 * (64 + 3) - 3, 6 * (64 + 3) - 3, 1)
    assert np.array_equal(picture[:64, :64], picture[:64, 67 : 67 + 64])  # the sample and its copy
    report.save(tmp_path / "scores.json")
    assert (tmp_path / "scores.neighbours.png").is_file()
    unseen = split_digits("test")[0][:, :, :, None]
    other = ddgan.evaluate(unseen, "single_digits", ["memorisation"], features="pixels").memorisation
    assert other is not None
    assert other.nearer == pytest.approx(0.5, abs=1e-9)


def noise(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(256, size=(count, 8, 8, 3), dtype=np.uint8)


def scored(samples: Any, data: Any, held_out: Any = None, n: int | None = None) -> MemorisationScore:
    report = ddgan.evaluate(samples, data, ["memorisation"], n, features="pixels", held_out=held_out)
    assert report.memorisation is not None
    return report.memorisation


def test_held_out_images_that_are_training_images_are_refused() -> None:
    samples, train, new = noise(50, 0), noise(300, 1), noise(200, 2)
    with pytest.raises(
        ValueError, match=r"^memorisation needs images that .*: 300 of 300 held-out .* image 0;"
    ):
        scored(samples, train, train)
    mixed = np.concatenate([new, train[5:8]])
    with pytest.raises(
        ValueError, match=r"3 of 203 held-out images .* are training images, the first is image 200"
    ):
        scored(samples, train, mixed)
    assert scored(samples, train, new).num_held_out == 200


def test_a_few_equal_images_are_left_out_and_told() -> None:
    samples, train, new = noise(50, 0), noise(300, 1), noise(200, 2)
    expected = scored(samples, train, new)
    with pytest.warns(
        UserWarning, match=r"left out 2 of 202 held-out images of .* which are also training im"
    ):
        found = scored(samples, train, np.concatenate([train[7:9], new]))
    assert found == expected


def test_points_overlap_too() -> None:
    with pytest.raises(ValueError, match="1,000 of 1,000 held-out images of 'gaussians'"):
        scored(np.zeros((20, 2), np.float32), "gaussians", "gaussians")


def test_images_held_out_by_the_preparation_are_the_default(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", noise(300, 1))
    path = prepare(str(tmp_path / "x.npy"), tmp_path / "out", selection=Selection(hold_out=0.2))
    dataset = ImageDataset(path)
    train, unseen = dataset.images[dataset.trained_rows], dataset.images[dataset.held_out_rows]
    samples = np.concatenate([noise(50, 0), train[:10].transpose(0, 2, 3, 1)])
    found = scored(samples, str(path))
    assert (found.num_train, found.num_held_out, found.copies) == (240, 60, pytest.approx(10 / 60))
    tensors = torch.from_numpy(np.array(train)), torch.from_numpy(np.array(unseen))
    assert found == scored(samples, tensors[0], tensors[1])


def test_the_images_that_a_run_held_out_are_the_default(
    tiny_config: RunConfig, make_model: Callable[..., DDGAN], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", noise(300, 1))
    settings = {"data": str(tmp_path / "x.npy"), "training.held_out": 40}
    model = make_model(tiny_config.changed(settings))
    dataset = model.config.data.open(num_held_out=40)
    train, unseen = (np.array(dataset.images[r]) for r in (dataset.trained_rows, dataset.held_out_rows))
    found = scored(model, None, n=50)
    assert (found.num_train, found.num_held_out) == (260, 40)
    assert found == scored(model, torch.from_numpy(train), torch.from_numpy(unseen), n=50)
    with pytest.raises(ValueError, match="has no splits"):  # named, it need not be the data of the run
        scored(model, str(tmp_path / "x.npy"), n=50)
    model.data_checksum = dataset.checksum
    assert scored(model, str(tmp_path / "x.npy"), n=50) == found


def test_data_without_held_out_images_is_refused(labelled_data: Path) -> None:
    images = np.zeros((20, 12, 12, 1), np.uint8)
    with pytest.raises(ValueError, match=r"bars.npz' has no splits; .*; name some as held_out"):
        ddgan.evaluate(images, str(labelled_data), ["memorisation"])


def test_a_search_of_some_training_images_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ddgan.metrics.real_features.MOST_NEIGHBOURS", 100)
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=images)
    with pytest.warns(UserWarning, match=r"only 100 of [\d,]+ training images were searched"):
        ddgan.evaluate(tmp_path / "x.npz", "single_digits", ["memorisation"], features="pixels")
