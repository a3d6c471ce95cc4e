"""Comparing methods: their measures on every seed, as numbers, table cells and claims."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ddgan.paper.experiment import Request
from ddgan.paper.plots import spread_of, written
from ddgan.paper.scoring import Method, long_scores, short_scores, speed

__all__ = [
    "CONFIDENT",
    "FRECHET",
    "HIGH_CONFIDENCE_MODES",
    "INCEPTION",
    "KL",
    "MODES",
    "PRECISION",
    "RECALL",
    "SHORT",
    "Measure",
    "Measured",
    "at",
    "basis_note",
    "cell",
    "columns",
    "floor_note",
    "has_larger",
    "measured",
    "samples_of",
    "score_cells",
]


@dataclass(frozen=True)
class Measure:
    """A number measured for each method.

    Attributes:
        label: name in tables and on axes.
        path: dotted path in the scores.
        form: format specification.
        relative_to: dotted path of the divisor; empty for none.
    """

    label: str
    path: str
    form: str = ".3g"
    relative_to: str = ""

    def of(self, scores: dict[str, Any] | None) -> float | None:
        """Return its value in a report, or None."""
        value: float | None = at(scores, self.path)
        if value is None or not self.relative_to:
            return value
        whole = at(scores, self.relative_to)
        return None if not whole else value / whole


def at(scores: Any, path: str) -> Any:
    """Return the value at a dotted path of nested values, or None."""
    for name in path.split("."):
        scores = scores.get(name) if isinstance(scores, dict) else None
    return scores


MODES = Measure("modes", "modes.modes", ".0f")
HIGH_CONFIDENCE_MODES = Measure("high-confidence modes", "modes.confident_modes", ".0f")
KL = Measure("KL", "modes.kl", ".3f")
CONFIDENT = Measure("confident, of real", "modes.confident", ".3f", "modes.confident_real")
FRECHET = Measure("Fréchet distance", "frechet.value", ".3g")
PRECISION = Measure("precision", "precision_recall.precision", ".3f")
RECALL = Measure("recall", "precision_recall.recall", ".3f")
INCEPTION = Measure("Inception score", "inception_score.value", ".2f")
SHORT = (MODES, HIGH_CONFIDENCE_MODES, KL, CONFIDENT, FRECHET, INCEPTION, PRECISION, RECALL)
LONG = (MODES, HIGH_CONFIDENCE_MODES, KL, FRECHET, INCEPTION)


def samples_of(scores: dict[str, Any]) -> int:
    """Number of scored samples, N."""
    return int(scores.get("modes", scores)["num_samples"])


def basis_of(scores: dict[str, Any]) -> dict[str, Any]:
    """Return the features and the warnings of a report, as far as it has them."""
    return {name: scores[name] for name in ("features", "warnings") if scores.get(name)}


def basis_note(scores: dict[str, Any]) -> str:
    """Describe the features of the Fréchet distance, precision and recall."""
    features = scores.get("features")
    if not features:
        return ""
    metadata = features.get("metadata") or {}
    accuracy = metadata.get("classifier_accuracy")
    name = f"a classifier with {accuracy:.1%} accuracy on held-out digits" if accuracy else features["name"]
    warnings = [f"Warning: {text}." for text in scores.get("warnings") or ()]
    basis = f"Distances, precision and recall use the features of {name}"
    return " ".join(
        [basis + ("; not comparable with FID." if features["name"] != "inception" else "."), *warnings]
    )


@dataclass(frozen=True)
class Measured:
    """A method with its scores.

    Attributes:
        method: the scored method.
        short: scores at the short N, one per seed.
        long: scores at the long N, one per seed; empty for long chains.
        speed: seconds per 100 images (as in the paper) and more; None if not measured.
    """

    method: Method
    short: list[dict[str, Any]]
    long: list[dict[str, Any]]
    speed: dict[str, Any] | None

    @property
    def seconds(self) -> float:
        """Seconds per 100 images at a batch of 100."""
        assert self.speed is not None
        return float(self.speed["seconds_per_100"]["median"])

    @property
    def nfe(self) -> int:
        """Network evaluations per sample."""
        assert self.speed is not None
        return int(self.speed["nfe"])

    def values(self, measure: Measure, *, long: bool = False) -> list[float]:
        """Return the values of all seeds that have one."""
        values = [measure.of(scores) for scores in (self.long if long else self.short)]
        return [value for value in values if value is not None]

    def plain(self) -> dict[str, Any]:
        """Return plain values for result.json."""
        numbers: dict[str, Any] = {"label": self.method.label, "model": self.method.spec.name}
        numbers |= {"about": self.method.spec.about}
        for name, reports, measures in (("short", self.short, SHORT), ("long", self.long, LONG)):
            every = {m.label: [m.of(scores) for scores in reports] for m in measures}
            kept = {label: values for label, values in every.items() if any(v is not None for v in values)}
            floors = [floor for scores in reports if (floor := at(scores, "modes.kl_floor")) is not None]
            if kept:
                numbers[name] = kept | {"N": samples_of(reports[0])} | basis_of(reports[0])
                numbers[name] |= {"KL floor": floors[0]} if floors else {}
        return numbers | ({"speed": self.speed} if self.speed is not None else {})


def measured(request: Request, methods: Sequence[Method], *, with_speed: bool = False) -> list[Measured]:
    """Score every method on every seed, reusing the scores stored beside the models."""
    found = []
    for method in methods:
        short = [short_scores(request, method, seed) for seed in request.seeds]
        long = [scores for seed in request.seeds if (scores := long_scores(request, method, seed))]
        found.append(Measured(method, short, long, speed(request, method) if with_speed else None))
    return found


def columns(found: Sequence[Measured], measures: Sequence[Measure], *, long: bool = False) -> list[Measure]:
    """Return the measures that at least one method has."""
    return [measure for measure in measures if any(one.values(measure, long=long) for one in found)]


def cell(one: Measured, measure: Measure, *, long: bool = False) -> str:
    """Format the values of a method over the seeds."""
    return written(one.values(measure, long=long), measure.form)


def floor_note(found: Sequence[Measured], *, long: bool = False) -> str:
    """State N, and the KL of N real samples."""
    for one in found:
        for scores in one.long if long else one.short:
            n, floor = samples_of(scores), at(scores, "modes.kl_floor")
            return f"N = {n:,}" + (
                "." if floor is None else f"; the KL of {n:,} real samples is {floor:.3f}."
            )
    return ""


def score_cells(found: Sequence[Measured]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the scores at both N: a header, and the cells of each method, long N first."""
    parts = [(columns(found, measures, long=long), long) for measures, long in ((LONG, True), (SHORT, False))]
    n = {long: samples_of((found[0].long if long else found[0].short)[0]) for _, long in parts}
    head = tuple(f"{measure.label}, N = {n[long]:,}" for some, long in parts for measure in some)
    rows = [tuple(cell(one, m, long=long) for some, long in parts for m in some) for one in found]
    return head, rows


def has_larger(
    one: Measured, other: Measured, measure: Measure = MODES, *, long: bool = True
) -> tuple[bool, str]:
    """Whether one method's mean of `measure` exceeds the other's, and the numbers as text."""
    ours, theirs = (method.values(measure, long=long) for method in (one, other))
    if not ours or not theirs:
        return False, f"{measure.label} was not measured for both"
    evidence = f"{one.method.label}: {written(ours, measure.form)}; {other.method.label}: "
    return spread_of(ours)[0] > spread_of(theirs)[0], evidence + written(theirs, measure.form)
