"""report.html: one self-contained page that shows the results of a run, for every method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from ddgan.metrics import Report
from ddgan.models.ddgan import DDGAN
from ddgan.models.model import Model
from ddgan.models.run_folder import LOG_NAME, REPORT_NAME, read_log
from ddgan.reports.page import COLORS, Section, in_plot, page, plot, table
from ddgan.reports.sample_views import sample_sections
from ddgan.system.files import write_atomically

__all__ = ["smoothed", "write_report"]

METHODS = {
    "denoising_gan": "Denoising diffusion GAN",
    "one_step_gan": "One-step GAN",
    "wgan_gp": "WGAN-GP",
    "gaussian_diffusion": "Gaussian diffusion",
}
"""Display names of methods; others are shown by their kind."""
LOSSES = {
    "loss_d": "discriminator's loss",
    "loss_g": "generator's loss",
    "loss_d_marginal": "marginal discriminator's loss",
    "loss_g_marginal": "generator's loss, marginal",
    "reconstruction": "reconstruction error",
}
"""Display names of entries of the log."""
BY_T = "_by_t"
"""Suffix of the entries that have one mean per t, or per bin of t."""


def write_report(model: Model, report: Report, run: Path) -> Path:
    """Write RUN/report.html from the model, its scores and RUN/log.jsonl; returns its path."""
    data, log = model.config.data.name, run / LOG_NAME
    sections = [Section("Scores", table(report.table())), *sample_sections(model)]
    if log.is_file():
        losses = loss_curves(read_log(log), model.config.diffusion.num_steps)
        sections.append(Section("Losses", losses))
    settings = Markup("<pre>{}</pre>").format(model.config.to_yaml())
    sections.append(Section("Settings", settings))
    path = run / REPORT_NAME
    write_atomically(path, page(f"ddgan: {data}", heading(model), [headline(report)], sections))
    return path


def heading(model: Model) -> str:
    """Return the method, the data, and the number of steps per sample."""
    kind = model.config.method.kind
    method = METHODS.get(kind, kind.replace("_", " ").capitalize())
    steps = f"T = {model.nfe}" if isinstance(model, DDGAN) else f"NFE = {model.nfe}"
    return f"{method} on {model.config.data.name}, {steps}"


def headline(report: Report) -> str:
    """Summarise the main scores in one sentence."""
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
        parts.append(f"{report.images_per_second:,.0f} samples per second on {report.machine}")
    return f"{'; '.join(parts)}." if parts else f"{report.num_samples:,} samples were scored."


def loss_curves(log: list[dict[str, Any]], num_steps: int) -> Markup:
    """Plot the losses of a log over the iterations, per t if the log has them per t."""
    names = list(dict.fromkeys(name for record in log for name in losses_of(record)))
    if not names:
        return Markup("<p>The log has no losses.</p>")
    step = [record["step"] for record in log]

    def paint(figure: Any) -> None:
        for place, name in enumerate(names):
            axes = figure.add_subplot(1, len(names), place + 1)
            for index, (label, values) in enumerate(curves(log, name, num_steps)):
                color, style = COLORS[index % len(COLORS)], "--" if index >= len(COLORS) else "-"
                axes.plot(step, smoothed(values), style, color=color, label=label, linewidth=1.2)
            title = in_plot(LOSSES.get(name, name.replace("_", " "))) if len(names) > 1 else "loss"
            axes.set(title=title, xlabel="iteration")
        handles, labels = max(
            (axes.get_legend_handles_labels() for axes in figure.axes), key=lambda both: len(both[1])
        )
        if labels:
            figure.legend(handles, labels, loc="outside right center", fontsize=9)

    return plot(paint, 13, 3.6, "loss curves") + Markup(
        '<p class="note">Means over the samples since the previous log line, smoothed over log lines.</p>'
    )


def losses_of(record: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the losses in a log record."""
    for name in record:
        if (name.startswith("loss_") or name in LOSSES) and not name.endswith(BY_T):
            yield name


def curves(log: list[dict[str, Any]], name: str, num_steps: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield label and values (len(log),) of a loss: one curve per t or bin of t, or one without a label."""
    bins = max(len(record.get(f"{name}{BY_T}", ())) for record in log)
    if bins < 2:
        yield "", np.array([record.get(name) for record in log], dtype=float)
        return
    for place in range(bins):
        found = (record.get(f"{name}{BY_T}") for record in log)
        values = np.array([None if means is None else means[place] for means in found], dtype=float)
        if not np.isnan(values).all():
            first, last = (-(-end * num_steps // bins) for end in (place, place + 1))
            yield f"t = {last}" if first + 1 == last else f"t = {first + 1}..{last}", values


def smoothed(values: np.ndarray, window: int = 9) -> np.ndarray:
    """Return a centred moving average that ignores missing values."""
    half = min(window, len(values)) // 2
    parts = (values[max(i - half, 0) : i + half + 1] for i in range(len(values)))
    return np.array([np.nan if np.isnan(part).all() else np.nanmean(part) for part in parts])
