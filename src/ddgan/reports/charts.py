"""Curves over the iterations, as SVG in the page: cheap enough to be drawn again and again during training.

chart([Curve("loss", steps, values)], band=Band(0.05, 1.39, "balanced"))
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from ddgan.reports.page import COLORS
from ddgan.system.text import one_line, printable

__all__ = ["Band", "Curve", "chart", "log_ticks", "ticks"]

WIDTH, HEIGHT = 520, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 12, 30, 36
LEGEND = 92
"""Width of the column of labels, if there are several curves."""
MOST_POINTS = 300
"""Points of a curve; longer ones are averaged."""
LOG_RATIO = 20.0
"""Ratio of the largest to the smallest value from which on a chart that may be logarithmic is."""
TAILS = 0.01
"""Share of the values at each end that may lie outside the axis."""


class Curve(NamedTuple):
    """A curve: its label, its x (N,), its y (N,) with NaN where there is none, and the ends of intervals."""

    label: str
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


class Band(NamedTuple):
    """A range of y that is marked, such as the normal one, and what it is."""

    low: float
    high: float
    label: str


class _Axes(NamedTuple):
    """The scales from values to places in the picture; of y, or of its logarithm."""

    x: tuple[float, float]
    y: tuple[float, float]
    right: float
    is_log: bool

    def across(self, x: float) -> float:
        return LEFT + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - LEFT)

    def up(self, y: float) -> float:
        scaled = (math.log10(y) if y > 0 else self.y[0]) if self.is_log else y
        inside = min(max(scaled, self.y[0]), self.y[1])
        return HEIGHT - BOTTOM - (inside - self.y[0]) / (self.y[1] - self.y[0]) * (HEIGHT - TOP - BOTTOM)


def chart(
    curves: Sequence[Curve], title: str, band: Band | None = None, *, may_be_log: bool = False
) -> Markup:
    """Draw curves over the iterations, with a marked band if one is given.

    A few of the highest and lowest values may lie outside the axis; the curves then run along its edge. With
    `may_be_log` the axis is logarithmic if the values are positive and of different magnitudes.
    """
    curves = [_averaged(curve) for curve in curves]
    several = len(curves) > 1
    y = np.concatenate([curve.y[np.isfinite(curve.y)] for curve in curves])
    is_log = bool(may_be_log and len(y) and y.min() > 0 and y.max() > LOG_RATIO * y.min())
    scaled = [_log10(curve) for curve in curves] if is_log else curves
    axes = _Axes(_x_range(curves), _y_range(scaled, band), WIDTH - RIGHT - LEGEND * several, is_log)
    parts = [
        Markup('<text x="{}" y="18" class="title">{}</text>').format(LEFT, one_line(title)),
        *_grid(axes, band),
        *(_line(curve, axes, index) for index, curve in enumerate(curves)),
    ]
    if several:
        parts += [_label(curve.label, axes, index) for index, curve in enumerate(curves)]
    return Markup('<svg class="chart" viewBox="0 0 {} {}" role="img">{}</svg>').format(
        WIDTH, HEIGHT, Markup("\n").join(parts)
    )


def _averaged(curve: Curve) -> Curve:
    """Return a curve of at most MOST_POINTS points, means of neighbours."""
    if len(curve.x) <= MOST_POINTS or curve.low is not None:
        return curve
    edges = np.linspace(0, len(curve.x), MOST_POINTS + 1).astype(int)
    pairs = list(pairwise(edges))
    x = np.array([curve.x[first:last].mean() for first, last in pairs])
    y = np.array([_mean(curve.y[first:last]) for first, last in pairs])
    return Curve(curve.label, x, y)


def _log10(curve: Curve) -> Curve:
    """Return the logarithm of a curve, without its intervals."""
    return Curve(curve.label, curve.x, np.log10(curve.y))


def _mean(values: np.ndarray) -> float:
    return math.nan if np.isnan(values).all() else float(np.nanmean(values))


def _x_range(curves: Sequence[Curve]) -> tuple[float, float]:
    ends = [float(curve.x[-1]) for curve in curves if len(curve.x)]
    return 0.0, max([*ends, 1.0])


def _y_range(curves: Sequence[Curve], band: Band | None) -> tuple[float, float]:
    """Return the range of the axis: nearly all values, and a finite edge of the band."""
    ends = [end for curve in curves for end in (curve.y, curve.low, curve.high) if end is not None]
    values = np.concatenate([end[np.isfinite(end)] for end in ends] or [np.zeros(0)])
    low, high = (0.0, 1.0) if not len(values) else np.quantile(values, (TAILS, 1 - TAILS)).tolist()
    if band is not None:
        reach = max(high - low, 1e-9)
        low = band.low if low - 2 * reach <= band.low < low else low
        high = band.high if high < band.high <= high + 2 * reach else high
    pad = 0.06 * (high - low) or max(0.05 * abs(high), 1e-6)
    return low - pad, high + pad


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round values between two ends, at most `most`, in steps of 1, 2 or 5 times a power of ten."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if power * factor >= least * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [(first + index) * step for index in range(min(count, most + 1))]


def log_ticks(low: float, high: float, most: int = 7) -> list[float]:
    """Return 1, 2 and 5 times powers of ten between 10^low and 10^high, or powers alone, at most `most`."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [f * 10.0**power for power in powers for f in factors]
        found = [value for value in found if low <= math.log10(value) <= high]
        if len(found) <= most:
            break
    return found[:: -(-len(found) // most)] if found else []


def _grid(axes: _Axes, band: Band | None) -> list[Markup]:
    parts = []
    if band is not None:
        top, bottom = axes.up(band.high), axes.up(band.low)
        parts.append(
            Markup(
                '<rect x="{}" y="{:.1f}" width="{:.1f}" height="{:.1f}" class="band"><title>{}</title></rect>'
            ).format(LEFT, top, axes.right - LEFT, max(bottom - top, 0), printable(band.label))
        )
    for value in log_ticks(*axes.y) if axes.is_log else ticks(*axes.y):
        place = axes.up(value)
        parts.append(
            Markup(
                '<line x1="{}" x2="{:.1f}" y1="{y:.1f}" y2="{y:.1f}" class="rule"/>'
                '<text x="{}" y="{:.1f}" class="tick end">{}</text>'
            ).format(LEFT, axes.right, LEFT - 6, place + 4, _number(value), y=place)
        )
    for value in ticks(*axes.x, most=5):
        parts.append(
            Markup('<text x="{:.1f}" y="{}" class="tick middle">{}</text>').format(
                axes.across(value), HEIGHT - BOTTOM + 16, _number(value)
            )
        )
    parts.append(
        Markup('<text x="{:.1f}" y="{}" class="tick middle">iteration</text>').format(
            (LEFT + axes.right) / 2, HEIGHT - 5
        )
    )
    return parts


def _line(curve: Curve, axes: _Axes, index: int) -> Markup:
    color, dashes = COLORS[index % len(COLORS)], ' stroke-dasharray="5 3"' if index >= len(COLORS) else ""
    pieces, current = [], list[str]()
    points = [
        (axes.across(float(x)), axes.up(float(y))) if math.isfinite(y) else None
        for x, y in zip(curve.x, curve.y, strict=True)
    ]
    for point in [*points, None]:
        if point is not None:
            current.append(f"{point[0]:.1f},{point[1]:.1f}")
        elif current:
            pieces.append(current)
            current = []
    shapes = [
        Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="1.5"{}/>').format(
            " ".join(piece), color, Markup(dashes)
        )
        for piece in pieces
    ]
    is_sparse = sum(point is not None for point in points) <= 40
    if is_sparse:
        shapes += [
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="2.5" fill="{}"/>').format(*point, color)
            for point in points
            if point is not None
        ]
    if curve.low is not None and curve.high is not None:
        for x, low, high in zip(curve.x, curve.low, curve.high, strict=True):
            if math.isfinite(low) and math.isfinite(high):
                shapes.append(
                    Markup('<line x1="{x:.1f}" x2="{x:.1f}" y1="{:.1f}" y2="{:.1f}" stroke="{}"/>').format(
                        axes.up(float(low)), axes.up(float(high)), color, x=axes.across(float(x))
                    )
                )
    return Markup("").join(shapes)


def _label(label: str, axes: _Axes, index: int) -> Markup:
    y = TOP + 12 + 17 * index
    dashes = Markup(' stroke-dasharray="5 3"') if index >= len(COLORS) else ""
    return Markup(
        '<line x1="{:.1f}" x2="{:.1f}" y1="{y}" y2="{y}" stroke="{}" stroke-width="2"{}/>'
        '<text x="{:.1f}" y="{}" class="tick">{}</text>'
    ).format(
        axes.right + 8,
        axes.right + 22,
        COLORS[index % len(COLORS)],
        dashes,
        axes.right + 27,
        y + 4,
        one_line(label),
        y=y,
    )


def _number(value: float) -> str:
    if value != 0 and abs(value) < 1e-3:
        return f"{value:.0e}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
