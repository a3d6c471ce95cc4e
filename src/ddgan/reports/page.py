"""Building blocks of the pages: self-contained HTML with embedded pictures and plots."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from jinja2 import Environment
from markupsafe import Markup

from ddgan.system.images import to_png
from ddgan.system.outputs import MARK
from ddgan.system.text import one_line, printable

__all__ = ["COLORS", "Section", "in_plot", "page", "picture", "plot", "png", "table"]

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")
"""The Okabe-Ito palette, safe for colour-blind readers."""
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto;
  padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
p.note { color: #555; }
table { border-collapse: collapse; }
th { text-align: left; padding-right: 1.2rem; }
td { padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid #ddd; }
td { font-variant-numeric: tabular-nums; } table.values td:last-child { font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 10px; }
.tiles.single { grid-template-columns: repeat(auto-fill, minmax(110px, 1fr)); }
.tiles figure { margin: 0; } .tiles img, .chain { image-rendering: pixelated; }
.tiles img { width: 100%; }
.wide { max-width: 100%; } pre { background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: 13px; }
figcaption { color: #555; font-size: 14px; }
img { height: auto; } td img { display: block; } td.text, .plain td:last-child { font-weight: 400; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(420px, 1fr)); gap: 6px 20px; }
.charts { margin-bottom: 1rem; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 520px)); gap: 16px; }
.pair figure { margin: 0; } .pair img { max-width: 100%; image-rendering: pixelated; }
svg.chart { width: 100%; } svg text { font: 12px system-ui, sans-serif; fill: #555; }
svg text.title { font-size: 14px; fill: #222; } svg .end { text-anchor: end; }
svg .middle { text-anchor: middle; } svg .rule { stroke: #e4e4e4; } svg .band { fill: #eaf4ec; }
.status { background: #f6f6f6; padding: .6rem 1rem; border-left: 4px solid #0072b2; }
.status p { margin: .2rem 0; }
"""
POLICY = (
    "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
    f"style-src 'sha256-{base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)
"""Content-Security-Policy of a page: nothing but embedded pictures and STYLE; no scripts."""
TEMPLATES = Environment(
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    finalize=lambda value: value if isinstance(value, Markup) else printable(value),
)
PAGE = TEMPLATES.from_string("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="generator" content="{{ mark }}">
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
{% if renewed_every %}
<meta http-equiv="refresh" content="{{ renewed_every }}">
{% endif %}
<title>{{ title }}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{{ style }}</style></head><body>
<h1>{{ heading }}</h1>
{% if status %}
<div class="status">
{% for text in status %}
<p>{{ text }}</p>
{% endfor %}
</div>
{% endif %}
{% for text in lead %}
<p>{{ text }}</p>
{% endfor %}
{% for section in sections %}
<section><h2>{{ section.title }}</h2>
{% if section.note %}
<p class="note">{{ section.note }}</p>
{% endif %}
{{ section.content }}
</section>
{% endfor %}
</body></html>
""")
TABLE = TEMPLATES.from_string("""<table{% if not head %} class="values"{% endif %}>
{% if head %}
<tr>{% for cell in head %}<th>{{ cell }}</th>{% endfor %}</tr>
{% endif %}
{% for row in rows %}
<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table>""")


class Section(NamedTuple):
    """A section of a page: its title, its HTML, and a note above the HTML."""

    title: str
    content: Markup
    note: str = ""


def page(
    title: str,
    heading: str,
    lead: Iterable[str],
    sections: Iterable[Section],
    *,
    status: Sequence[str] = (),
    renewed_every: int = 0,
) -> str:
    """Render a whole page; texts are escaped unless they are `Markup`.

    Args:
        title: title of the browser window.
        heading: heading of the page.
        lead: paragraphs below the heading.
        sections: sections below the lead.
        status: lines in a box between the heading and the lead.
        renewed_every: seconds after which a browser loads the page again, at the same place; 0 for never.
    """
    return PAGE.render(
        mark=MARK,
        policy=POLICY,
        style=Markup(STYLE),
        title=title,
        heading=heading,
        lead=lead,
        sections=sections,
        status=status,
        renewed_every=renewed_every,
    )


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> Markup:
    """Render an HTML table; without a head each row is a name and its value, which is bold."""
    return Markup(TABLE.render(rows=rows, head=head))


def png(data: bytes, alt: str, css: str = "wide") -> Markup:
    """Embed the bytes of a PNG file as an HTML image."""
    encoded = base64.b64encode(data).decode()
    width, height = struct.unpack(">II", data[16:24])  # known before it is decoded, so that nothing moves
    return Markup('<img class="{}" alt="{}" width="{}" height="{}" src="data:image/png;base64,{}">').format(
        css, alt, width, height, encoded
    )


def picture(image: np.ndarray, alt: str, css: str = "wide") -> Markup:
    """Embed uint8 (H, W, C) as an HTML image."""
    return png(to_png(image), alt, css)


def in_plot(text: object) -> str:
    """Return text on one line that matplotlib draws as it is: not as a formula, and also in legends."""
    line = one_line(text).replace("$", r"\$")
    return f" {line}" if line.startswith("_") else line  # labels that begin with _ are left out of legends


def plot(paint: Callable[[Any], None], width: float, height: float, alt: str) -> Markup:
    """Run `paint` on a matplotlib figure of this size in inches; returns an HTML image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    paint(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return png(buffer.getvalue(), alt)
