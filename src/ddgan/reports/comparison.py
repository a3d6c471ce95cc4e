"""Scores side by side: a table, and a plot of quality, coverage and speed (the paper's Figs 1 and 4).

Each metric declares which of its numbers are shown, see `ddgan.metrics.Figure`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ddgan.config.components import find
from ddgan.metrics import Figure, known_metrics
from ddgan.metrics.headline import at, interval_of, is_number, number_at
from ddgan.models.run_folder import SCORES_NAME
from ddgan.reports.page import COLORS, Section, in_plot, page, png, table
from ddgan.system.files import write_atomically
from ddgan.system.outputs import MARK, read_record
from ddgan.system.text import one_line

__all__ = ["Comparison", "check_report", "compare", "names_of", "read_reports"]

MARKERS = "osD^vPX*"
WIDTH, HEIGHT = 4.6, 4.2
"""Size of a panel, in inches."""
ASPECTS = ("quality", "coverage", "speed")
NFE = Figure("speed", "network evaluations per sample (NFE)", "nfe", "lower", form=".0f", exact=True)
"""A number that reports have besides their scores."""

DEVICE = "device"
"""The setting that speeds depend on, and other scores do not."""
SETTINGS = {
    "protocol": "protocol",
    "data": "data",
    "split": "split",
    "data's checksum": "data_checksum",
    "samples (N)": "num_samples",
    "real images": "num_real",
    "features": "features.name",
    "features' checksum": "features.checksum",
    DEVICE: "speed.device",
}
"""Settings that must agree before scores can be compared."""
BESIDE = ("features", "versions")
"""Mappings in a report that are not scores."""


@dataclass(frozen=True)
class Measure:
    """A number that reports may have: a figure of a metric's score, and its path in the JSON.

    Attributes:
        figure: the figure of the metric.
        score: path of the score in the JSON, ending with a dot; empty for the top level.
    """

    figure: Figure
    score: str

    @property
    def label(self) -> str:
        """Name for tables and axes."""
        return self.figure.label

    def of(self, report: dict[str, Any]) -> float | None:
        """Return its value in a report, or None."""
        return number_at(report, self.score + self.figure.path)

    def interval_of(self, report: dict[str, Any]) -> tuple[float, float] | None:
        """Return its interval in a report, from its deviation if it has no other, or None."""
        return interval_of(at(report, self.score[:-1]) if self.score else report, self.figure)

    def title(self, reports: list[dict[str, Any]]) -> str:
        """Return the label, or the score's name (such as FID) if all reports agree on one."""
        above = (self.score + self.figure.path).rpartition(".")[0]
        names = {str(at(report, f"{above}.name")) for report in reports} - {"None"}
        name = names.pop() if len(names) == 1 else self.label
        return f"{name} ({self.figure.better} is better)"


def known_measures() -> list[Measure]:
    """Return the figures of all registered metrics, in display order."""
    measures: list[Measure] = []
    for kind in known_metrics():
        metric: Any = find("metric", kind)
        measures += [Measure(figure, f"{kind}.") for figure in getattr(metric, "figures", ())]
    return [*measures, Measure(NFE, "")]


