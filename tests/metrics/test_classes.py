"""Obedience and variety of samples within their classes, where both are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bars import bars

import ddgan
from ddgan.metrics.classes import classes_score, mean_distance


def test_classes_that_obey_and_vary() -> None:
    rng = torch.Generator().manual_seed(0)
    asked = torch.arange(200) % 2
    real = torch.randn(400, 5, generator=rng)
    samples = torch.randn(200, 5, generator=rng)
    samples[asked == 1] *= 0.1
    read = asked.clone()
    read[:20] = 1 - read[:20]
    score = classes_score(samples, read, asked, real, torch.arange(400) % 2, 0.95)
    assert score.agreement == pytest.approx(0.9)
    assert score.agreement_real == 0.95
    assert score.least_diverse == 1
    assert score.least_diversity == pytest.approx(0.1, rel=0.1)
    assert score.diversity == pytest.approx(0.55, rel=0.1)


def test_the_mean_distance_is_over_different_ones() -> None:
    assert mean_distance(torch.tensor([[0.0], [3.0], [6.0]])) == pytest.approx(4)


def test_files_with_labels_are_scored(labelled_data: Path, tmp_path: Path) -> None:
    asked = np.arange(200) % 10
    np.savez(tmp_path / "x.npz", images=bars(asked, 12, 9), labels=asked)
    report = ddgan.evaluate(tmp_path / "x.npz", str(labelled_data), ["balance", "classes"])
    assert report.classes is not None
    assert report.balance is not None
    assert report.classes.agreement > 0.9
    assert report.classes.diversity == pytest.approx(1, abs=0.2)
    assert report.balance.classes_found == 10
    assert report.balance.kl > 5 * report.balance.kl_floor  # the real classes are of unequal size
    assert report.features is not None
    assert report.features.name == "classifier"
    rows = dict(report.table())
    assert rows["classes found"] == "10 of 10"
    np.savez(tmp_path / "shuffled.npz", images=bars(asked, 12, 9), labels=(asked + 1) % 10)
    wrong = ddgan.evaluate(tmp_path / "shuffled.npz", str(labelled_data), ["classes"]).classes
    assert wrong is not None
    assert wrong.agreement < 0.1


def test_one_image_per_class_has_no_diversity(labelled_data: Path, tmp_path: Path) -> None:
    asked = np.arange(100) % 10
    np.savez(tmp_path / "x.npz", images=np.tile(bars(np.arange(10), 12, 9), (10, 1, 1)), labels=asked)
    score = ddgan.evaluate(tmp_path / "x.npz", str(labelled_data), ["classes"]).classes
    assert score is not None
    assert score.agreement > 0.9
    assert score.diversity < 0.01
