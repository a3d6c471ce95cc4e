"""Numbers of methods over seeds, and what is claimed of them."""

from __future__ import annotations

import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from ddgan.paper import trilemma
from ddgan.paper.experiment import Claim, Outcome, Request, Table
from ddgan.paper.measures import (
    CONFIDENT,
    KL,
    MODES,
    RECALL,
    Measured,
    basis_note,
    cell,
    columns,
    has_larger,
)
from ddgan.paper.outcome import report
from ddgan.paper.plots import new_figure, written
from ddgan.paper.scoring import Method


@cache
def methods() -> list[Method]:
    """What the trilemma compares; the first is ours with T = 1."""
    return trilemma.methods_of(Request("cpu", Path()))


def scores(modes: int, kl: float, n: int = 5000) -> dict[str, Any]:
    found = {"modes": modes, "kl": kl, "kl_floor": 0.1, "num_samples": n}
    found |= {"confident": 0.6, "confident_real": 0.8, "confident_modes": modes // 2}
    return {"num_samples": n, "modes": found}


def measured(method: Method, values: list[tuple[int, float]], seconds: float) -> Measured:
    reports = [scores(*value) for value in values]
    speed = {"nfe": 4, "seconds_per_100": {"median": seconds}, "machine": "here"}
    return Measured(method, reports, reports, speed)


def trilemma_of(ours: list[tuple[int, float]], long: list[tuple[int, float]], seconds: float) -> list[Claim]:
    values = {"DDGAN, T = 4": (ours, seconds), "DDPM, 1000 steps": (long, 10.0)}
    return trilemma.claims([measured(m, *values.get(m.label, ([(500, 2.0)], 1.0))) for m in methods()])


def test_claims_say_what_holds_and_what_does_not() -> None:
    good = trilemma_of([(990, 0.2), (994, 0.3)], [(992, 0.25), (996, 0.28)], 0.05)
    assert [claim.holds for claim in good] == [True] * 9
    assert "200 times" in good[7].evidence
    bad = trilemma_of([(400, 0.9), (410, 0.9)], [(900, 0.2), (920, 0.2)], 0.5)
    assert [claim.holds for claim in bad] == [False] * 9
    assert "405 (400..410)" in bad[0].evidence
    assert "202 (200..205)" in bad[3].evidence


def test_one_lucky_seed_does_not_reach_the_ddpm() -> None:
    long = [(981, 0.141), (990, 0.135), (992, 0.139)]
    uneven = trilemma_of([(400, 0.9), (410, 0.9), (985, 0.139)], long, 0.05)
    even = trilemma_of([(980, 0.143), (985, 0.139), (987, 0.138)], long, 0.05)
    assert "within the seed spread" in uneven[6].text
    assert [uneven[6].holds, even[6].holds] == [False, True]


def test_times_of_two_machines_are_not_divided() -> None:
    here = measured(methods()[0], [(990, 0.2)], 1.0)
    assert here.speed is not None
    there = dataclasses.replace(here, speed=here.speed | {"machine": "there"})
    assert trilemma.machines([here, there, here]) == ["here", "there"]
    found = [measured(m, [(990, 0.2)], 10.0 if "1000" in m.label else 0.01) for m in methods()]
    assert trilemma.claims(found)[7].holds
    found = [
        dataclasses.replace(one, speed=there.speed) if "T = 4" in one.method.label else one for one in found
    ]
    assert not trilemma.claims(found)[7].holds


def test_a_report_says_what_distances_are_measured_in() -> None:
    by_classifier = {"features": {"name": "classifier", "metadata": {"classifier_accuracy": 0.994}}}
    assert "a classifier with 99.4% accuracy on held-out digits; not comparable with FID." in basis_note(
        by_classifier
    )
    assert basis_note({"features": {"name": "inception"}, "warnings": ["few samples"]}).endswith(
        "use the features of inception. Warning: few samples."
    )
    assert basis_note({}) == ""


def test_measures_are_read_and_written() -> None:
    method = methods()[0]
    one = measured(method, [(990, 0.25), (994, 0.35)], 0.1)
    assert one.values(CONFIDENT) == [pytest.approx(0.75)] * 2
    assert cell(one, MODES) == "992 (990..994)"
    assert cell(one, KL) == "0.300 (0.250..0.350)"
    assert cell(one, RECALL) == "-"
    assert columns([one], (MODES, RECALL)) == [MODES]
    assert has_larger(one, measured(method, [(100, 1.0)], 1.0))[0]
    plain = one.plain()
    assert plain["short"]["modes"] == [990, 994]
    assert plain["short"]["N"] == 5000
    assert plain["short"]["KL floor"] == 0.1
    assert written([0.5, None, 0.5], ".2f") == "0.50"


def test_a_report_states_claims_that_fail() -> None:
    experiment = trilemma.EXPERIMENT
    outcome = Outcome(
        new_figure(1, 1),
        "a picture",
        {},
        tables=[Table("Ours", ("a", "b"), [("1", "2")], "a note")],
        claims=[Claim("Up is up", True, "1 > 0"), Claim("Down is up", False, "0 < 1")],
        notes=["something"],
    )
    record = {"command": "ddgan reproduce", "scale": "cpu", "seeds": [0, 1], "commit": "abc", "machine": "m"}
    record |= {"minutes": 1.0, "training_minutes": 0.0, "versions": {"torch": "2"}}
    text = report(experiment, outcome, record)
    assert "- **Yes**: Up is up. 1 > 0" in text
    assert "- **No**: Down is up. 0 < 1" in text
    assert "| 1 | 2 |" in text
    assert all(command in text for command in experiment.paper_commands())
    assert experiment.costs["paper"] in text