@dataclass(frozen=True)
class Comparison:
    """Reports and their names.

    Attributes:
        names: name of each report.
        reports: JSON content of each report.
    """

    names: list[str]
    reports: list[dict[str, Any]]

    @cached_property
    def measures(self) -> list[Measure]:
        """Measures that at least one report has, by aspect."""
        present = [m for m in known_measures() if any(m.of(report) is not None for report in self.reports)]
        return sorted(present, key=lambda measure: ASPECTS.index(measure.figure.aspect))

    @cached_property
    def other_values(self) -> dict[str, list[Any]]:
        """Numbers of metrics that declare no figures, or that are not imported, by name."""
        known = {measure.score for measure in known_measures()} | {f"{kind}." for kind in BESIDE}
        paths: dict[str, None] = {}
        for report in self.reports:
            for kind, score in report.items():
                if f"{kind}." not in known and isinstance(score, dict):
                    paths |= {f"{kind}.{name}": None for name, value in score.items() if is_number(value)}
        return {
            path.replace(".", ": ").replace("_", " "): [at(report, path) for report in self.reports]
            for path in paths
        }

    def best(self, measure: Measure) -> int | None:
        """Return which report has the best value of a measure; None unless it is better than all others.

        It is if the reports are comparable, and its interval does not touch that of any other. A measure
        without intervals has no best.
        """
        spans = [measure.interval_of(report) for report in self.reports if measure.of(report) is not None]
        if len(spans) < 2 or None in spans or not self._is_comparable(measure):
            return None
        values = [measure.of(report) for report in self.reports]
        present = [value for value in values if value is not None]
        is_lower = measure.figure.better == "lower"
        best = values.index(min(present) if is_lower else max(present))
        own = measure.interval_of(self.reports[best])
        for index, report in enumerate(self.reports):
            other = measure.interval_of(report)
            if index == best or own is None or other is None:
                continue
            if not (own[1] < other[0] if is_lower else own[0] > other[1]):
                return None
        return best

    def _is_comparable(self, measure: Measure) -> bool:
        if measure.figure.exact:
            return True
        is_speed = measure.figure.aspect == "speed"
        return not any((label == DEVICE) == is_speed for label in self._differing)

    def table(self, marked: Callable[[str], str] = "{} *".format) -> list[list[str]]:
        """Return a header and one row per number; the best value of a figure is `marked`, see `best`."""
        rows = [["", *self.names]]
        for measure in self.measures:
            values, form = [measure.of(report) for report in self.reports], measure.figure.form
            cells = ["-" if value is None else f"{value:{form}}" for value in values]
            if (best := self.best(measure)) is not None:
                cells[best] = marked(cells[best])
            rows.append([measure.title(self.reports), *cells])
        for label, others in self.other_values.items():
            rows.append([label, *(f"{value:.4g}" if is_number(value) else "-" for value in others)])
        for label, path in SETTINGS.items():
            settings = [at(report, path) for report in self.reports]
            if any(value is not None for value in settings):
                rows.append([label, *("-" if v is None else str(v)[:24] for v in settings)])
        return rows

    @cached_property
    def _differing(self) -> dict[str, list[str]]:
        """The different values of each setting that the reports do not share, by its label."""
        found = {}
        for label, path in SETTINGS.items():
            values = list(dict.fromkeys(str(at(report, path)) for report in self.reports))
            if len(values) > 1:
                found[label] = values
        return found

    def differences(self) -> list[str]:
        """Return the reasons not to compare these scores; empty if they are comparable."""
        return [
            f"{label} differ: {', '.join(value[:24] for value in values)}"
            for label, values in self._differing.items()
        ]

    def lines(self) -> list[str]:
        """Return the lines of the table as text."""
        rows = [[one_line(cell) for cell in row] for row in self.table()]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        return [line.rstrip() for line in lines] + [
            f"not comparable: {one_line(text)}" for text in self.differences()
        ]

    def axes(self) -> list[Measure]:
        """Choose a figure each for quality, coverage and speed: the one that most reports have."""
        chosen = []
        for aspect in ASPECTS:
            candidates = [measure for measure in self.measures if measure.figure.aspect == aspect]
            counts = [sum(m.of(report) is not None for report in self.reports) for m in candidates]
            if candidates:
                chosen.append(candidates[counts.index(max(counts))])
        return chosen


def read_reports(paths: list[Path]) -> Comparison:
    """Read reports written by `ddgan evaluate`, or the scores of run folders, named after their folders.

    Raises:
        ValueError: if there are fewer than two, or one is not such a report, or is damaged.
    """
    if len(paths) < 2:
        raise ValueError("a comparison needs two or more JSON files")
    files = [path / SCORES_NAME if path.is_dir() else path for path in paths]
    return Comparison(names_of(paths), [check_report(read_record(file), file) for file in files])


