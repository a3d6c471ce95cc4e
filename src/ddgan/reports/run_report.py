"""report.html: one self-contained page about a run, for every method, also while it trains.

It is made from the files of the run folder (log, grids, scores, the sheet of the data) and what `Status`
says. During training it has samples over time, losses, health, scores, settings and the next commands, and
a browser loads it again every few seconds; after the end it also has the scores of the finished model.
"""

from __future__ import annotations

import io
import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from PIL import Image

from ddgan.config.overrides import dotted
from ddgan.config.presets import preset_names
from ddgan.config.run_config import RunConfig
from ddgan.metrics import Report
from ddgan.metrics.comparison_inputs import is_for_inception
from ddgan.metrics.result import versions
from ddgan.metrics.speed import describe_machine
from ddgan.models.ddgan import DDGAN
from ddgan.models.model import Model
from ddgan.models.run_folder import (
    BEST_NAME,
    GRID_NAME,
    GRIDS_NAME,
    HISTORY_NAME,
    LOG_NAME,
    REPORT_NAME,
    SHEET_NAME,
    read_log,
)
from ddgan.reports.charts import Band, Curve, chart
from ddgan.reports.page import Section, page, png, table
from ddgan.reports.sample_views import sample_sections
from ddgan.system.files import write_atomically
from ddgan.system.images import has_png_form, zoom_for

__all__ = ["Status", "next_commands", "smoothed", "write_report"]

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
LOGITS = {"d_real": "training", "d_fake": "generated", "d_held_out": "held-out"}
"""Entries of the log with D's mean logits, and the images that they are of."""
BY_T = "_by_t"
"""Suffix of the entries that have one mean per t, or per bin of t."""
RENEWED_EVERY = 10
"""Seconds after which a browser loads the page of an unfinished run again."""
NUM_TIMES = 10
"""Grids shown in samples over time."""
WIDEST = 1000
"""Pixels of the widest picture of a grid; wider ones are reduced."""
TIMES = "The same noise in every row, so each column shows how one sample changes. Weights: the EMA."
MOST_ROWS = 12
"""Rows of a table of states, warnings or scores: the newest."""


@dataclass(frozen=True)
class Status:
    """What the process of a run knows of it, besides its files.

    Attributes:
        kind: "training", "scoring" (trained, the scores are being taken), "trained", or "stopped" before the
            end.
        step: finished iterations.
        end: the last iteration; None if it is not known yet.
        rest: the time left in words, while it trains.
        state: the state of training in words, see `ddgan.training.health`.
        verdict: whether training still pays, in one sentence; empty if no scores are taken.
        normal: range of balanced training by entry of the log.
    """

    kind: Literal["training", "scoring", "trained", "stopped"]
    step: int
    end: int | None = None
    rest: str = ""
    state: str = ""
    verdict: str = ""
    normal: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_renewed(self) -> bool:
        """Whether the page will be written again."""
        return self.kind in ("training", "scoring")

    def lines(self) -> list[str]:
        """Return what stands in the box at the top of the page."""
        of = "" if self.end is None else f" of {self.end:,}"
        share = f" ({self.step / self.end:.0%})" if self.end else ""
        now = f"{datetime.now():%Y-%m-%d %H:%M:%S}"
        early = f", of {self.end:,} planned" if self.end and self.step < self.end else ""
        where = f"iteration {self.step:,}{of}{share}"
        lines = {
            "training": f"Training: {where}{f', {self.rest}' if self.rest else ''}.",
            "scoring": f"Trained, {where}; the scores are being taken.",
            "trained": f"Trained: {self.step:,} iterations{early}.",
            "stopped": f"Stopped at {where}.",
        }
        found = [lines[self.kind]]
        if self.state:
            found.append(f"State: {self.state}.")
        if self.verdict:
            found.append(f"Scores: {self.verdict}.")
        renewal = f"; this page renews itself every {RENEWED_EVERY} seconds" if self.is_renewed else ""
        return [*found, f"Written at {now}{renewal}."]


