"""report.html: one self-contained page on which a person sees what a run has learned."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ddgan.data.sources import open_source
from ddgan.editing import Filmstrip, filmstrip
from ddgan.metrics import Report
from ddgan.models.ddgan import DDGAN
from ddgan.system import images
from ddgan.training.statistics import read_log

NUM_SHOWN = 24
NUM_CHAINS = 6
READABLE = ("digits", "single_digits")
"""Data whose images are numbers that a classifier reads."""
ALONE = (1, 4)
"""Numbers of channels of which an image is shown without a picture of each channel."""
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")
"""Okabe-Ito: told apart by colour-blind readers."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto;
  padding: 0 1rem; color: #222; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.2rem; margin-top: 2.2rem; }}
p.note {{ color: #555; }}
table {{ border-collapse: collapse; }}
td {{ padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid #ddd; }}
td:last-child {{ font-variant-numeric: tabular-nums; font-weight: 600; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 10px; }}
.tiles.single {{ grid-template-columns: repeat(auto-fill, minmax(110px, 1fr)); }}
.tiles figure, .sides figure {{ margin: 0; }} .tiles img, .chain {{ image-rendering: pixelated; }}
.tiles img {{ width: 100%; }}
.sides {{ display: grid; grid-template-columns: 1fr 1fr; gap: 24px; }}
.wide {{ max-width: 100%; }} pre {{ background: #f6f6f6; padding: 1rem; overflow-x: auto; font-size: 13px; }}
figcaption {{ color: #555; font-size: 14px; }}
</style></head><body>
{body}
</body></html>
"""


def write_report(model: DDGAN, report: Report, run: Path) -> Path:
    """Write RUN/report.html from the model, its scores and RUN/log.jsonl; returns its path."""
    is_image = len(model.state_shape) == 3
    show = _image_sections if is_image else _point_sections
    sections = [
        f"<h1>Denoising diffusion GAN on {html.escape(report.data)}, T = {report.num_steps}</h1>",
        _headline(report),
        section("Scores", _table(report.table())),
        *show(model, report.data),
        section("Losses", _losses(read_log(run / "log.jsonl"), model.diffusion.num_steps)),
        section("Settings", f"<pre>{html.escape(model.config.to_yaml())}</pre>"),
    ]
    path = run / "report.html"
    title = f"ddgan: {html.escape(report.data)}"
    path.write_text(PAGE.format(title=title, body="\n".join(sections)), encoding="utf-8")
    return path


def section(title: str, content: str, note: str = "") -> str:
    """An HTML section."""
    about = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{title}</h2>{about}{content}</section>"


def _headline(report: Report) -> str:
    parts = []
    if report.modes is not None:
        parts.append(
            f"{report.modes.modes} of {report.modes.num_modes} modes covered, "
            f"KL {report.modes.kl:.3f} (real data: {report.modes.kl_floor:.3f}) "
            f"from N = {report.num_samples:,}"
        )
    if report.frechet is not None:
        parts.append(f"{report.frechet.name} {report.frechet.value:.3g}")
    if report.images_per_second is not None:
        parts.append(f"{report.images_per_second:,.0f} samples per second on {html.escape(report.machine)}")
    return f"<p>{'; '.join(parts)}.</p>"


def _table(rows: list[tuple[str, str]]) -> str:
    cells = (f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{''.join(cells)}</table>"


def png(data: bytes, alt: str, css: str) -> str:
    """An HTML image of the bytes of a PNG file."""
    encoded = base64.b64encode(data).decode()
    return f'<img class="{css}" alt="{html.escape(alt)}" src="data:image/png;base64,{encoded}">'


def _picture(image: np.ndarray, alt: str, css: str = "wide") -> str:
    buffer = io.BytesIO()
    images.to_pil(image).save(buffer, format="PNG")
    return png(buffer.getvalue(), alt, css)


def _readings(batch: Tensor, data: str) -> list[str]:
    """The caption of each image: the number that the judge reads in it."""
    if data not in READABLE:
        return [""] * len(batch)
    from ddgan.metrics.classifier import CONFIDENT, digits_judge

    digits, confidence = digits_judge().read(batch)
    marks = confidence >= CONFIDENT
    return [
        "".join(f"{digit}" if sure else f"{digit}?" for digit, sure in zip(row, sures, strict=True))
        for row, sures in zip(digits.tolist(), marks.tolist(), strict=True)
    ]


def _tile(image: np.ndarray) -> np.ndarray:
    """A grey or RGBA image, an RGB image beside its channels in grey, or the channels alone; enlarged."""
    channels = image.shape[-1]
    if channels in ALONE:
        return images.grid(image[None], zoom=images.zoom_for(len(image)))
    parts = list(image.transpose(2, 0, 1)[..., None])
    if channels == 3:
        parts = [image, *(np.repeat(part, 3, axis=-1) for part in parts)]
    return images.grid(np.stack(parts), min(len(parts), 4), images.zoom_for(len(image)), gap=4)


def _about_tiles(channels: int, data: str) -> str:
    """What a person sees in the tiles."""
    notes = {1: "", 3: "Each image in colour, then its red, green and blue channel in grey.", 4: ""}
    about = notes.get(channels, f"The {channels} channels of each image, in grey.")
    if data in READABLE:
        about += (
            " Below, the number that the classifier reads (a question mark where it is not sure of a digit)."
        )
    return about.strip()


def _tiles(batch: Tensor, data: str) -> str:
    figures = (
        f"<figure>{_picture(_tile(image), 'an image and its channels')}"
        f"<figcaption>{caption}</figcaption></figure>"
        for image, caption in zip(images.to_uint8(batch), _readings(batch, data), strict=True)
    )
    css = "tiles single" if batch.shape[1] in ALONE else "tiles"
    return f'<div class="{css}">{"".join(figures)}</div>'


def _image_sections(model: DDGAN, data: str) -> list[str]:
    real = open_source(data, seed=1, state_shape=model.state_shape).batch(0, NUM_SHOWN).images.cpu()
    note = _about_tiles(model.state_shape[0], data)
    return [
        section("Generated images", _tiles(model.sample(NUM_SHOWN), data), note),
        section("Real images", _tiles(real, data), note),
        section(
            "Denoising, step by step",
            _filmstrip(filmstrip(model, NUM_CHAINS)),
            "One sample per row, from noise (left) to image (right). Upper line: the state "
            f"x<sub>t</sub> for t = {model.diffusion.num_steps} down to 0. Lower line, below the state that "
            "it was made from: what the generator outputs there, its guess at the clean image.",
        ),
    ]


def _filmstrip(strip: Filmstrip) -> str:
    columns = strip.states.shape[1]
    tiles = images.to_uint8(strip.tiles())
    if tiles.shape[-1] not in (1, 3, 4):
        return "<p>Images with other than 1, 3 or 4 channels are not drawn here.</p>"
    zoom = images.zoom_for(tiles.shape[1])
    rows = (
        images.grid(tiles[first : first + 2 * columns], columns, zoom, gap=3)
        for first in range(0, len(tiles), 2 * columns)
    )
    return "".join(
        f"<p>{_picture(row, 'states and predictions of one sample', 'wide chain')}</p>" for row in rows
    )


def _point_sections(model: DDGAN, data: str) -> list[str]:
    num_points = 5000
    real = open_source(data, seed=1).batch(0, num_points).images
    steps = model.steps(num_points)
    states = [(f"$x_{{{step.t}}}$", step.x_t) for step in steps] + [("$x_0$", steps[-1].x_prev)]

    def draw(panels: list[tuple[str, Tensor]]) -> Callable[[Any], None]:
        def paint(figure: Any) -> None:
            for place, (title, points) in enumerate(panels):
                axes = figure.add_subplot(1, len(panels), place + 1)
                axes.scatter(*points.T.cpu(), s=2, alpha=0.4, color=COLORS[0], linewidths=0)
                axes.set(title=title, xlim=(-2.2, 2.2), ylim=(-2.2, 2.2), aspect="equal")

        return paint

    pair = [("real", real), ("generated", states[-1][1])]
    return [
        section(
            "Real and generated points", plot(draw(pair), 9, 4.6, "scatter plots"), f"{num_points} each."
        ),
        section("Denoising, step by step", plot(draw(states), 13, 3, "scatter plot of each state")),
    ]


def _losses(log: list[dict[str, Any]], num_steps: int) -> str:
    step = [record["step"] for record in log]
    panels = {
        "loss_d_by_t": "discriminator's loss",
        "loss_g_by_t": "generator's loss",
        "reconstruction_by_t": "reconstruction error",
    }
    shown = {name: title for name, title in panels.items() if log and name in log[-1]}

    def paint(figure: Any) -> None:
        for place, (name, title) in enumerate(shown.items()):
            axes = figure.add_subplot(1, len(shown), place + 1)
            for t in range(num_steps):
                values = np.array([record[name][t] for record in log], dtype=float)
                axes.plot(step, smoothed(values), color=COLORS[t % 8], label=f"t = {t + 1}", linewidth=1.2)
            axes.set(title=title, xlabel="iteration")
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right center", fontsize=9)

    note = "Averages over the step t of each sample, smoothed over log lines."
    return f'{plot(paint, 13, 3.6, "loss curves")}<p class="note">{note}</p>'


def smoothed(values: np.ndarray, window: int = 9) -> np.ndarray:
    """A centred moving average that ignores missing values."""
    half = min(window, len(values)) // 2
    parts = (values[max(i - half, 0) : i + half + 1] for i in range(len(values)))
    return np.array([np.nan if np.isnan(part).all() else np.nanmean(part) for part in parts])


def plot(paint: Callable[[Any], None], width: float, height: float, alt: str) -> str:
    """Run `paint` on a matplotlib figure of this size in inches; returns an HTML image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    paint(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return png(buffer.getvalue(), alt, "wide")
