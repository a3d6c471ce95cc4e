"""Pages show foreign text as text, and a browser that follows their policy can run nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from markupsafe import Markup
from test_run_report import Page

import ddgan
from ddgan import DDGAN
from ddgan.reports import sample_views
from ddgan.reports.comparison import compare
from ddgan.reports.page import Section, in_plot, page, table
from ddgan.reports.run_report import write_report
from ddgan.system.text import printable
from hostile import HOSTILE, hostile_model

DRAWING = {"viewbox", "role", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height", "points"}
DRAWING |= {"fill", "stroke", "stroke-width", "stroke-dasharray"}


def checked(text: str) -> Page:
    """Read a page, and check that its policy allows what it has, and that it has nothing else."""
    found = Page(text)
    (policy,) = (a["content"] for tag, a in found.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    (style,) = re.findall("<style>(.*?)</style>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "style-src": f"'sha256-{digest}'",
    }
    tags = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "section", "img", "pre"}
    tags |= {"table", "tr", "th", "td", "div", "figure", "figcaption", "sub", "h3"}
    tags |= {"svg", "rect", "line", "text", "polyline", "circle"}
    assert {tag for tag, _ in found.tags} <= tags
    names = {name for _, attributes in found.tags for name in attributes}
    assert names <= {"lang", "charset", "http-equiv", "content", "name", "class", "alt", "src", *DRAWING}
    assert all(a["src"].startswith("data:image/png;base64,") for tag, a in found.tags if tag == "img")  # type: ignore[union-attr]
    assert text.index("Content-Security-Policy") < text.index("<style>")
    return found


def test_hostile_text_is_text_wherever_it_is(tmp_path: Path) -> None:
    sections = [Section(HOSTILE, table([[HOSTILE, "x"]], [HOSTILE, ""]), HOSTILE)]
    text = page(HOSTILE, HOSTILE, [HOSTILE], sections)
    assert checked(text).words.count(printable(HOSTILE)) == 7
    assert not set(text) & set("\x1b\x07\u202e")


def test_what_json_can_hold_can_be_written(tmp_path: Path) -> None:
    text = page("a\ud800", "", [], [])
    assert r"<title>a\ud800</title>" in text
    text.encode("utf-8")


def test_the_report_of_a_hostile_model_and_log(
    model: DDGAN, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_views, "_real", lambda model, count: model.sample(count))
    report = ddgan.evaluate(model, "digits", ["speed"], 8)
    lines = [{"step": i, "loss_g": 1.0, f"loss_{HOSTILE}": 2.0} for i in range(3)]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = checked(write_report(hostile_model(model), report, tmp_path).read_text(encoding="utf-8"))
    assert any("<script>alert(1)</script>|" in word for word in found.words)


def scores(model: DDGAN, folder: Path, **names: str) -> list[Path]:
    """Two files of scores with foreign text in them."""
    report: dict[str, Any] = ddgan.evaluate(model, "digits", ["frechet"], 300, features="pixels").to_dict()
    report["frechet"]["name"] = report["features"]["name"] = report["data"] = HOSTILE
    paths = [folder / f"{name}.json" for name in ("_a$b$", "$\\foo$")]
    for path in paths:
        path.write_text(json.dumps(report))
    return paths


def test_a_comparison_of_hostile_reports(model: DDGAN, tmp_path: Path) -> None:
    comparison = compare(scores(model, tmp_path), tmp_path / "x.html")
    found = checked((tmp_path / "x.html").read_text(encoding="utf-8"))
    assert any("<script>alert(1)</script>|" in word for word in found.words)
    assert all(line.isprintable() for line in comparison.lines())
    assert len(comparison.lines()) == len(comparison.table())


def test_matplotlib_draws_text_as_it_is() -> None:
    from matplotlib.figure import Figure

    for name in ("_a", "a$b$c", "$\\foo$", HOSTILE, "plain"):
        figure = Figure()
        axes = figure.add_subplot()
        axes.plot([1], label=in_plot(name))
        legend = axes.legend()
        figure.savefig(io.BytesIO(), format="png")
        (label,) = legend.get_texts()
        drawn, is_formula = label._preprocess_math(label.get_text())
        assert not is_formula
        assert drawn.strip() == " ".join(printable(name).split())
    assert in_plot("plain") == "plain"


def test_markup_is_not_escaped_twice() -> None:
    assert "<b>x</b> &amp; y" in page("", "", [], [Section("", Markup("<b>x</b> &amp; y"))])