def write_report(model: Model, report: Report | None, run: Path, status: Status | None = None) -> Path:
    """Write RUN/report.html and return its path.

    Args:
        model: the model of the run, as it is now.
        report: its scores at the end; None during training, and for a run that takes none.
        run: the run folder, whose files it shows as far as they exist.
        status: where the run is; by default it is finished.

    Raises:
        OSError: if it cannot be written; an earlier page is kept.
    """
    data, normal = model.config.data.name, {} if status is None else status.normal
    log = read_log(run / LOG_NAME) if (run / LOG_NAME).is_file() else []
    sections = [] if report is None else [Section("Scores", table(report.table()))]
    is_final = status is None or not status.is_renewed
    if report is not None or (is_final and not has_png_form(model.sample_shape)):
        sections += sample_sections(model)
    sections += _samples_over_time(model, run, with_data=report is None)
    if (run / LOG_NAME).is_file():
        sections.append(Section("Losses", loss_curves(log, model.config.diffusion.num_steps, normal)))
        sections += _health(log, normal)
    sections += _history(run, normal)
    sections.append(_settings(model.config))
    rows = [*versions().items(), ("machine", describe_machine(model.device))]
    sections.append(Section("Versions", table(rows)))
    if status is not None:
        commands = next_commands(model, run, is_finished=status.kind != "stopped")
        sections.append(Section("Next commands", _commands(commands)))
    sections.append(Section("All settings", Markup("<pre>{}</pre>").format(model.config.to_yaml())))
    lead = [] if report is None else [headline(report)]
    lines = [] if status is None else status.lines()
    every = RENEWED_EVERY if status is not None and status.is_renewed else 0
    path = run / REPORT_NAME
    text = page(f"ddgan: {data}", heading(model), lead, sections, status=lines, renewed_every=every)
    write_atomically(path, text)
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


def next_commands(model: Model, run: Path, *, is_finished: bool) -> list[tuple[str, str]]:
    """Return commands for a run as (command, purpose)."""
    name = shlex.quote(str(run))
    suffix = "png" if has_png_form(model.sample_shape) else "npz"
    found = [] if is_finished else [(f"ddgan train --resume {name}", "go on where it stopped")]
    found.append((f"ddgan sample {name} -n 64 --out samples.{suffix}", "sample the model"))
    if (run / BEST_NAME).is_file():
        best = shlex.quote(str(run / BEST_NAME))
        found.append(
            (f"ddgan sample {best} -n 64 --out best.{suffix}", "sample the checkpoint of the best score")
        )
    offline = " --features offline" if is_for_inception(model.sample_shape) else ""  # no download
    found.append((f"ddgan evaluate {name}{offline}", "score the model"))
    if is_finished and isinstance(model, DDGAN):
        found.append((f"ddgan export {name} --to diffusers --out pipeline", "use it in diffusers"))
    if is_finished:
        found.append((f"ddgan train --resume {name} --minutes 60", "train for longer"))
    return found


def _commands(commands: Iterable[tuple[str, str]]) -> Markup:
    lines = (
        Markup("<p>{}:</p><pre>{}</pre>").format(f"To {purpose}", command) for command, purpose in commands
    )
    return Markup("\n").join(lines)


def _samples_over_time(model: Model, run: Path, *, with_data: bool) -> list[Section]:
    """Show the first row of some grids, one below the other, and the newest grid beside the data if asked."""
    if not has_png_form(model.sample_shape):
        return []
    grids = sorted(path for path in (run / GRIDS_NAME).glob("*.png") if path.stem.isdecimal())
    places = np.unique(np.linspace(0, len(grids) - 1, NUM_TIMES).round().astype(int)) if grids else ()
    height = model.sample_shape[1] * zoom_for(model.sample_shape[1])
    rows = [(f"{int(grids[place].stem):,}", _reduced(grids[place], "samples", height)) for place in places]
    sections = [Section("Samples over time", table(rows, ("iteration", "")), TIMES)] if rows else []
    if not with_data:
        return sections
    whole = [path for path in (*grids[-1:], run / GRID_NAME) if path.is_file()]
    newest = max(whole, key=lambda path: path.stat().st_mtime, default=None)
    pair = {"Newest samples": newest, "Training images": run / SHEET_NAME}
    shown = [
        Markup("<figure>{}<figcaption>{}</figcaption></figure>").format(_reduced(path, title.lower()), title)
        for title, path in pair.items()
        if path is not None and path.is_file()
    ]
    if shown:
        content = Markup('<div class="pair">{}</div>').format(Markup().join(shown))
        sections.append(Section("Samples and training data", content))
    return sections


