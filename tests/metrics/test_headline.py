"""The headline of a report: the same number for checkpoints, lists and comparisons."""

from __future__ import annotations

from typing import Any

import pytest

from ddgan.metrics.headline import headline, headlines, number_at, without_features

REPORT: dict[str, Any] = {
    "modes": {"modes": 9, "kl": 0.5, "confident": 0.4},
    "frechet": {"name": "FID", "value": 3.0},
    "kernel": {"name": "KID", "value": 0.01},
    "precision_recall": {"precision": 0.6, "recall": 0.5},
    "speed": {"images_per_second": 9.0},
    "inception_score": None,
}


@pytest.mark.parametrize(
    ("preferred", "found"),
    [
        ((), ("KL of the modes", 0.5, 0.5)),
        (("kernel", "frechet"), ("KID", 0.01, 0.01)),
        (("precision_recall",), ("precision", 0.6, -0.6)),  # higher is better
        (("inception_score", "speed", "frechet"), ("FID", 3.0, 3.0)),  # none, and not a score of samples
        (("unheard_of",), ("KL of the modes", 0.5, 0.5)),
    ],
)
def test_the_first_preferred_metric_with_a_number_counts(
    preferred: tuple[str, ...], found: tuple[str, float, float]
) -> None:
    best = headline(REPORT, preferred)
    assert best is not None
    assert (best.name, best.value, best.loss) == found


def test_every_metric_but_speed_has_one() -> None:
    assert [one.name for one in headlines(REPORT)] == ["KL of the modes", "FID", "KID", "precision"]
    assert [one.name for one in headlines(REPORT, ("kernel",))][:2] == ["KID", "KL of the modes"]
    assert without_features("Fréchet distance (classifier features)") == "Fréchet distance"


def test_without_numbers_there_is_none() -> None:
    assert headline({}) is None
    assert headline({"frechet": {"value": None}, "modes": 3, "kernel": {"value": True}}) is None
    assert headline({"speed": REPORT["speed"]}) is None
    assert headline({"frechet": {"value": float("inf")}}) is None
    assert headline({"frechet": {"value": 2.0}}) == ("Fréchet distance", 2.0, "lower", None)
    with_interval = {"frechet": {"value": 2.0, "interval": [1.5, 2.5]}}
    assert headline(with_interval) == ("Fréchet distance", 2.0, "lower", (1.5, 2.5))
    assert headline({"kernel": {"value": 2.0, "deviation": 0.25}}) == (
        ("kernel distance", 2.0, "lower", (1.5, 2.5))
    )
    assert number_at(REPORT, "modes.kl.x") is None
