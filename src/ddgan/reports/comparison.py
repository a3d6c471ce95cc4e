"""Scores side by side: a table, and the plot of quality, coverage and speed (the paper's Figs 1 and 4)."""

from __future__ import annotations

import html
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddgan.models.run_folder import SCORES_NAME
from ddgan.reports.run_report import COLORS, PAGE, png, section

MARKERS = "osD^vPX*"
WIDTH, HEIGHT = 4.6, 4.2
"""Of a panel, in inches."""


@dataclass(frozen=True)
class Figure:
    """A figure of merit that reports may have.

    Attributes:
        label: for the table and the axis.
        path: where it is in the JSON.
        interval: where its interval is, or the fastest and slowest of a time.
        better: "lower" or "higher".
        form: how the number is written.
    """

    label: str
    path: str
    better: str
    interval: tuple[str, ...] = ()
    form: str = ".4g"

    def of(self, report: dict[str, Any]) -> float | None:
        """Its value in a report, if it has one."""
        value = _at(report, self.path)
        return None if value is None else float(value)

    def title(self, reports: list[dict[str, Any]]) -> str:
        """Its label; where the reports agree on a name for the score, such as FID, that name."""
        place = self.path.rpartition(".")[0]
        names = {_at(report, f"{place}.name") for report in reports} - {None}
        name = str(names.pop()) if len(names) == 1 else self.label
        return f"{name} ({self.better} is better)"

    def interval_of(self, report: dict[str, Any]) -> tuple[float, float] | None:
        """Its interval in a report, if it has one."""
        found = [_at(report, path) for path in self.interval]
        ends = found[0] if len(found) == 1 else found
        return None if not ends or None in ends else (float(ends[0]), float(ends[1]))


QUALITY = (
    Figure("Fréchet distance", "frechet.value", "lower", ("frechet.interval",)),
    Figure("kernel distance", "kernel.value", "lower", form=".3e"),
    Figure("precision", "precision_recall.precision", "higher", ("precision_recall.precision_interval",)),
    Figure("density", "density_coverage.density", "higher", ("density_coverage.density_interval",)),
    Figure("Inception score", "inception_score.value", "higher"),
    Figure("channels read with confidence", "modes.confident", "higher"),
    Figure("points near a mode", "modes.within", "higher"),
    Figure("read as the class asked for", "classes.agreement", "higher"),
)
COVERAGE = (
    Figure("recall", "precision_recall.recall", "higher", ("precision_recall.recall_interval",)),
    Figure("coverage", "density_coverage.coverage", "higher", ("density_coverage.coverage_interval",)),
    Figure("modes", "modes.modes", "higher", form=".0f"),
    Figure("modes of confidently read images", "modes.confident_modes", "higher", form=".0f"),
    Figure("KL of the modes", "modes.kl", "lower"),
    Figure("KL of the classes", "balance.kl", "lower"),
    Figure("distance within a class", "classes.diversity", "higher"),
)
SPEED = (
    Figure(
        "seconds per 100 images",
        "speed.seconds_per_100.median",
        "lower",
        ("speed.seconds_per_100.fastest", "speed.seconds_per_100.slowest"),
    ),
    Figure("images per second", "speed.images_per_second", "higher"),
    Figure("seconds for one image", "speed.latency.median", "lower"),
    Figure("generator calls (NFE)", "num_steps", "lower", form=".0f"),
)
SETTINGS = {
    "protocol": "protocol",
    "data": "data",
    "samples (N)": "num_samples",
    "real images": "num_real",
    "features": "features.name",
    "features' checksum": "features.checksum",
    "device": "speed.device",
}
"""What must agree before scores can be compared."""


