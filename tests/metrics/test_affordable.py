"""Scores that cost little: the clock decides how many samples, and the shape which features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import ddgan
from ddgan import DDGAN, RunConfig
from ddgan.metrics import affordable as module
from ddgan.metrics.affordable import LEAST, NUMBERS, SHARE, affordable
from ddgan.metrics.comparison_inputs import Inputs
from ddgan.metrics.samples import Samples


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds per sample and per image that the probes measure."""
    pace = {"sample": 0.001, "image": 0.0, "once": 0.0, "fixed": 0.0}
    monkeypatch.setattr(module, "probed", lambda model, seconds: (torch.empty(0), pace["sample"]))
    monkeypatch.setattr(
        module, "_cost", lambda *given: module._Cost(pace["once"], pace["fixed"], pace["image"])
    )
    return pace


@pytest.mark.parametrize(
    ("seconds", "sample", "n"),
    [
        (3600, 0.001, 10_000),  # 180 s are allowed, 10 s needed
        (3600, 0.018, 10_000),
        (3600, 0.0181, 5_000),
        (1, 0.001, 10_000),  # LEAST
        (1, 0.011, 500),
        (400, 0.1, 200),
    ],
)
def test_the_largest_number_that_fits_is_taken(
    points_model: DDGAN, pace: dict[str, float], seconds: float, sample: float, n: int
) -> None:
    pace["sample"] = sample
    choice = affordable(points_model, seconds)
    assert choice.n == n
    assert n * sample <= max(SHARE * seconds, LEAST)
    assert [metric.kind for metric in choice.metrics] == ["modes"]


@pytest.mark.parametrize("costs", [{"sample": 1.0}, {"image": 1.0}, {"once": 50.0}, {"fixed": 10.0}], ids=str)
def test_what_takes_too_long_is_not_done(
    points_model: DDGAN, pace: dict[str, float], costs: dict[str, float]
) -> None:
    pace.update(costs)
    with pytest.raises(
        ValueError, match=r"the scores of 200 samples would take about \d+ s, and .* at most 10 s here"
    ):
        affordable(points_model, 60)
    pace["once"] = min(pace["once"], 39.0)
    assert affordable(points_model, 100_000).n in NUMBERS


def at_hand(shape: tuple[int, ...], data: str) -> list[str]:
    return Inputs(Samples("model", shape, 0, lambda: iter(())), data).at_hand()


def test_what_is_at_hand_depends_on_shape_and_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDGAN_INCEPTION", str(tmp_path / "none.pt"))
    for name, shape in (("c", (32, 32, 3)), ("g", (28, 28, 1)), ("l", (64, 64, 3)), ("x", (16, 16, 2))):
        np.save(tmp_path / f"{name}.npy", np.zeros((4, *shape), np.uint8))
    assert at_hand((3, 32, 32), str(tmp_path / "c.npy")) == ["cifar10_classifier", "pixels"]
    assert at_hand((1, 28, 28), str(tmp_path / "g.npy")) == ["mnist_classifier", "pixels"]
    assert at_hand((3, 64, 64), str(tmp_path / "l.npy")) == ["thumbnails"]
    assert at_hand((2, 16, 16), str(tmp_path / "x.npy")) == ["pixels"]
    assert at_hand((2,), "gaussians") == ["pixels"]
    assert at_hand((3, 8, 8), "digits") == ["classifier", "pixels"]
    assert at_hand((3, 32, 32), "emoji") == ["emoji_classifier", "classifier", "pixels"]
    (tmp_path / "there.pt").touch()
    monkeypatch.setenv("DDGAN_INCEPTION", str(tmp_path / "there.pt"))
    assert at_hand((3, 64, 64), str(tmp_path / "l.npy")) == ["inception", "thumbnails"]


def test_photographs_without_labels_are_scored_offline(
    tiny_config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_model: object
) -> None:
    monkeypatch.setenv("DDGAN_INCEPTION", str(tmp_path / "none.pt"))
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.integers(0, 256, (40, 64, 64, 3), dtype=np.uint8))
    model = make_model(tiny_config.changed({"data": str(tmp_path / "x.npy")}), (3, 64, 64))  # type: ignore[operator]
    choice = affordable(model, 100_000)
    assert choice.features.kind == "thumbnails"  # type: ignore[union-attr]
    assert choice.n == 10_000
    report = ddgan.evaluate(model, n=30, metrics=choice.metrics, features="offline")
    assert report.features is not None
    assert report.features.name == "thumbnails"
    assert report.frechet is not None
    assert report.frechet.name == "Fréchet distance (thumbnails features)"


def test_held_out_images_are_looked_for(tiny_config: RunConfig, model: DDGAN) -> None:
    choice = affordable(model, 1e6)
    assert [metric.kind for metric in choice.metrics] == ["modes", "memorisation"]
    named = affordable(model, 1e6, features="pixels", metrics=["frechet", "precision_recall"])
    assert [metric.kind for metric in named.metrics] == ["frechet", "precision_recall"]
    with pytest.raises(ValueError, match="inception_score needs class probabilities"):
        affordable(model, 1e6, features="pixels", metrics=["inception_score"])
