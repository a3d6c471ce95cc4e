"""Figs 1 and 4: quality, coverage and seconds per 100 images of the methods, on one training budget.

The denoising diffusion GAN with 1, 2, 4 and 8 steps; the one-step GAN; and the Gaussian denoiser with the
same network, sampled as DDPM (all steps, 100, 8, 4) and as DDIM (50, 8, 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ddgan.diffusion.ancestral import ChainConfig
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.measures import (
    CONFIDENT,
    FRECHET,
    HIGH_CONFIDENCE_MODES,
    KL,
    MODES,
    PRECISION,
    RECALL,
    SHORT,
    Measure,
    Measured,
    basis_note,
    cell,
    columns,
    floor_note,
    has_larger,
    measured,
    samples_of,
    score_cells,
)
from ddgan.paper.published import TABLE_1, TABLE_1_HEAD
from ddgan.paper.scoring import LONG_CHAIN, Method
from ddgan.paper.specs import PAPER_STEPS, STEPS, image_models

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT"]

FAMILIES = {
    "DDGAN (ours)": (plots.BLUE, "o"),
    "DDPM": (plots.RED, "s"),
    "DDIM": (plots.ORANGE, "^"),
    "one-step GAN": (plots.GREEN, "D"),
}
SPEEDUP = 100
MOST_MODES = 950
"""Number of modes that the DDPM must cover on the digits to count as a baseline."""


def methods_of(request: Request) -> list[Method]:
    """Return the methods to compare."""
    models = image_models(request.scale, request.data)
    long, middle, ddim = request.chosen((20, 10, 5), (1000, 100, 50), (1000, 100, 50))
    found = [Method(f"DDGAN, T = {steps}", models[f"ddgan-t{steps}"]) for steps in STEPS]
    found.append(Method("one-step GAN", models["gan"]))
    for steps in (long, middle, 8, 4):
        found.append(Method(f"DDPM, {steps} steps", models["ddpm"], ChainConfig(steps)))
    for steps in (ddim, 8, 4):
        found.append(Method(f"DDIM, {steps} steps", models["ddpm"], ChainConfig(steps, eta=0.0)))
    return list({method.label: method for method in found}.values())


def run(request: Request) -> Outcome:
    """Score and time all methods."""
    found = measured(request, methods_of(request), with_speed=True)
    store, specs = request.store, {one.method.spec.name: one.method.spec for one in found}
    return Outcome(
        figure=draw(found, request),
        caption=(
            "Coverage and quality against the time for 100 images, and against each other (top right is "
            "best). Large marks: mean over the seeds; small marks: each seed; numbers: NFE. "
            f"All at N = {samples_of(found[0].short[0]):,}."
        ),
        results={"methods": [one.plain() for one in found]},
        tables=tables(found),
        claims=claims(found) if request.scale == "cpu" else [],
        models=[store.metadata(spec, seed) for spec in specs.values() for seed in request.seeds],
        notes=[
            "All models have the same generator network, number of iterations and number of training "
            "images; DDPM and DDIM are one trained model. Loss, D and learning rates differ between the "
            "families: see the settings of the trained models.",
            "Seconds are for one batch of 100 images, median of up to five, with the first seed's models on "
            f"{' and on '.join(machines(found))}; they are only valid if nothing else was running.",
            *filter(None, [basis_note(found[0].short[0])]),
        ],
    )


def tables(found: list[Measured]) -> list[Table]:
    """Build the table of our scores at both N, and the published table."""
    scored, cells = score_cells(found)
    rows: list[tuple[str, ...]] = [
        (one.method.label, str(one.nfe), f"{one.seconds:.3g}", *values)
        for one, values in zip(found, cells, strict=True)
    ]
    head = ("method", "NFE", "s / 100 images", *scored)
    note = " ".join(
        [
            "Mean over the seeds (smallest..largest).",
            floor_note(found, long=True),
            floor_note(found),
            f"Chains of more than {LONG_CHAIN} steps are scored at the smaller N only.",
        ]
    )
    published = [(name, *values) for name, values in TABLE_1.items()]
    return [
        Table("Ours", head, rows, note),
        Table("Published (Table 1, CIFAR-10, V100)", ("method", *TABLE_1_HEAD), published),
    ]


def machines(found: Sequence[Measured]) -> list[str]:
    """Return the machines on which the methods were timed; times from several are not comparable."""
    return list(dict.fromkeys(one.speed["machine"] for one in found if one.speed is not None))


def claims(found: list[Measured]) -> list[Claim]:
    """Check the paper's claims."""
    by = {one.method.label: one for one in found}
    ours, long = by[f"DDGAN, T = {PAPER_STEPS}"], by["DDPM, 1000 steps"]
    stated = []
    for measure in (MODES, HIGH_CONFIDENCE_MODES):
        for rival in ("one-step GAN", f"DDPM, {PAPER_STEPS} steps", f"DDIM, {PAPER_STEPS} steps"):
            holds, evidence = has_larger(ours, by[rival], measure)
            text = f"With {PAPER_STEPS} steps DDGAN covers more {measure.label} than {rival}"
            stated.append(Claim(text, holds, f"{measure.label.capitalize()} at the larger N: {evidence}"))
    stated.append(_within_spread(ours, long))
    ratio = long.seconds / ours.seconds
    same_machine = len(machines([ours, long])) == 1
    evidence = f"{ours.seconds:.3g} s against {long.seconds:.3g} s per 100 images, {ratio:.0f} times"
    evidence += "" if same_machine else ", but on two machines"
    text = f"It samples at least {SPEEDUP} times faster than the 1000-step DDPM, at equal batch and precision"
    stated.append(Claim(text, same_machine and ratio >= SPEEDUP, evidence))
    modes = plots.spread_of(long.values(MODES))
    text = f"The DDPM is a real baseline: it covers at least {MOST_MODES} modes with 1000 steps"
    stated.append(Claim(text, modes[0] >= MOST_MODES, f"{cell(long, MODES)} modes"))
    return stated


