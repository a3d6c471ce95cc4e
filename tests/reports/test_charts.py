"""Curves: points stand where their values are, gaps stay gaps, and the ticks are round."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddgan.reports import charts
from ddgan.reports.charts import Band, Curve, chart, log_ticks, ticks


def points(svg: str) -> list[np.ndarray]:
    """The polylines, each (N, 2)."""
    return [
        np.array([[float(n) for n in pair.split(",")] for pair in found.split()])
        for found in re.findall(r'<polyline points="([^"]*)"', svg)
    ]


def test_a_straight_line_is_straight_and_its_scale_is_that_of_the_ticks() -> None:
    x = np.arange(10, 110, 10)
    svg = chart([Curve("", x, 3.0 * x)], "loss")
    (line,) = points(svg)
    slopes = np.diff(line[:, 1]) / np.diff(line[:, 0])
    np.testing.assert_allclose(slopes, slopes[0], rtol=0.02)
    assert slopes[0] < 0  # y grows downwards
    at = {
        float(t.replace(",", "")): float(y)
        for y, t in re.findall(r'y="([\d.]+)" class="tick end">([\d,.]+)<', svg)
    }
    for value in (100, 200):
        place = np.interp(value, 3.0 * x, line[:, 1])
        assert at[value] - 4 == pytest.approx(place, abs=0.2)  # the text stands 4 below its line


def test_missing_values_are_gaps() -> None:
    y = np.array([1.0, 2.0, np.nan, 3.0, 4.0, 5.0])
    assert [len(line) for line in points(chart([Curve("", np.arange(6), y)], ""))] == [2, 3]
    assert points(chart([Curve("", np.arange(6), np.full(6, np.nan))], "")) == []
    assert points(chart([Curve("", np.arange(0), np.zeros(0))], "")) == []


def test_long_curves_are_averaged_and_outliers_are_held_at_the_edge() -> None:
    y = np.ones(10_000)
    y[5000:] = 2
    y[0] = 1e9
    svg = chart([Curve("", np.arange(10_000), y)], "")
    (line,) = points(svg)
    assert len(line) == charts.MOST_POINTS
    assert line[:, 1].min() >= charts.TOP - 1
    assert line[10, 1] - line[-10, 1] > 100  # the step from 1 to 2 fills the picture


def test_intervals_and_the_band_are_drawn() -> None:
    x, y = np.array([1, 2]), np.array([1.0, 2.0])
    svg = chart([Curve("", x, y, y - 0.5, np.array([1.5, np.nan]))], "score", Band(0.0, 1.0, "good & normal"))
    assert svg.count('stroke="#0072B2"/>') == 1  # the second interval has no end
    assert "good &amp; normal" in svg
    top, height = re.findall(r'y="([\d.]+)" width="[\d.]+" height="([\d.]+)" class="band"', svg)[0]
    ends = {
        float(y): float(t)
        for t, y in re.findall(r'y1="([\d.]+)" y2="[\d.]+" class="rule"/><text [^>]*>([\d.]+)<', svg)
    }
    assert float(top) == pytest.approx(ends[1.0], abs=0.2)
    assert float(top) + float(height) == pytest.approx(ends[0.0], abs=0.2)


def test_values_of_different_magnitudes_are_drawn_on_a_logarithmic_axis() -> None:
    x = np.arange(1, 6)
    svg = chart([Curve("", x, 10.0 ** (3 - x))], "score", may_be_log=True)
    (line,) = points(svg)
    steps = np.diff(line[:, 1])
    np.testing.assert_allclose(steps, steps[0], atol=0.2)
    assert re.findall(r'class="tick end">([^<]*)<', svg) == ["0.01", "0.1", "1", "10", "100"]
    (straight,) = points(chart([Curve("", x, np.array([1.0, 2, 3, 4, 5]))], "score", may_be_log=True))
    np.testing.assert_allclose(np.diff(straight[:, 1]), np.diff(straight[:, 1])[0], atol=0.2)


@given(st.floats(-6, 6), st.floats(1.31, 12), st.integers(3, 8))
def test_logarithmic_ticks_are_inside(low: float, reach: float, most: int) -> None:
    found = log_ticks(low, low + reach, most)
    assert 1 <= len(found) <= most
    assert found == sorted(found)
    assert all(low <= np.log10(tick) <= low + reach for tick in found)


def test_labels_of_several_curves_are_text() -> None:
    x = np.arange(3)
    svg = chart([Curve("<b>", x, x * 1.0), Curve("t = 2", x, x * 2.0)], "<i>")
    assert "&lt;b&gt;" in svg
    assert "t = 2" in svg
    assert "<i>" not in svg


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_round_and_inside(low: float, reach: float, most: int) -> None:
    found = ticks(low, low + reach, most)
    assert len(found) <= most + 1
    steps = np.diff(found)
    if len(steps):
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6, atol=1e-9)
        mantissa = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-6)
        assert min(abs(mantissa - np.array([1, 2, 5, 10]))) < 0.01
    slack = 1e-6 * reach + 4 * np.spacing(max(abs(low), abs(low + reach)))
    assert all(low - slack <= tick <= low + reach + slack for tick in found)


@pytest.mark.parametrize("values", [[0.0, 0.0], [5.0, 5.0], [1e12, 1e12], [-1e-9, 1e-9]])
def test_strange_ranges_are_drawn(values: list[Any]) -> None:
    (line,) = points(chart([Curve("", np.arange(2), np.array(values))], ""))
    assert np.isfinite(line).all()
