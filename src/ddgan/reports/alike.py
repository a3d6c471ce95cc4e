"""Scores that can be compared: what some of several models lack is computed, alike for all.

The scores that are there decide: their number of samples, features and metrics are those of the others. Only
models can be scored again; of a JSON file alone, its scores are taken as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ddgan.metrics import evaluate, known_metrics
from ddgan.metrics.affordable import affordable
from ddgan.metrics.comparison_inputs import AUTO, OFFLINE
from ddgan.metrics.evaluation import check, check_metrics, own_inputs
from ddgan.metrics.features import features_named
from ddgan.metrics.headline import at
from ddgan.metrics.metric import Metric
from ddgan.metrics.result import PROTOCOL
from ddgan.models.checkpoint_file import is_checkpoint
from ddgan.models.model import Model
from ddgan.models.opening import load
from ddgan.models.run_folder import COMPARED_NAME, SCORES_NAME
from ddgan.models.shipped_models import folder_of
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.reports.comparison import Comparison, check_report, names_of
from ddgan.system.outputs import read_record, write_record
from ddgan.system.text import one_line

__all__ = ["score_alike"]

PATIENCE = 3600.0
"""Where no scores exist, each model gets as many samples as at the end of a run of so many seconds."""
FEWEST = 200
"""Samples of a model that is too slow for that."""


@dataclass
class Entry:
    """A part of a comparison.

    Attributes:
        name: its name.
        path: a file of scores, or whatever `ddgan.load` opens.
        known: scores that it has, of which the first that fits is used.
        model: the model; None if there are only scores.
    """

    name: str
    path: Path
    known: list[dict[str, Any]]
    model: Model | None


@dataclass(frozen=True)
class Wanted:
    """What all scores have in common.

    Attributes:
        n: number of samples.
        features: name of the features.
        metrics: the metrics.
        is_asked: whether features or metrics were named; then each model must have them.
    """

    n: int
    features: str
    metrics: tuple[Metric, ...]
    is_asked: bool

    def lacks(self, report: dict[str, Any]) -> list[Metric] | None:
        """Return the metrics that a report lacks; None if it is of other samples or features."""
        name = at(report, "features.name")
        is_other = report["num_samples"] != self.n or report["protocol"] != PROTOCOL
        if is_other or (name is not None and name != self.features):
            return None
        return [metric for metric in self.metrics if report.get(metric.kind) is None]


def score_alike(
    paths: Sequence[Path],
    log: Callable[[str], object],
    *,
    n: int | None = None,
    features: str | None = None,
    metrics: Sequence[str] | None = None,
    device: torch.device | str = "cpu",
    progress: bool = False,
) -> Comparison:
    """Return the scores of runs, models and files of scores, all of the same N, features and metrics.

    Args:
        paths: run folders and whatever else `ddgan.load` opens, and JSON files of scores.
        log: gets a line about each model that is scored.
        n: number of samples; by default that of the scores that exist.
        features: their name; by default those of the scores that exist, or else the best without a download.
        metrics: their kinds; by default all that exist.
        device: device of the models.
        progress: show progress bars.

    Raises:
        ValueError: if there are fewer than two, one can neither be read nor opened, or cannot be scored by
            features or metrics that are named.
    """
    if len(paths) < 2:
        raise ValueError("a comparison needs two or more runs, models or JSON files of scores")
    entries = [
        Entry(name, path, _known(path), _model(path, device))
        for name, path in zip(names_of(paths), paths, strict=True)
    ]
    wanted = _wanted(entries, n, features, metrics)
    return Comparison(
        [entry.name for entry in entries], [_scores(entry, wanted, log, progress) for entry in entries]
    )


def _known(path: Path) -> list[dict[str, Any]]:
    """Read the scores of a run folder or a model of the package, or a file of scores.

    Raises:
        ValueError: if a file is damaged, or is not of scores.
    """
    if path.suffix == ".json":
        return [check_report(read_record(path), path)]
    folder = folder_of(path)
    files = [folder / name for name in (SCORES_NAME, COMPARED_NAME)]
    return [check_report(read_record(file), file) for file in files if file.is_file()]


def _model(path: Path, device: torch.device | str) -> Model | None:
    """Open the model of a path; None for scores alone."""
    is_folder = path.is_dir()
    if path.suffix == ".json" or (
        is_folder
        and (path / SCORES_NAME).is_file()
        and not ((path / WEIGHTS_NAME).is_file() or is_checkpoint(path))
    ):
        return None
    model: Model = load(path, device)
    return model


def _wanted(
    entries: Sequence[Entry], n: int | None, features: str | None, metrics: Sequence[str] | None
) -> Wanted:
    """Choose what the scores have in common; those that cannot be computed again come first."""
    ordered = sorted(entries, key=lambda entry: entry.model is not None)
    known = [entry.known[0] for entry in ordered if entry.known]
    models = [entry.model for entry in ordered if entry.model is not None]
    if features is not None and features not in (AUTO, OFFLINE):
        features_named(features)  # complains now
    kinds = list(metrics) if metrics else [k for k in known_metrics() if any(r.get(k) for r in known)]
    asked = check_metrics(kinds) if kinds else ()
    found = next((at(report, "features.name") for report in known if at(report, "features.name")), None)
    name = features or found
    if n is None and known:
        n = int(known[0]["num_samples"])
    if (n is None or name is None or name in (AUTO, OFFLINE) or not asked) and models:
        kind, count, usual = _usual(models, name or OFFLINE, [metric.kind for metric in asked])
        n, name, asked = n or count, kind, asked or usual
    assert n is not None
    return Wanted(n, name or OFFLINE, asked, is_asked=bool(features or metrics))


def _usual(
    models: Sequence[Model], features: str, metrics: Sequence[str]
) -> tuple[str, int, tuple[Metric, ...]]:
    """Return features, N and metrics for models without scores: the fewest samples that any of them gets."""
    inputs = own_inputs(models[0], FEWEST, features)
    if features in (AUTO, OFFLINE):
        features = inputs.features.name if features == AUTO else inputs.at_hand()[0]
    counts, usual = [], dict[str, Metric]()
    for model in models:
        try:
            choice = affordable(model, PATIENCE, features=features, metrics=metrics)
        except ValueError:
            counts.append(FEWEST)
            continue
        counts.append(choice.n)
        usual |= {metric.kind: metric for metric in choice.metrics}
    return features, min(counts), tuple(usual.values()) or check_metrics("frechet")


def _scores(entry: Entry, wanted: Wanted, log: Callable[[str], object], progress: bool) -> dict[str, Any]:
    """Return the scores of an entry, computed as far as it lacks them."""
    lacking = [(report, lacks) for report in entry.known if (lacks := wanted.lacks(report)) is not None]
    best, missing = min(lacking, key=lambda pair: len(pair[1]), default=({}, list(wanted.metrics)))
    if entry.model is None or not missing:
        return best or entry.known[0]
    metrics = [metric for metric in missing if _is_possible(entry, metric, wanted, log)]
    if not metrics:
        return best or next(iter(entry.known), {"protocol": PROTOCOL, "num_samples": wanted.n})
    why = "it has no scores"
    if best:
        why = "its scores lack these"
    elif entry.known:
        why = f"its scores are of other samples or features (N = {entry.known[0]['num_samples']:,})"
    kinds = ", ".join(metric.kind for metric in metrics)
    if any({"features", "probabilities"} & set(metric.needs) for metric in metrics):
        kinds += f", features {wanted.features}"
    log(f"scoring {wanted.n:,} samples of {entry.name}: {kinds} ({why})")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        report = evaluate(
            entry.model, metrics=metrics, n=wanted.n, features=wanted.features, progress=progress
        ).to_dict()
    report = _joined(best, report)
    if entry.path.is_dir() and (entry.path / WEIGHTS_NAME).is_file():
        with suppress(OSError):
            write_record(entry.path / COMPARED_NAME, report)
    return report


def _is_possible(entry: Entry, metric: Metric, wanted: Wanted, log: Callable[[str], object]) -> bool:
    assert entry.model is not None
    try:
        check(own_inputs(entry.model, wanted.n, wanted.features), [metric])
    except ValueError as error:
        if wanted.is_asked:
            raise ValueError(f"{entry.name} cannot be scored: {error}") from None
        log(f"{entry.name} is compared without {metric.kind}: {one_line(error)}")
        return False
    return True


def _joined(known: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Add new scores of the same samples to known ones."""
    added = {name: value for name, value in new.items() if value is not None and known.get(name) is None}
    told = [*known.get("warnings", ()), *new.get("warnings", ())]
    return {**known, **added, "warnings": list(dict.fromkeys(told))}
