"""Fig 10: the losses of D and G at each t over training, from the log of a run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.specs import FULL, PLAIN, image_models
from ddgan.reports.run_report import smoothed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT"]

SHOWN = {FULL: "T = 4", PLAIN: "T = 4, no reconstruction term"}
"""Model name -> label; the second only if the base has such a term."""
Log = list[dict[str, Any]]
BALANCE = {"loss_d_by_t": 2 * math.log(2), "loss_g_by_t": math.log(2)}
"""The losses at which D cannot tell real from fake."""
TITLES = {"loss_d_by_t": "discriminator's loss", "loss_g_by_t": "generator's loss"}
COLORS = (plots.BLUE, plots.ORANGE, plots.GREEN, plots.RED)
CALM = 0.25
"""Training is stable if in its second half no smoothed loss moves by more than this fraction of its mean."""


def curves(log: Log, name: str) -> np.ndarray:
    """Return a loss at each t over the log lines, smoothed: (T, lines)."""
    values = np.array([record[name] for record in log], dtype=float).T
    return np.stack([smoothed(row) for row in values])


def run(request: Request) -> Outcome:
    """Read and draw the logs of all seeds."""
    models = image_models(request.scale, request.data)
    shown = {name: words for name, words in SHOWN.items() if name in models}
    request.store.train_all([models[name] for name in shown], request.seeds)
    logs = {name: [request.store.log_records(models[name], seed) for seed in request.seeds] for name in shown}
    return Outcome(
        figure=draw(logs),
        caption=(
            "Mean loss per t, smoothed over log lines; one line per seed. Dotted: the value at which D "
            "cannot tell real from fake. Adversarial losses only."
        ),
        results={name: numbers(seeds) for name, seeds in logs.items()},
        tables=[table(shown[name], seeds) for name, seeds in logs.items()],
        claims=[claim for name, seeds in logs.items() for claim in claims(shown[name], *moved(seeds))]
        if request.scale != "smoke"
        else [],
        models=[request.store.metadata(models[name], seed) for name in shown for seed in request.seeds],
    )


def numbers(logs: list[Log]) -> dict[str, Any]:
    """Return the final losses of a model at each t for all seeds, and how far they moved."""
    largest, lost = moved(logs)
    return {
        "at the end": {name: [curves(log, name)[:, -1].tolist() for log in logs] for name in TITLES},
        "movement": largest,
        "log lines with a non-finite loss or a skipped update": lost,
    }


def moved(logs: list[Log]) -> tuple[float, int]:
    """Return the largest movement of any seed's losses, and the number of lost log lines."""
    found = [movement(curves(log, name)) for log in logs for name in TITLES]
    return float(np.max(found)), sum(map(lost_lines, logs))


def table(words: str, logs: list[Log]) -> Table:
    """Build the table of the final losses at each t."""
    ends = {name: np.array([curves(log, name)[:, -1] for log in logs]) for name in TITLES}
    num_steps = ends["loss_d_by_t"].shape[1]
    rows: list[tuple[str, ...]] = [
        (str(t + 1), *(plots.written(ends[name][:, t].tolist(), ".3f") for name in TITLES))
        for t in range(num_steps)
    ]
    return Table(f"At the end of training, {words}", ("t", *TITLES.values()), rows)


def claims(words: str, largest: float, lost: int) -> list[Claim]:
    """Check the paper's claim; `largest` is NaN if a loss stayed non-finite for long."""
    return [
        Claim(
            f"Training is stable, {words}: all losses stay finite and settle in the second half",
            lost == 0 and largest < CALM,
            f"{lost} log lines have a non-finite loss or a skipped update; in the second half the smoothed "
            f"losses move by at most {largest:.0%} of their mean (limit {CALM:.0%})",
        )
    ]


def lost_lines(log: Log) -> int:
    """Count the log lines with a non-finite loss at some t or a skipped update."""
    return sum(
        bool(record.get("skipped")) or any(value is None for name in TITLES for value in record[name])
        for record in log
    )


def movement(lines: np.ndarray) -> float:
    """Return the largest deviation of a smoothed loss from its mean in the second half, relative to it."""
    half = lines[:, lines.shape[1] // 2 :]
    mean = half.mean(axis=1, keepdims=True)
    return float((np.abs(half - mean) / np.maximum(np.abs(mean), 1e-6)).max())


def draw(logs: dict[str, list[Log]]) -> Figure:
    """Draw a row per model: D's and G's losses, one colour per t."""
    figure = plots.new_figure(10.5, 0.4 + 3.5 * len(logs))
    panels = figure.subplots(len(logs), len(TITLES), squeeze=False)
    for line, (model, seeds) in zip(panels, logs.items(), strict=True):
        for axes, (name, title) in zip(line, TITLES.items(), strict=True):
            plots.plain(axes, "iteration", "loss", f"{title}, {SHOWN[model]}")
            for number, log in enumerate(seeds):
                steps = [record["step"] for record in log]
                for t, values in enumerate(curves(log, name)):
                    label, color = f"t = {t + 1}" if number == 0 else None, COLORS[t % len(COLORS)]
                    axes.plot(steps, values, color=color, linewidth=1.2, alpha=0.8, label=label)
            axes.axhline(BALANCE[name], linestyle=":", color=plots.BLACK, linewidth=1)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=plots.FONT, frameon=False)
    return figure


EXPERIMENT = Experiment(
    name="stability",
    source="Fig 10",
    about="losses per t over training",
    run=run,
    costs={
        "smoke": "3 s",
        "cpu": "stacked digits: 2 models, shared with ablation",
        "paper": "CIFAR-10: 1 model, shared with trilemma, about 48 h on 4 V100",
    },
    models=(FULL, PLAIN),
    paper_models=(FULL,),
    data="cifar-10-python.tar.gz",
)
