"""Fig 6: 25 Gaussians in the plane: GAN, WGAN-GP, DDGAN with T = 4, and DDPM with 500 and 100 steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from ddgan.data.toy import Gaussians
from ddgan.diffusion.ancestral import ChainConfig
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.measures import at
from ddgan.paper.scoring import POINTS, Method, Pass, scores
from ddgan.paper.specs import point_models

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT"]

NUM_SHOWN = 4000
COLUMNS = {"modes of 25": "modes.modes", "within 3 sigma": "modes.within", "KL": "modes.kl"}
ENOUGH = 0.9
"""Samples count as clean from this fraction of the real points' "within 3 sigma"."""


def methods_of(request: Request) -> list[Method]:
    """Return the methods, in the order of the figure."""
    models = point_models(request.scale)
    long, short = request.chosen((20, 5), (500, 100), (500, 100))
    return [
        Method("GAN", models["gaussians-gan"]),
        Method("WGAN-GP", models["gaussians-wgan-gp"]),
        Method("DDGAN, T = 4", models["gaussians-ddgan-t4"]),
        Method(f"DDPM, {long} steps", models["gaussians-ddpm"], ChainConfig(long)),
        Method(f"DDPM, {short} steps", models["gaussians-ddpm"], ChainConfig(short)),
    ]


def run(request: Request) -> Outcome:
    """Score all methods and draw the points of the first seed."""
    methods, n = methods_of(request), POINTS[request.scale]
    ask = (Pass(("modes",), "pixels"),)
    found = {m.label: [scores(request, m, seed, n, ask) for seed in request.seeds] for m in methods}
    values = {
        label: {name: [at(report, path) for report in reports] for name, path in COLUMNS.items()}
        for label, reports in found.items()
    }
    real = at(found["GAN"][0], "modes.within_real")
    store, specs = request.store, {method.spec.name: method.spec for method in methods}
    return Outcome(
        figure=draw(request, methods, values),
        caption=(
            f"{NUM_SHOWN:,} points each, seed {request.seeds[0]}. Below: modes covered and share of points "
            "within 3 sigma of a mode, mean over the seeds."
        ),
        results={"N": n, "within 3 sigma, real": real, "methods": values},
        tables=[table(values, found["DDGAN, T = 4"][0], n)],
        claims=claims(values, real) if request.scale != "smoke" else [],
        models=[store.metadata(spec, seed) for spec in specs.values() for seed in request.seeds],
        notes=[
            "The centres are 2 {-2..2}^2 / 2.828 with sigma 0.05 / 2.828, the usual constants; the paper "
            "does not give its own.",
            "DDGAN has the preset's reconstruction term and schedule, which are not the paper's: see the "
            "settings of the trained models.",
            "All have the same batch size and the generator of the preset gaussians, whose input includes "
            "octaves of the coordinates. So does the input of DDGAN's D, but not of the GANs' D: with "
            "octaves they collapse.",
            "Each WGAN-GP iteration updates the critic, and every fifth also G, so it is trained for more "
            "iterations than the others: see the table of models.",
            "Both DDPMs are one model, trained with 1,000 steps; taking every second or tenth step is "
            "exactly the schedule of 500 or 100 steps.",
        ],
    )


def table(values: dict[str, dict[str, list[Any]]], report: dict[str, Any], n: int) -> Table:
    """Build the table of our numbers beside the paper's description."""
    described = {
        "GAN": "drops modes or smears",
        "WGAN-GP": "drops modes or smears",
        "DDGAN": "all 25 modes, clean",
        "DDPM, 500": "good",
        "DDPM, 100": "poor",
    }
    rows: list[tuple[str, ...]] = []
    for label, columns in values.items():
        words = next((text for name, text in described.items() if label.startswith(name)), "-")
        modes, within, kl = (columns[name] for name in COLUMNS)
        forms = ((modes, ".0f"), (within, ".1%"), (kl, ".3f"))
        rows.append((label, *(plots.written(v, form) for v, form in forms), words))
    note = f"N = {n:,}. Real points: {at(report, 'modes.within_real'):.1%} within 3 sigma; KL "
    note += f"{at(report, 'modes.kl_floor'):.4f} for as many points as DDGAN has within 3 sigma."
    return Table("Ours beside the paper's Fig 6", ("method", *COLUMNS, "the paper"), rows, note)


def claims(values: dict[str, dict[str, list[Any]]], real: float) -> list[Claim]:
    """Check the paper's claims."""
    ours = values["DDGAN, T = 4"]
    all_modes = min(ours["modes of 25"]) == 25
    clean = plots.spread_of(ours["within 3 sigma"])[0] >= ENOUGH * real
    evidence = f"{plots.written(ours['modes of 25'], '.0f')} modes, "
    evidence += f"{plots.written(ours['within 3 sigma'], '.1%')} within 3 sigma (real: {real:.1%})"
    stated = [Claim("With T = 4 DDGAN covers all 25 modes cleanly", all_modes and clean, evidence)]
    for rival in ("GAN", "WGAN-GP"):
        worse = plots.spread_of(values[rival]["modes of 25"])[0] < 25
        smeared = plots.spread_of(values[rival]["within 3 sigma"])[0] < ENOUGH * real
        evidence = f"{plots.written(values[rival]['modes of 25'], '.0f')} modes, "
        evidence += f"{plots.written(values[rival]['within 3 sigma'], '.1%')} within 3 sigma"
        stated.append(Claim(f"{rival} drops modes or smears", worse or smeared, evidence))
    long, short = (values[f"DDPM, {steps} steps"]["within 3 sigma"] for steps in (500, 100))
    enough, few = (plots.spread_of(values)[0] >= ENOUGH * real for values in (long, short))
    evidence = f"within 3 sigma: {plots.written(long, '.1%')} against {plots.written(short, '.1%')}"
    return [*stated, Claim("DDPM is clean with 500 steps but not with 100", enough and not few, evidence)]


def draw(request: Request, methods: list[Method], values: dict[str, dict[str, list[Any]]]) -> Figure:
    """Draw the data and the points of each method."""
    figure = plots.new_figure(14.5, 2.75)
    panels = figure.subplots(1, len(methods) + 1)
    plots.scatter(panels[0], Gaussians(seed=1).batch(0, NUM_SHOWN).x, "data", plots.BLACK)
    panels[0].set_xlabel("25 modes", fontsize=plots.FONT)
    for axes, method in zip(panels[1:], methods, strict=True):
        points = torch.cat(list(method.open(request.store, request.seeds[0]).batches(NUM_SHOWN)))
        ours = method.label.startswith("DDGAN")
        plots.scatter(axes, points, method.label, plots.BLUE if ours else plots.RED)
        modes, within = (plots.spread_of(values[method.label][name])[0] for name in list(COLUMNS)[:2])
        axes.set_xlabel(f"{modes:.3g} of 25 modes, {within:.0%} within 3$\\sigma$", fontsize=plots.FONT)
    return figure


EXPERIMENT = Experiment(
    name="gaussians",
    source="Fig 6",
    about="25 Gaussians: GAN, WGAN-GP, DDGAN T = 4, DDPM with 500 and 100 steps",
    run=run,
    costs={
        "smoke": "10 s",
        "cpu": "4 models, about 1 h for 3 seeds on 2 cores",
        "paper": "4 models of 50,000 iterations, about 1 h on a V100",
    },
    models=("gaussians-ddgan-t4", "gaussians-gan", "gaussians-wgan-gp", "gaussians-ddpm"),
    gpus=1,
)