def _at(report: dict[str, Any], path: str) -> Any:
    value: Any = report
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True)
class Comparison:
    """Reports and their names.

    Attributes:
        names: of each report.
        reports: their JSON.
    """

    names: list[str]
    reports: list[dict[str, Any]]

    def figures(self) -> list[Figure]:
        """Those that at least one report has."""
        every = (*QUALITY, *COVERAGE, *SPEED)
        return [f for f in every if any(f.of(report) is not None for report in self.reports)]

    def table(self) -> list[list[str]]:
        """A header and a row for each figure; the best value of a row bears a star."""
        rows = [["", *self.names]]
        for figure in self.figures():
            values = [figure.of(report) for report in self.reports]
            there = [value for value in values if value is not None]
            best = min(there) if figure.better == "lower" else max(there)
            cells = ["-" if v is None else f"{v:{figure.form}}{' *' if v == best else ''}" for v in values]
            rows.append([figure.title(self.reports), *cells])
        for label, path in SETTINGS.items():
            found = [_at(report, path) for report in self.reports]
            if any(value is not None for value in found):
                rows.append([label, *("-" if v is None else str(v)[:24] for v in found)])
        return rows

    def differences(self) -> list[str]:
        """Why these scores should not be compared; nothing if they can be."""
        found = []
        for label, path in SETTINGS.items():
            values = list(dict.fromkeys(str(_at(report, path)) for report in self.reports))
            if len(values) > 1:
                found.append(f"{label} differ: {', '.join(value[:24] for value in values)}")
        return found

    def lines(self) -> list[str]:
        """The table as text."""
        rows = self.table()
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        return [line.rstrip() for line in lines] + [f"not comparable: {text}" for text in self.differences()]

    def axes(self) -> list[Figure]:
        """What stands for quality, for coverage and for speed: the first figure that most reports have."""
        chosen = []
        for kind in (QUALITY, COVERAGE, SPEED):
            counts = [sum(figure.of(report) is not None for report in self.reports) for figure in kind]
            if max(counts):
                chosen.append(kind[counts.index(max(counts))])
        return chosen


def read_reports(paths: list[Path]) -> Comparison:
    """Read what `ddgan evaluate` wrote, or the scores of runs, which are named by their folders.

    Raises:
        ValueError: if there are fewer than two, or one is something else.
    """
    if len(paths) < 2:
        raise ValueError("a comparison needs two or more JSON files")
    reports = []
    for path in (path / SCORES_NAME if path.is_dir() else path for path in paths):
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"'{path}' cannot be read as JSON: {error}") from None
        if not isinstance(report, dict) or "protocol" not in report or "num_samples" not in report:
            raise ValueError(f"'{path}' was not written by 'ddgan evaluate'")
        reports.append(report)
    short = [path.resolve().name if path.is_dir() else path.stem for path in paths]
    unique = len(set(short)) == len(short)
    long = [f"{path.resolve().parent.name}/{name}" for path, name in zip(paths, short, strict=True)]
    return Comparison(short if unique else long, reports)


def compare(paths: list[Path], out: Path) -> Comparison:
    """Write X.html, self-contained, and the plot as X.png.

    Raises:
        ValueError: if a file is no report.
    """
    comparison = read_reports(paths)
    plot = paint(comparison)
    head, *rows = comparison.table()
    lines = [f"<tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    notes = "".join(f"<p><b>Not comparable:</b> {html.escape(text)}</p>" for text in comparison.differences())
    body = [
        f"<h1>{html.escape(' · '.join(comparison.names))}</h1>{notes}",
        section("Quality, coverage and speed", png(plot, "quality, coverage and speed of each", "wide")),
        section("Scores", f"<table>{''.join(lines)}</table>", "A star marks the best of a row."),
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(PAGE.format(title="ddgan: comparison", body="\n".join(body)), encoding="utf-8")
    out.with_suffix(".png").write_bytes(plot)
    return comparison


def paint(comparison: Comparison) -> bytes:
    """The plot as PNG: one panel for each two of quality, coverage and speed."""
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
                label=name,
            )
        panel.set_xlabel(x.title(comparison.reports))
        panel.set_ylabel(y.title(comparison.reports))
        if x in SPEED:
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
    plot.savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _bars(figure: Figure, report: dict[str, Any]) -> list[list[float]] | None:
    """The interval as matplotlib's lengths below and above."""
    interval, value = figure.interval_of(report), figure.of(report)
    if interval is None or value is None:
        return None
    return [[max(value - interval[0], 0.0)], [max(interval[1] - value, 0.0)]]
