"""The files of an experiment: OUT/NAME/result.json, figure.png, figure.svg, report.md."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ddgan.metrics.result import versions
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.provenance import commit, machine
from ddgan.system.files import parse_json, write_atomically
from ddgan.system.outputs import write_record
from ddgan.system.text import markdown, one_line

__all__ = ["reproduce"]

FILES = ("result.json", "figure.png", "figure.svg", "report.md")


def reproduce(experiment: Experiment, request: Request, command: str) -> Path:
    """Run an experiment and write its result; returns its folder.

    Raises:
        ValueError: if the folder has a file of one of these names that is not of this experiment.
    """
    start, folder = time.monotonic(), request.out / experiment.name
    if (taken := [name for name in FILES if (folder / name).exists()]) and not _is_result(folder, experiment):
        raise ValueError(
            f"'{folder / taken[0]}' exists, but '{folder}' has no result of {experiment.name}; choose "
            "another --out"
        )
    outcome = experiment.run(request)
    folder.mkdir(parents=True, exist_ok=True)
    record = record_of(experiment, request, command, (time.monotonic() - start) / 60, outcome)
    plots.save(outcome.figure, folder)
    write_record(folder / "result.json", record)
    write_atomically(folder / "report.md", report(experiment, outcome, record))
    return folder


def _is_result(folder: Path, experiment: Experiment) -> bool:
    """Whether a folder has a result of this experiment."""
    try:
        found = parse_json((folder / FILES[0]).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and found.get("experiment") == experiment.name


def record_of(
    experiment: Experiment, request: Request, command: str, minutes: float, outcome: Outcome
) -> dict[str, Any]:
    """Return the content of result.json."""
    return {
        "experiment": experiment.name,
        "source": experiment.source,
        "scale": request.scale,
        "seeds": sorted({model["seed"] for model in outcome.models}),
        "data": request.data,
        "command": command,
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "minutes": round(minutes, 2),
        "training_minutes": round(sum(model["minutes"] for model in outcome.models), 1),
        "models": outcome.models,
        "results": outcome.results,
        "claims": [vars(claim) for claim in outcome.claims],
        "notes": outcome.notes,
    }


def report(experiment: Experiment, outcome: Outcome, record: dict[str, Any]) -> str:
    """Return the report as Markdown."""
    seeds = ", ".join(map(str, record["seeds"]))
    lines = [
        f"# {experiment.source}: {experiment.about}",
        "",
        f"    {one_line(record['command'])}",
        "",
        f"Scale `{record['scale']}`"
        + (f", seeds {seeds}" if seeds else "")
        + f". Commit {record['commit'] or 'unknown'}; {markdown(record['machine'])}; "
        f"torch {record['versions']['torch']}. This report took {record['minutes']:.1f} minutes"
        + (f"; training its models took {record['training_minutes']:.0f}." if outcome.models else "."),
        "",
        f"![{experiment.about}](figure.png)",
        "",
        f"*{outcome.caption}*",
    ]
    for table in outcome.tables:
        lines += ["", *_table(table)]
    if outcome.claims:
        lines += ["", "## Does it hold here?", "", *map(_claim, outcome.claims)]
    if outcome.notes:
        lines += ["", "## Notes", "", *(f"- {note}" for note in outcome.notes)]
    if outcome.models:
        lines += ["", *_table(_models(outcome.models))]
    paper = experiment.costs.get("paper")
    if paper and record["scale"] != "paper":
        lines += ["", f"The full setting ({paper}):", ""]
        lines += [f"    {line}" for line in experiment.paper_commands()]
    return "\n".join(lines) + "\n"


def _table(table: Table) -> list[str]:
    def row(cells: tuple[str, ...]) -> str:
        return f"| {' | '.join(cells)} |"

    lines = [f"## {table.title}", "", row(table.head), "|" + "---|" * len(table.head), *map(row, table.rows)]
    return [*lines, "", table.note] if table.note else lines


def _claim(claim: Claim) -> str:
    return f"- **{'Yes' if claim.holds else 'No'}**: {claim.text}. {claim.evidence}"


def _models(models: list[dict[str, Any]]) -> Table:
    rows: list[tuple[str, ...]] = [
        (
            markdown(model["name"]),
            str(model["seed"]),
            f"{model['iterations']:,} x {model['batch_size']}",
            markdown(model["settings"]),
            f"{model['minutes']:.1f}",
            markdown(model["commit"] or "-"),
            markdown(model["machine"]),
        )
        for model in models
    ]
    head = ("model", "seed", "iterations x batch", "settings", "minutes", "commit", "machine")
    return Table("Trained models", head, rows)
