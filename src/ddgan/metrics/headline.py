"""The headline of a report: the one number by which checkpoints, and the runs of a list, are compared."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ddgan.config.components import find
from ddgan.metrics.metric import Figure, known_metrics
from ddgan.system.text import one_line

__all__ = [
    "Headline",
    "at",
    "headline",
    "headlines",
    "interval_of",
    "is_number",
    "number_at",
    "without_features",
]

DEVIATIONS = 2
"""Half-width of a 95 % interval, in standard deviations."""
FIRST = ("modes", "frechet")
"""Metrics whose headline comes first if none is preferred."""


class Headline(NamedTuple):
    """A number of a report.

    Attributes:
        name: its name.
        value: its value.
        better: "lower" or "higher".
        interval: its 95 % interval; None if unknown.
    """

    name: str
    value: float
    better: str
    interval: tuple[float, float] | None = None

    @property
    def loss(self) -> float:
        """The value, or its negative: lower is better."""
        return self.value if self.better == "lower" else -self.value


def headline(report: Mapping[str, Any], preferred: Sequence[str] = ()) -> Headline | None:
    """Return the headline of a report in its JSON form: that of the first metric that has one.

    Args:
        report: what `Report.to_dict` returns.
        preferred: kinds of metrics to look at first, in this order.
    """
    return next(headlines(report, preferred), None)


def headlines(report: Mapping[str, Any], preferred: Sequence[str] = ()) -> Iterator[Headline]:
    """Yield the headline of each metric of a report, except speed; the arguments are those of `headline`."""
    known = known_metrics()
    for kind in dict.fromkeys([*(kind for kind in preferred if kind in known), *FIRST, *known]):
        figure = headline_figure(kind)
        if figure is None or figure.aspect == "speed":
            continue
        value = number_at(report, f"{kind}.{figure.path}")
        if value is not None and math.isfinite(value):
            name = at(report, f"{kind}.name")
            label = name if isinstance(name, str) else figure.label
            yield Headline(label, value, figure.better, interval_of(report.get(kind), figure))


def interval_of(score: Any, figure: Figure) -> tuple[float, float] | None:
    """Return the interval of a figure of a score, from its deviation if it has no other, or None."""
    value = number_at(score, figure.path)
    if value is None or figure.exact:
        return None if value is None else (value, value)
    if figure.deviation:
        deviation = number_at(score, figure.deviation)
        return None if deviation is None else (value - DEVIATIONS * deviation, value + DEVIATIONS * deviation)
    values = [at(score, path) for path in figure.interval]
    ends = values[0] if len(values) == 1 else values
    if not isinstance(ends, list | tuple) or len(ends) != 2 or not all(map(is_number, ends)):
        return None
    return float(ends[0]), float(ends[1])


def without_features(name: str) -> str:
    """Return the name of a score without the features in parentheses, for columns of a table."""
    return one_line(name).partition(" (")[0]


def headline_figure(kind: str) -> Figure | None:
    """Return the figure of a metric that its headline has; None if it declares none."""
    metric: Any = find("metric", kind)
    figures: Sequence[Figure] = getattr(metric, "figures", ())
    wanted = getattr(metric, "headline", "")
    return next((figure for figure in figures if not wanted or figure.path == wanted), None)


def at(report: Any, path: str) -> Any:
    """Return the value at a dotted path of nested mappings, or None."""
    value: Any = report
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def is_number(value: Any) -> bool:
    """Whether a value of a report is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def number_at(report: Any, path: str) -> float | None:
    """Return the number at a dotted path, or None."""
    value = at(report, path)
    return float(value) if is_number(value) else None