def check_report(report: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a report that was read from `path`, with the names of this version.

    Raises:
        ValueError: if it is not a report.
    """
    if "protocol" not in report or "num_samples" not in report:
        raise ValueError(f"'{path}' was not written by 'ddgan evaluate'")
    if "num_steps" in report:  # the name in 0.1
        report["nfe"] = report.pop("num_steps")
    return report


def names_of(paths: Sequence[Path]) -> list[str]:
    """Return a different name for each path: those of the files or folders, with their parents if need be."""
    short = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    if len(set(short)) == len(short):
        return short
    return [f"{path.resolve().parent.name}/{name}" for path, name in zip(paths, short, strict=True)]


def compare(given: list[Path] | Comparison, out: Path | None) -> Comparison:
    """Write X.html, self-contained, and the plot as X.png if a metric declares figures for it.

    Args:
        given: reports, or the paths of their files.
        out: X.html; None to write nothing.

    Raises:
        ValueError: if a file is not a report, or the reports have no scores to compare.
    """
    comparison = given if isinstance(given, Comparison) else read_reports(given)
    if not comparison.measures and not comparison.other_values:
        raise ValueError(
            "these reports have no scores that can be compared; name some by --metrics of evaluate"
        )
    if out is None:
        return comparison
    head, *rows = comparison.table(Markup("<strong>{} *</strong>").format)
    note = (
        "Bold with a star: the best of a row, if its interval touches no other. Nothing is marked where a "
        "score has no interval, or the reports are not comparable."
    )
    sections = [Section("Scores", table(rows, head), note)]
    lead = [f"Not comparable: {text}" for text in comparison.differences()]
    out.parent.mkdir(parents=True, exist_ok=True)
    if comparison.measures:
        plot = paint(comparison)
        write_atomically(out.with_suffix(".png"), plot)
        title = "Quality, coverage and speed"
        sections.insert(0, Section(title, png(plot, "quality, coverage and speed of each")))
    write_atomically(out, page("ddgan: comparison", " · ".join(comparison.names), lead, sections))
    return comparison


def paint(comparison: Comparison) -> bytes:
    """Draw the plot as PNG: one panel per pair of quality, coverage and speed."""
    from matplotlib import figure as plots

    axes = comparison.axes()
    pairs = [(x, y) for i, y in enumerate(axes) for x in axes[i + 1 :]]
    if not pairs:
        pairs = [(axes[0], axes[0])]
    rows = -(-len(comparison.names) // 3)
    plot = plots.Figure(figsize=(WIDTH * len(pairs), HEIGHT + 0.28 * rows))
    plot.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    for place, (x, y) in enumerate(pairs):
        panel = plot.add_subplot(1, len(pairs), place + 1)
        for index, (name, report) in enumerate(zip(comparison.names, comparison.reports, strict=True)):
            at = x.of(report), y.of(report)
            if at[0] is None or at[1] is None:
                continue
            panel.errorbar(
                at[0],
                at[1],
                xerr=_bars(x, report),
                yerr=_bars(y, report),
                fmt=MARKERS[index % len(MARKERS)],
                color=COLORS[index % len(COLORS)],
                markersize=9,
                capsize=3,
                label=in_plot(name),
            )
        panel.set_xlabel(in_plot(x.title(comparison.reports)))
        panel.set_ylabel(in_plot(y.title(comparison.reports)))
        if x.figure.aspect == "speed":
            panel.set_xscale("log")
        panel.grid(alpha=0.3)
        panel.margins(0.15)
    handles = {
        label: handle
        for panel in plot.axes
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    plot.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=9)
    buffer = io.BytesIO()
    plot.savefig(buffer, format="png", dpi=130, metadata={"Software": MARK})
    return buffer.getvalue()


def _bars(measure: Measure, report: dict[str, Any]) -> list[list[float]] | None:
    """Return the interval as matplotlib's lengths below and above the value."""
    interval, value = measure.interval_of(report), measure.of(report)
    if interval is None or value is None:
        return None
    return [[max(value - interval[0], 0.0)], [max(interval[1] - value, 0.0)]]