def _within_spread(ours: Measured, long: Measured) -> Claim:
    """Check that our mean coverage is at least that of the DDPM's worst seed, in modes and in KL."""
    modes, kl = (plots.spread_of(ours.values(measure))[0] for measure in (MODES, KL))
    enough = modes >= min(long.values(MODES)) and kl <= max(long.values(KL))
    scores = [f"{one.method.label}: {cell(one, MODES)} modes, KL {cell(one, KL)}" for one in (ours, long)]
    text = "Its coverage is within the seed spread of the 1000-step DDPM (modes and KL)"
    return Claim(text, enough, "At the smaller N: " + "; ".join(scores))


# --- the picture -----------------------------------------------------------------------------------------


def draw(found: list[Measured], request: Request) -> Figure:
    """Draw three panels: coverage over time, quality over time, quality over coverage."""
    figure = plots.new_figure(13.5, 4.9)
    panels = figure.subplots(1, 3)
    coverage, quality, across, up = _axes_of(found)
    for axes, measure, title in ((panels[0], coverage, "Coverage"), (panels[1], quality, "Quality")):
        plots.plain(axes, "seconds per 100 images (log scale)", _axis(measure), title)
        _hint(axes, f"better: {'down' if measure == FRECHET else 'up'} and left")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        _lines(axes, found, None, measure)
        _scale(axes, found, measure)
        axes.margins(x=0.1, y=0.14)
    plots.plain(panels[2], _axis(across), _axis(up), "Quality against coverage")
    _hint(panels[2], f"better: {'down' if up == FRECHET else 'up'} and right")
    _lines(panels[2], found, across, up)
    panels[2].margins(x=0.1, y=0.14)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=plots.FONT, frameon=False)
    about = "stacked digits" if request.scale != "paper" else "CIFAR-10"
    seeds = f"{len(request.seeds)} seeds" if len(request.seeds) > 1 else f"seed {request.seeds[0]}"
    figure.suptitle(
        f"Quality, coverage and speed on one training budget ({about}, {seeds})", fontsize=plots.FONT + 3
    )
    return figure


def _axes_of(found: list[Measured]) -> tuple[Measure, Measure, Measure, Measure]:
    """Choose the measures of coverage, of quality, and of both axes of the last panel.

    The modes are the high-confidence ones: a classifier finds some number in any blur.
    """
    known = set(columns(found, SHORT))
    coverage = HIGH_CONFIDENCE_MODES if HIGH_CONFIDENCE_MODES in known else RECALL
    across = RECALL if RECALL in known else coverage
    up = PRECISION if PRECISION in known else CONFIDENT if CONFIDENT in known else FRECHET
    return coverage, FRECHET, across, up


def _hint(axes: Any, words: str) -> None:
    axes.set_title(words, fontsize=plots.FONT - 1, loc="right", color="#666666")


def _axis(measure: Measure) -> str:
    better = "lower is better" if measure in (FRECHET, KL) else "higher is better"
    return f"{measure.label} ({better})"


def _scale(axes: Any, found: list[Measured], measure: Measure) -> None:
    """Use a logarithmic axis if the values span more than a factor of 20."""
    values = [value for one in found for value in one.values(measure)]
    if min(values) > 0 and max(values) > 20 * min(values):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")


def _family(one: Measured) -> str:
    return next(name for name in FAMILIES if one.method.label.startswith(name.split(" (")[0]))


def _lines(axes: Any, found: list[Measured], across: Measure | None, up: Measure) -> None:
    """Draw a line per family through its means, every seed as a small mark, and the NFE."""
    for family, (color, marker) in FAMILIES.items():
        members = [one for one in found if _family(one) == family]
        members.sort(key=lambda one: one.nfe)
        means = []
        for one in members:
            ups = one.values(up)
            acrosses = [one.seconds] * len(ups) if across is None else one.values(across)
            means.append((plots.spread_of(acrosses)[0], plots.spread_of(ups)[0]))
            axes.plot(acrosses, ups, marker, color=color, markersize=4, alpha=0.5, linestyle="none")
        axes.plot(
            *zip(*means, strict=True),
            marker=marker,
            color=color,
            markersize=8.5,
            markeredgecolor="white",
            linewidth=1.4,
            label=family,
        )
        for one, place in zip(members, means, strict=True):
            axes.annotate(
                f"{one.nfe}",
                place,
                xytext=(5, 6),
                textcoords="offset points",
                fontsize=plots.FONT - 1.5,
                color=color,
            )


EXPERIMENT = Experiment(
    name="trilemma",
    source="Figs 1 and 4",
    about="quality, coverage and speed of DDGAN, GAN, DDPM and DDIM on one training budget",
    run=run,
    costs={
        "smoke": "10 s",
        "cpu": "stacked digits: 6 models, 12 ways to sample them; about 3 h for 3 seeds on 2 cores",
        "paper": "CIFAR-10: 6 models of 351,000 iterations, about 48 h each on 4 V100 (the denoiser half "
        "that), and 3 h of sampling",
    },
    models=(*(f"ddgan-t{steps}" for steps in STEPS), "gan", "ddpm"),
    data="cifar-10-python.tar.gz",
)
