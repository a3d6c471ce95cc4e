"""Tables of methods: what is measured of each on every seed, as numbers, as text, and as claims."""

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
    """A number of a method.

    Attributes:
        label: for tables and axes.
        path: where it is in the scores, by dots.
        form: how it is written.
        relative_to: the path of what it is divided by.
    """

    label: str
    path: str
    form: str = ".3g"
    relative_to: str = ""

    def of(self, scores: dict[str, Any] | None) -> float | None:
        """Its value in a report; None if it is not there."""
        value: float | None = at(scores, self.path)
        if value is None or not self.relative_to:
            return value
        whole = at(scores, self.relative_to)
        return None if not whole else value / whole


def at(scores: Any, path: str) -> Any:
    """What is at a dotted path of nested values; None if there is nothing."""
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
    """N."""
    return int(scores.get("modes", scores)["num_samples"])


def basis_of(scores: dict[str, Any]) -> dict[str, Any]:
    """Of a report: the features that distances are measured in, and what it warns of, where it says so."""
    return {name: scores[name] for name in ("features", "warnings") if scores.get(name)}


def basis_note(scores: dict[str, Any]) -> str:
    """In words: what the Fréchet distance, precision and recall are measured in."""
    features = scores.get("features")
    if not features:
        return ""
    metadata = features.get("metadata") or {}
    accuracy = metadata.get("classifier_accuracy")
    name = f"a classifier that reads {accuracy:.1%} of held-out digits" if accuracy else features["name"]
    warned = [f"Warning: {text}." for text in scores.get("warnings") or ()]
    told = f"Distances, precision and recall are measured in the features of {name}"
    return " ".join(
        [told + ("; not comparable with FID." if features["name"] != "inception" else "."), *warned]
    )


@dataclass(frozen=True)
class Measured:
    """A method with its scores.

    Attributes:
        method: what was scored.
        short: the scores at the short N, one for each seed.
        long: the same at the long N; empty for long chains.
        speed: the paper's seconds per 100 images and more; None if it was not measured.
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
        """Calls of the network for one sample."""
        assert self.speed is not None
        return int(self.speed["nfe"])

    def values(self, measure: Measure, *, long: bool = False) -> list[float]:
        """The seeds' values that are there."""
        found = [measure.of(scores) for scores in (self.long if long else self.short)]
        return [value for value in found if value is not None]

    def plain(self) -> dict[str, Any]:
        """For result.json."""
        numbers: dict[str, Any] = {"label": self.method.label, "model": self.method.spec.name}
        numbers |= {"about": self.method.spec.about}
        for name, reports, measures in (("short", self.short, SHORT), ("long", self.long, LONG)):
            there = {m.label: [m.of(scores) for scores in reports] for m in measures}
            kept = {label: values for label, values in there.items() if any(v is not None for v in values)}
            floors = [floor for scores in reports if (floor := at(scores, "modes.kl_floor")) is not None]
            if kept:
                numbers[name] = kept | {"N": samples_of(reports[0])} | basis_of(reports[0])
                numbers[name] |= {"KL floor": floors[0]} if floors else {}
        return numbers | ({"speed": self.speed} if self.speed is not None else {})


def measured(request: Request, methods: Sequence[Method], *, with_speed: bool = False) -> list[Measured]:
    """Score every method on every seed; what is kept beside the models is taken from there."""
    found = []
    for method in methods:
        short = [short_scores(request, method, seed) for seed in request.seeds]
        long = [scores for seed in request.seeds if (scores := long_scores(request, method, seed))]
        found.append(Measured(method, short, long, speed(request, method) if with_speed else None))
    return found


def columns(found: Sequence[Measured], measures: Sequence[Measure], *, long: bool = False) -> list[Measure]:
    """Those of the measures that at least one method has."""
    return [measure for measure in measures if any(one.values(measure, long=long) for one in found)]


def cell(one: Measured, measure: Measure, *, long: bool = False) -> str:
    """The seeds' values of a method as text."""
    return written(one.values(measure, long=long), measure.form)


def floor_note(found: Sequence[Measured], *, long: bool = False) -> str:
    """What N is, and the KL of so many real samples."""
    for one in found:
        for scores in one.long if long else one.short:
            n, floor = samples_of(scores), at(scores, "modes.kl_floor")
            return f"N = {n:,}" + (
                "." if floor is None else f"; {n:,} real samples have a KL of {floor:.3f} themselves."
            )
    return ""


def score_cells(found: Sequence[Measured]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """What both N gave: a head, and the cells of each method, those of the long N first."""
    parts = [(columns(found, measures, long=long), long) for measures, long in ((LONG, True), (SHORT, False))]
    n = {long: samples_of((found[0].long if long else found[0].short)[0]) for _, long in parts}
    head = tuple(f"{measure.label}, N = {n[long]:,}" for some, long in parts for measure in some)
    rows = [tuple(cell(one, m, long=long) for some, long in parts for m in some) for one in found]
    return head, rows


def has_larger(
    one: Measured, other: Measured, measure: Measure = MODES, *, long: bool = True
) -> tuple[bool, str]:
    """Whether one method has more of `measure` than another on average, and the numbers."""
    ours, theirs = (method.values(measure, long=long) for method in (one, other))
    if not ours or not theirs:
        return False, f"{measure.label} was not measured for both"
    told = f"{one.method.label}: {written(ours, measure.form)}; {other.method.label}: "
    return spread_of(ours)[0] > spread_of(theirs)[0], told + written(theirs, measure.form)
