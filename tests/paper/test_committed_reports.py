"""The committed reports: what their experiments make of the committed records, without a model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ddgan.paper import ablation, trilemma
from ddgan.paper.experiment import Experiment, Request
from ddgan.paper.outcome import report
from ddgan.paper.registry import EXPERIMENTS
from ddgan.paper.store import Store

RESULTS = Path(__file__).resolve().parents[2] / "docs" / "results" / "cpu"


def committed(name: str) -> dict[str, Any]:
    return json.loads((RESULTS / name / "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "experiment", [trilemma.EXPERIMENT, ablation.EXPERIMENT], ids=lambda experiment: experiment.name
)
def test_a_report_is_made_again_from_the_records(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scores, claims and text are the same to the last digit; nothing is trained, scored or timed."""

    def trained(*arguments: object, **named: object) -> None:
        raise AssertionError("a committed record is not reused")

    monkeypatch.setattr(Store, "_train", trained)
    shutil.copytree(RESULTS / "models", tmp_path / "models")
    logged: list[str] = []
    outcome = experiment.run(Request("cpu", tmp_path, seeds=(0, 1, 2), log=logged.append))
    assert logged == []
    record = committed(experiment.name)
    assert json.loads(json.dumps(outcome.results)) == record["results"]
    assert [vars(claim) for claim in outcome.claims] == record["claims"]
    assert outcome.models == record["models"]
    text = (RESULTS / experiment.name / "report.md").read_text(encoding="utf-8")
    assert report(experiment, outcome, record) == text


@pytest.mark.parametrize("name", sorted(path.parent.name for path in RESULTS.glob("*/result.json")))
def test_every_record_says_where_it_was_measured(name: str) -> None:
    record = committed(name)
    assert EXPERIMENTS[name].source == record["source"]
    assert record["commit"]
    assert record["machine"]
    assert all(model["commit"] and model["machine"] for model in record["models"])
    assert f"Commit {record['commit']}; {record['machine']}" in (RESULTS / name / "report.md").read_text(
        encoding="utf-8"
    )


def test_every_trained_model_says_where_it_was_trained() -> None:
    files = sorted((RESULTS / "models").glob("*/trained.json"))
    assert len(files) == len(list((RESULTS / "models").iterdir()))
    for file in files:
        record = json.loads(file.read_text(encoding="utf-8"))
        assert file.parent.name == f"{record['name']}-seed{record['seed']}"
        assert record["commit"]
        assert record["machine"]
        assert record["iterations"] > 0
