"""Verdicts on synthetic series: progress is seen, noise is not called progress, copying is seen first."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from ddgan.metrics.memorisation import MemorisationScore
from ddgan.metrics.modes import CoverageScore
from ddgan.metrics.result import Report
from ddgan.training.verdict import (
    CONFIRMED,
    LEAST,
    WINDOW,
    InterimScore,
    interim_score,
    noise,
    verdict,
)

EVERY = 100


def series(values: Any, half: float | None = None) -> list[InterimScore]:
    """Scores at iterations 100, 200, ... with 95 % intervals of this half-width."""
    return [
        InterimScore(EVERY * i, "FID", float(v), None if half is None else (float(v) - half, float(v) + half))
        for i, v in enumerate(values, 1)
    ]


def kinds(values: Any, half: float | None = None) -> list[str]:
    """The kind of the verdict after each score."""
    scores = series(values, half)
    return [verdict(scores[:count]).kind for count in range(1, len(scores) + 1)]


def test_few_scores_are_not_judged() -> None:
    found = verdict(series(range(LEAST - 1)))
    assert (found.kind, found.is_over, found.since) == ("early", False, None)
    assert found.sentence == f"too early to judge: {LEAST - 1} of {LEAST} scores"


def test_steady_progress_is_improving_to_the_end() -> None:
    """A straight line has no scatter, and an exponential hardly any."""
    for values in (100 - 2.0 * np.arange(30), 5 + 100 * 0.8 ** np.arange(30)):
        assert set(kinds(values)[LEAST - 1 :]) == {"improving"}
    found = verdict(series(100 - 2.0 * np.arange(10)))
    assert found.sentence == "improving: FID 82 at iteration 1,000 is the best"
    assert (found.since, found.is_over) == (1000, False)


def test_equal_scores_are_flat_since_the_first() -> None:
    found = verdict(series([3.0] * 8))
    assert (found.kind, found.since, found.is_over) == ("flat", EVERY, True)
    assert found.sentence == "flat since iteration 100: FID about 3"


def test_flat_begins_where_the_descent_ends() -> None:
    values = [*(100 - 10.0 * np.arange(9)), *[20.0] * 7]
    found = verdict(series(values))
    assert found.kind == "flat"
    assert found.since == 9 * EVERY
    assert kinds(values).index("flat") >= 8 + WINDOW - 1


@pytest.mark.parametrize("seed", range(5))
def test_noise_is_rarely_called_progress(seed: int) -> None:
    """Independent noise: at most about one verdict in ten, and a series of them does not go on."""
    values = 20 + np.random.default_rng(seed).normal(size=200)
    found = kinds(values)[LEAST - 1 :]
    assert found.count("improving") <= 0.12 * len(found)
    assert found.count("flat") >= 0.75 * len(found)


@pytest.mark.parametrize("seed", range(5))
def test_progress_in_noise_is_seen(seed: int) -> None:
    """A descent of one deviation per scoring: 4 between the means, whose difference has deviation 0.71."""
    values = 200 - np.arange(60) + np.random.default_rng(seed).normal(size=60)
    found = kinds(values)[2 * WINDOW :]
    assert found.count("improving") >= 0.9 * len(found)


def test_wide_intervals_hide_small_differences() -> None:
    values = 20 - 0.1 * np.arange(12)
    assert verdict(series(values)).kind == "improving"
    assert verdict(series(values, half=0.1)).kind == "improving"
    assert verdict(series(values, half=2.0)).kind == "flat"


def test_scores_that_rise_are_worsening_since_the_best() -> None:
    found = verdict(series([30, 20, 10, 9, 12, 15, 18, 21, 24, 27]))
    assert (found.kind, found.since, found.is_over) == ("worsening", 4 * EVERY, True)
    assert found.sentence == "worsening since iteration 400, which has the best FID, 9"


def test_noise_is_that_of_the_trend_or_of_the_intervals() -> None:
    rng = np.random.default_rng(0)
    found = [noise(series(50 - 3 * np.arange(8) + rng.normal(size=8))) for _ in range(400)]
    assert np.sqrt(np.mean(np.square(found))) == pytest.approx(1, abs=0.05)
    assert noise(series([5.0] * 8, half=1.96)) == pytest.approx(1)
    assert noise(series([5.0] * 8)) == 0


def copying(step: int, share: float, high: float) -> InterimScore:
    return InterimScore(step, "FID", 50.0 - step / EVERY, None, share, (0.0, high))


def test_memorising_comes_first_and_must_be_confirmed() -> None:
    good = [copying(EVERY * i, 0.9, 1.1) for i in range(1, 9)]
    bad = [copying(EVERY * i, 0.1, 0.3) for i in range(9, 12)]
    assert verdict(good).kind == "improving"
    assert verdict([*good, *bad[: CONFIRMED - 1]]).kind == "improving"
    found = verdict([*good, *bad])
    assert (found.kind, found.since, found.is_over) == ("memorising", 900, True)
    assert found.sentence.startswith("memorising since iteration 900: held-out images are the nearest")
    assert verdict([copying(100, 0.3, 0.7), copying(200, 0.3, 0.7)]).kind == "early"  # it may be chance


def test_scores_survive_json() -> None:
    for score in (*series([1.5], half=0.5), copying(3, 0.25, 0.5), InterimScore(1, "x", 2.0)):
        text = json.dumps(score.to_dict() | {"verdict": "words"})
        assert InterimScore.from_dict(json.loads(text)) == score


def report(**scores: Any) -> Report:
    return Report("digits", 2000, 0, 4, 1.0, "here", scores=scores)


def test_a_report_gives_the_score_that_decides() -> None:
    modes = CoverageScore(num_samples=2000, modes=990, num_modes=1000, kl=0.5, kl_floor=0.25)
    memory = MemorisationScore(0.6, (0.5, 0.7), 1.0, 0.01, 0.0, 90, 10, 0.8, (0.6, 1.1))
    found = interim_score(70, report(modes=modes, memorisation=memory))
    assert found is not None
    assert (found.step, found.name, found.value) == (70, "KL of the modes", 0.5)
    assert found.interval is not None
    assert found.interval[1] - 0.5 == pytest.approx(1.96 * modes.deviation)
    assert (found.held_out_nearest, found.held_out_interval) == (0.8, (0.6, 1.1))
    assert interim_score(70, report()) is None
    infinite = CoverageScore(num_samples=10, modes=0, num_modes=25, kl=math.inf, kl_floor=0.1)
    assert interim_score(70, report(modes=infinite)) is None