def _reduced(path: Path, alt: str, height: int | None = None) -> Markup:
    """Embed a picture, or its uppermost pixels, at most WIDEST wide."""
    try:
        picture = Image.open(path).copy()
    except OSError:  # removed or damaged since
        return Markup("<p>{} cannot be read.</p>").format(path.name)
    if height is not None:
        picture = picture.crop((0, 0, picture.width, min(height, picture.height)))
    if picture.width > WIDEST:
        picture = picture.resize((WIDEST, max(picture.height * WIDEST // picture.width, 1)))
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return png(buffer.getvalue(), alt)


def loss_curves(
    log: list[dict[str, Any]], num_steps: int, normal: Mapping[str, tuple[float, float]] | None = None
) -> Markup:
    """Plot the losses of a log over the iterations, per t if the log has them per t.

    Args:
        log: the records.
        num_steps: T.
        normal: ranges by name that are marked as normal.
    """
    names = list(dict.fromkeys(name for record in log for name in losses_of(record)))
    if not names:
        return Markup("<p>The log has no losses.</p>")
    step = np.array([record["step"] for record in log])
    charts = []
    for name in names:
        lines = [Curve(label, step, smoothed(values)) for label, values in curves(log, name, num_steps)]
        charts.append(chart(lines, LOSSES.get(name, name.replace("_", " ")), _band(name, normal or {})))
    note = "Means over the samples since the previous log line, smoothed over log lines."
    if any(name in (normal or {}) for name in names):
        note += (
            " Green: balanced training. A discriminator's loss at its upper edge is that of guessing; one "
            "below it, or a generator's loss above it, says that the discriminator is nearly always right."
        )
    return _charts(charts, note)


def _charts(charts: Iterable[Markup], note: str = "") -> Markup:
    shown = Markup('<div class="charts">{}</div>').format(Markup("\n").join(charts))
    return shown + Markup('<p class="note">{}</p>').format(note) if note else shown


def _band(name: str, normal: Mapping[str, tuple[float, float]]) -> Band | None:
    return Band(*normal[name], "normal") if name in normal else None


def losses_of(record: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the losses in a log record."""
    for name in record:
        if (name.startswith("loss_") or name in LOSSES) and not name.endswith(BY_T):
            yield name


def curves(log: list[dict[str, Any]], name: str, num_steps: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield label and values (len(log),) of a loss: one curve per t or bin of t, or one without a label."""
    bins = max(len(record.get(f"{name}{BY_T}", ())) for record in log)
    if bins < 2:
        yield "", values_of(log, name)
        return
    for place in range(bins):
        found = (record.get(f"{name}{BY_T}") for record in log)
        values = np.array([None if means is None else means[place] for means in found], dtype=float)
        if not np.isnan(values).all():
            first, last = (-(-end * num_steps // bins) for end in (place, place + 1))
            yield f"t = {last}" if first + 1 == last else f"t = {first + 1}..{last}", values


def values_of(log: list[dict[str, Any]], name: str) -> np.ndarray:
    """Return an entry of each record (len(log),), NaN where there is none."""
    return np.array([record.get(name) for record in log], dtype=float)


def smoothed(values: np.ndarray, window: int = 9) -> np.ndarray:
    """Return a centred moving average that ignores missing values."""
    half, is_known = min(window, len(values)) // 2, ~np.isnan(values)
    if not len(values):
        return values
    ones, places = np.ones(2 * half + 1), slice(half, half + len(values))
    totals, counts = (np.convolve(part, ones)[places] for part in (np.where(is_known, values, 0.0), is_known))
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)


def _health(log: list[dict[str, Any]], normal: Mapping[str, tuple[float, float]]) -> list[Section]:
    """Show D's logits, its overfitting, the states of training and the warnings."""
    step, charts = np.array([record["step"] for record in log]), []
    logits = {label: values_of(log, name) for name, label in LOGITS.items()}
    lines = [Curve(label, step, smoothed(v)) for label, v in logits.items() if not np.isnan(v).all()]
    if lines:
        charts.append(chart(lines, "discriminator's mean logits"))
    overfitting = values_of(log, "memorised")
    if not np.isnan(overfitting).all():
        curve = Curve("", step, smoothed(overfitting))
        title = "discriminator's overfitting gap (0: none, 1: complete)"
        charts.append(chart([curve], title, _band("memorised", normal)))
    content = _charts(charts) if charts else Markup()
    rows = [(when, state) for when, state in states(log)]
    if rows:
        content += table(rows[-MOST_ROWS:], ("iterations", "state"))
    warned = [(f"{record['step']:,}", text) for record in log for text in record.get("warnings", ())]
    if warned:
        content += Markup("<h3>Warnings</h3>") + table(warned[-MOST_ROWS:], ("iteration", ""))
    return [Section("Health", content)] if content else []


def states(log: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield (iterations, state) for each stretch of records with the same state."""
    known = (record for record in log if record.get("state"))
    for state, stretch in itertools.groupby(known, key=lambda record: record["state"]):
        steps = [record["step"] for record in stretch]
        yield f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}", str(state)


def _history(run: Path, normal: Mapping[str, tuple[float, float]]) -> list[Section]:
    """Show the scores during training, as a curve and a table of the newest."""
    scores = read_log(run / HISTORY_NAME) if (run / HISTORY_NAME).is_file() else []
    if not scores:
        return []
    step = np.array([score["step"] for score in scores])
    low, high = (
        np.array([(score.get("interval") or (None, None))[end] for score in scores], dtype=float)
        for end in (0, 1)
    )
    charts = [
        chart(
            [Curve("", step, values_of(scores, "value"), low, high)],
            f"{scores[-1]['name']} (lower is better)",
            may_be_log=True,
        )
    ]
    nearest = values_of(scores, "held_out_nearest")
    if not np.isnan(nearest).all():
        title = "nearest to held-out images, relative to chance"
        charts.append(chart([Curve("", step, nearest)], title, _band("held_out_nearest", normal)))
    best = min(score["value"] for score in scores)
    rows = [
        (
            f"{score['step']:,}",
            f"{score['value']:.4g}{' (best)' * (score['value'] == best)}",
            score["verdict"],
        )
        for score in scores[-MOST_ROWS:]
    ]
    note = "Vertical lines: 95 % intervals." if np.isfinite(low).any() else ""
    shown = _charts(charts, note) + table(rows, ("iteration", str(scores[-1]["name"]), ""))
    return [Section("Scores during training", shown)]


@cache
def _presets() -> dict[str, dict[str, Any]]:
    """Return the settings of all presets, by dotted name."""
    return {name: dict(dotted(RunConfig.load(name).to_dict())) for name in preset_names()}


def _settings(config: RunConfig) -> Section:
    """Show in which settings a run differs from the nearest preset."""
    own = dict(dotted(config.to_dict()))
    presets = _presets()

    def different(name: str) -> list[str]:
        theirs = presets[name]
        return [key for key in dict.fromkeys([*own, *theirs]) if own.get(key) != theirs.get(key)]

    nearest = min(presets, key=lambda name: len(different(name)))
    rows = [
        (key, *(("not set" if key not in side else str(side[key])) for side in (own, presets[nearest])))
        for key in different(nearest)
    ]
    note = f"All settings are those of the preset {nearest}."
    content = Markup()
    if rows:
        note = f"Settings that differ from those of the nearest preset, {nearest}."
        content = table(rows, ("setting", "this run", nearest))
    return Section("Settings", content, note)
