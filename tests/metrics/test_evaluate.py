"""Scoring a model from end to end."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch

import ddgan
from ddgan import DDGAN, Run
from ddgan.metrics.evaluate import SamplingClock, describe_machine


def test_a_run_scores_the_same_again(scored_run: Run) -> None:
    again = ddgan.evaluate(scored_run.path, n=60)
    assert scored_run.report is not None
    assert again.modes == scored_run.report.modes
    assert (again.data, again.num_samples, again.seed, again.num_steps) == ("digits", 60, 0, 3)
    other = ddgan.evaluate(scored_run.path, n=60, seed=1)
    assert other.modes != again.modes


def test_points_are_scored(points_model: DDGAN) -> None:
    report = ddgan.evaluate(points_model, n=500)
    assert report.modes is not None
    assert report.modes.num_modes == 25
    assert report.images_per_second is not None
    assert report.images_per_second == pytest.approx(500 / report.seconds)


def test_only_what_is_asked_for(points_model: DDGAN) -> None:
    assert ddgan.evaluate(points_model, metrics=["speed"], n=10).modes is None
    assert ddgan.evaluate(points_model, metrics=["modes"], n=10).images_per_second is None


def test_the_report_survives_json(points_model: DDGAN, tmp_path: Path) -> None:
    report = ddgan.evaluate(points_model, n=100)
    report.save(tmp_path / "new" / "scores.json")
    saved = json.loads((tmp_path / "new" / "scores.json").read_text())
    assert saved == json.loads(json.dumps(report.to_dict()))
    assert saved["protocol"] == 1
    names = [name for name, _ in report.table()]
    assert names[0] == "modes covered"
    assert {"sampling speed", "generator calls per image (NFE)"} <= set(names)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"metrics": ["fid"]}, "fid is not known; choose from modes, speed"),
        ({"metrics": []}, "empty is not known"),
        ({"data": "cats"}, "'cats', which does not exist; pass --data"),
        ({"data": "gaussians"}, r"shape \(3, 8, 8\), but gaussians has \(2,\)"),
        ({"data": ".", "metrics": ["modes"]}, "modes are counted for digits and gaussians"),
        ({"n": 0}, "n is 0"),
        ({"seed": -2}, "seed is -2"),
    ],
)
def test_mistakes(model: DDGAN, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ddgan.evaluate(model, **arguments)  # type: ignore[arg-type]


def test_the_clock_counts_making_and_not_using() -> None:
    def making() -> object:
        for _ in range(3):
            time.sleep(0.02)
            yield torch.zeros(1)

    clock = SamplingClock()
    before = time.perf_counter()
    for _ in clock.timed(making()):  # type: ignore[arg-type]
        time.sleep(0.05)
    assert 0.06 <= clock.seconds <= time.perf_counter() - before - 0.15


def test_the_machine_is_named() -> None:
    assert describe_machine(torch.device("cpu")).startswith("CPU, ")
