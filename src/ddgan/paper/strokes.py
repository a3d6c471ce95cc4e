"""Fig 9: stroke-guided synthesis, and its time compared with the same edit by a Gaussian denoiser (SDEdit).

A painted image is noised to x_t, which keeps its layout but not its details; the chain denoises x_t to a
realistic image. Both models start from the same abar_t.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ddgan.diffusion.ancestral import ChainConfig
from ddgan.editing import stroke
from ddgan.editing.inputs import read_images
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.published import STROKE_SECONDS
from ddgan.paper.specs import DENOISER_STEPS, image_models

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT"]

OURS, THEIRS = "ddgan-t4", "ddpm"
NUM_SHOWN = 4
REPEATS = 5
BUDGET = 10.0
"""Seconds after which the timing of an edit stops."""
DIGIT_STROKES = {
    "7": [[(20, 12), (44, 12), (28, 54)]],
    "1": [[(24, 20), (34, 10), (34, 54)]],
    "0": [[(22, 16), (42, 16), (42, 48), (22, 48), (22, 16)]],
}
"""Lines on 64 x 64 pixels that paint the red, green and blue digit."""


def painted_digits() -> Image.Image:
    """Paint a red 7, a green 1 and a blue 0 with a few thick lines."""
    channels = []
    for lines in DIGIT_STROKES.values():
        channel = Image.new("L", (64, 64))
        for line in lines:
            ImageDraw.Draw(channel).line(line, fill=230, width=9, joint="curve")
        channels.append(channel)
    return Image.merge("RGB", channels)


def painted_ship() -> Image.Image:
    """Paint sky, sea and a ship with a few areas of colour."""
    picture = Image.new("RGB", (64, 64), (150, 190, 230))
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 42, 64, 64), fill=(30, 70, 120))
    pen.polygon([(8, 38), (56, 38), (48, 50), (16, 50)], fill=(120, 40, 30))
    pen.rectangle((26, 24, 42, 38), fill=(235, 235, 230))
    return picture


def seconds_of(edit: Callable[[], Tensor]) -> tuple[Tensor, float]:
    """Return the result of an edit, and its median time in seconds after a warm-up; slow edits run less."""
    times: list[float] = []
    made = torch.empty(0)
    while len(times) <= REPEATS and sum(times) < BUDGET:
        start = time.perf_counter()
        made = edit()
        times.append(time.perf_counter() - start)
    return made, statistics.median(times[1:] or times)


def run(request: Request) -> Outcome:
    """Edit the same picture with both models, at each t of the DDGAN."""
    models, seed = image_models(request.scale, request.data), request.seeds[0]
    ours = request.store.open(models[OURS], seed)
    whole = request.store.open(models[THEIRS], seed)
    steps = DENOISER_STEPS[request.scale]
    theirs = whole.sampled_by(ChainConfig(steps))
    picture = painted_ship() if request.scale == "paper" else painted_digits()
    painting = read_images(ours, [picture] * NUM_SHOWN)
    rows: list[dict[str, Any]] = []
    for t in range(1, ours.diffusion.num_steps + 1):
        signal = float(ours.diffusion.alpha_bar[t])
        made, seconds = seconds_of(partial(stroke, ours, painting, t, seed=1))
        other, their_seconds = seconds_of(partial(theirs.edited, painting, signal, seed=1))
        moved = [float((x - painting.cpu()).abs().mean()) for x in (made, other)]
        rows.append(
            {
                "t": t,
                "alpha_bar": signal,
                "ours": made,
                "theirs": other,
                "seconds": [seconds, their_seconds],
                "distance": moved,
            }
        )
    ratios = [row["seconds"][1] / row["seconds"][0] for row in rows]
    kept = ("t", "alpha_bar", "seconds", "distance")
    specs = [models[OURS], models[THEIRS]]
    return Outcome(
        figure=draw(picture, rows, channels=request.scale != "paper"),
        caption=(
            "Left: the painting. Each row: the painting noised to x_t and denoised, "
            f"{NUM_SHOWN} times, by DDGAN with T = 4 (middle) and by the Gaussian denoiser with {steps} "
            "steps from the same noise level (right)"
            + (", each beside its three channels." if request.scale != "paper" else ".")
        ),
        results={"images": NUM_SHOWN, "rows": [{name: row[name] for name in kept} for row in rows]},
        tables=[table(rows), _published()],
        claims=[
            Claim(
                "The edit is at least 100 times faster than with the Gaussian denoiser, at every t",
                min(ratios) >= 100,
                f"times faster at t = 1..{len(ratios)}: {', '.join(f'{ratio:.0f}' for ratio in ratios)}",
            )
        ]
        if request.scale != "smoke"
        else [],
        models=[request.store.metadata(spec, seed) for spec in specs],
        notes=[f"Seconds for {NUM_SHOWN} images at once, median of up to {REPEATS} runs, seed {seed}."],
    )


def in_words(seconds: float) -> str:
    """Format a time with three digits, in milliseconds below one second."""
    return f"{1000 * seconds:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def table(rows: list[dict[str, Any]]) -> Table:
    """Build the table of seconds and distance from the painting per t."""
    cells: list[tuple[str, ...]] = [
        (
            str(row["t"]),
            f"{row['alpha_bar']:.3g}",
            *(f"{seconds:.3g}" for seconds in row["seconds"]),
            f"{row['seconds'][1] / row['seconds'][0]:.0f}",
            *(f"{distance:.3f}" for distance in row["distance"]),
        )
        for row in rows
    ]
    head = (
        *("t", "abar_t", "s, DDGAN", "s, denoiser", "times faster"),
        *("distance from painting, DDGAN", "distance, denoiser"),
    )
    return Table("Ours", head, cells, "Distance: mean absolute difference on the scale -1..1.")


def _published() -> Table:
    rows: list[tuple[str, ...]] = [(name, f"{seconds:g}") for name, seconds in STROKE_SECONDS.items()]
    return Table("Published (256 px, one image)", ("method", "seconds"), rows)


def draw(picture: Image.Image, rows: list[dict[str, Any]], *, channels: bool) -> Figure:
    """Draw the painting, then both results for each t."""
    sheet = plots.channels_sheet if channels else plots.sheet
    figure = plots.new_figure(13, 0.5 + (1.45 if channels else 1.6) * len(rows))
    axes = figure.subplots(len(rows), 3, width_ratios=[1, 3.6, 3.6], squeeze=False)
    plots.show_image(axes[0, 0], np.asarray(picture), "painting")
    for row, (found, line) in enumerate(zip(rows, axes, strict=True)):
        if row:
            line[0].axis("off")
        names = ("DDGAN, T = 4", "Gaussian denoiser")
        for place, key in enumerate(("ours", "theirs")):
            seconds = found["seconds"][place]
            side = f"t = {found['t']}" if place == 0 else ""
            image = sheet(found[key], 2 if channels else NUM_SHOWN)
            title = f"{names[place]}: " if row == 0 else ""
            plots.show_image(line[1 + place], image, f"{title}{in_words(seconds)}", side)
    return figure


EXPERIMENT = Experiment(
    name="strokes",
    source="Fig 9",
    about="stroke-guided synthesis, and its time compared with SDEdit by the DDPM baseline",
    run=run,
    costs={
        "smoke": "5 s",
        "cpu": "stacked digits: 2 models, shared with trilemma",
        "paper": "CIFAR-10: 2 models, shared with trilemma, about 48 h each on 4 V100",
    },
    models=(OURS, THEIRS),
    data="cifar-10-python.tar.gz",
)
