"""Fig 10: the losses of D and G at each t over training, from the log of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ddgan.experiments import plots
from ddgan.experiments.base import Claim, Experiment, Outcome, Request, Table
from ddgan.experiments.models import image_models
from ddgan.report import smoothed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MODEL = "ddgan-t4"
BALANCE = {"loss_d_by_t": 2 * math.log(2), "loss_g_by_t": math.log(2)}
"""The losses where D cannot tell real from fake."""
TITLES = {"loss_d_by_t": "discriminator's loss", "loss_g_by_t": "generator's loss"}
COLORS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED)
CALM = 0.25
"""Training is calm if in its last half no smoothed loss moves by more than this share of its mean."""


def curves(log: list[dict[str, Any]], name: str) -> np.ndarray:
    """A loss at each t over the log's lines, smoothed, (T, lines)."""
    values = np.array([record[name] for record in log], dtype=float).T
    return np.stack([smoothed(row) for row in values])


def run(request: Request) -> Outcome:
    """Read the logs of all seeds, and draw them."""
    spec = image_models(request.scale, request.data)[MODEL]
    request.store.train_all([spec], request.seeds)
    logs = [request.store.log(spec, seed) for seed in request.seeds]
    found = {name: [curves(log, name) for log in logs] for name in TITLES}
    ends = {name: [seed[:, -1].tolist() for seed in seeds] for name, seeds in found.items()}
    num_steps = len(ends["loss_d_by_t"][0])
    rows: list[tuple[str, ...]] = [
        (
            str(t + 1),
            *(plots.written([seed[t] for seed in ends[name]], ".3f") for name in TITLES),
        )
        for t in range(num_steps)
    ]
    largest = float(np.max([movement(seed) for seeds in found.values() for seed in seeds]))
    lost = sum(map(lost_lines, logs))
    return Outcome(
        figure=draw(found, logs, num_steps),
        caption=(
            "Mean loss of the samples of each t, smoothed over log lines; one line for each seed. Dotted: "
            "the value where D cannot tell real from fake."
        ),
        results={
            "steps": [record["step"] for record in logs[0]],
            "at the end": ends,
            "movement": largest,
            "lines with a loss that is not finite or an update left out": lost,
        },
        tables=[Table("At the end of training", ("t", *(f"{TITLES[name]}" for name in TITLES)), rows)],
        claims=claims(largest, lost) if request.scale != "smoke" else [],
        models=[request.store.facts(spec, seed) for seed in request.seeds],
    )


def claims(largest: float, lost: int) -> list[Claim]:
    """What the paper says, as it stands here; `largest` is not a number if a loss was lost for long."""
    return [
        Claim(
            "Training is stable: all losses stay finite, and in the last half settle",
            lost == 0 and largest < CALM,
            f"{lost} lines of the logs have a loss that is not finite or an update left out; in the last "
            f"half the smoothed losses move by at most {largest:.0%} of their mean (limit {CALM:.0%})",
        )
    ]


def lost_lines(log: list[dict[str, Any]]) -> int:
    """Lines of a log where a loss of some t is not finite, or an update was left out."""
    return sum(
        bool(record.get("skipped")) or any(value is None for name in TITLES for value in record[name])
        for record in log
    )


def movement(lines: np.ndarray) -> float:
    """How far a smoothed loss of any t departs from its mean in the last half, as a share of it."""
    half = lines[:, lines.shape[1] // 2 :]
    mean = half.mean(axis=1, keepdims=True)
    return float((np.abs(half - mean) / np.maximum(np.abs(mean), 1e-6)).max())


def draw(found: dict[str, list[np.ndarray]], logs: list[list[dict[str, Any]]], num_steps: int) -> Figure:
    """D's losses and G's, a colour for each t."""
    figure = plots.new_figure(10.5, 3.9)
    panels = figure.subplots(1, len(TITLES))
    for axes, (name, title) in zip(panels, TITLES.items(), strict=True):
        plots.plain(axes, "iteration", "loss", title)
        for seed, log in zip(found[name], logs, strict=True):
            steps = [record["step"] for record in log]
            for t in range(num_steps):
                label = f"t = {t + 1}" if seed is found[name][0] else None
                axes.plot(
                    steps, seed[t], color=COLORS[t % len(COLORS)], linewidth=1.2, alpha=0.8, label=label
                )
        axes.axhline(BALANCE[name], linestyle=":", color=plots.BLACK, linewidth=1)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=plots.FONT, frameon=False)
    return figure


EXPERIMENT = Experiment(
    name="stability",
    source="Fig 10",
    about="losses per t over training",
    run=run,
    costs={
        "smoke": "3 s",
        "cpu": "stacked digits: 1 model, shared with trilemma",
        "paper": "CIFAR-10: 1 model, shared with trilemma, about 48 h on 4 V100",
    },
    models=(MODEL,),
    data="cifar-10-python.tar.gz",
)
