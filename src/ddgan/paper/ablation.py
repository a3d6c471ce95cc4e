"""Table 2: what each part of the method contributes. Every variant is a setting of the same training code.

T = 1, 2, 4, 8          diffusion.num_steps
one-shot, augmented     the one-step GAN whose D sees noised images (`ddgan.training.methods.one_step_gan`)
direct denoising        diffusion.prediction x_prev: G outputs x_{t-1}
noise generation        diffusion.prediction noise: G outputs the noise
no latent               generator.latent_size 0
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.measures import (
    FRECHET,
    HIGH_CONFIDENCE_MODES,
    KL,
    MODES,
    PRECISION,
    RECALL,
    Measure,
    Measured,
    basis_note,
    columns,
    floor_note,
    has_larger,
    measured,
    samples_of,
    score_cells,
)
from ddgan.paper.published import TABLE_2, TABLE_2_HEAD
from ddgan.paper.scoring import Method
from ddgan.paper.specs import FULL, PAPER_STEPS, PLAIN, STEPS, image_models

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT"]

VARIANTS = {
    **{f"ddgan-t{steps}": f"T = {steps}" for steps in STEPS},
    "gan-augmented": "one-shot GAN, augmented",
    "ddgan-x_prev": "direct denoising",
    "ddgan-noise": "noise generation",
    "ddgan-no-latent": "no latent z",
    PLAIN: "no reconstruction term",
    "ddgan-no-latent-no-reconstruction": "no latent z, no reconstruction",
}
"""Model name -> row of the table; the last two rows are ours, for a base with a reconstruction term."""


def run(request: Request) -> Outcome:
    """Score all variants."""
    models = image_models(request.scale, request.data)
    names = [name for name in VARIANTS if name in models]
    found = measured(request, [Method(VARIANTS[name], models[name]) for name in names])
    return Outcome(
        figure=draw(found, request),
        caption=(
            f"The variants of Table 2; those below the line have T = {PAPER_STEPS}, except the one-shot GAN. "
            "Bars: mean over the seeds; marks: each seed."
        ),
        results={"variants": [one.plain() for one in found]},
        tables=[table(found)],
        claims=claims(found) if request.scale == "cpu" else [],
        models=[request.store.metadata(models[name], seed) for name in names for seed in request.seeds],
        notes=[*notes(request), *filter(None, [basis_note(found[0].short[0])])],
    )


def notes(request: Request) -> list[str]:
    """Notes for the reader."""
    lines = [
        "The variants of DDGAN have the same networks, optimizers, batch size and number of iterations.",
        "One-shot, augmented: G makes x_0 from noise in one call; D sees samples of q(x_{t-1} | x_0) for "
        "real and generated images at a random t of the same chain, without x_t.",
        "The outputs of direct denoising and noise generation are unbounded, so their G has no tanh.",
    ]
    if request.scale != "paper":
        lines.append(
            "The one-shot GAN has the same generator, batch size and number of iterations, but its own loss "
            "and learning rates: with those of the others one step collapses, as the row T = 1 shows."
        )
        lines.append(
            "The base has a reconstruction term, unlike the paper's objective. Direct denoising cannot have "
            "it (it predicts no x_0), so it is compared with 'no reconstruction term'."
        )
    return lines


def table(found: list[Measured]) -> Table:
    """Build the table of our scores beside the published ones."""
    scored, cells = score_cells(found)
    missing = ("-",) * len(TABLE_2_HEAD)
    rows: list[tuple[str, ...]] = [
        (one.method.label, *values, *TABLE_2.get(one.method.spec.name, missing))
        for one, values in zip(found, cells, strict=True)
    ]
    head = ("variant", *scored, *(f"CIFAR-10 {name}, published" for name in TABLE_2_HEAD))
    note = f"Mean over the seeds (smallest..largest). {floor_note(found, long=True)} {floor_note(found)}"
    return Table("Ours beside the published figures", head, rows, note)


def claims(found: list[Measured]) -> list[Claim]:
    """Check the paper's claims: each change except T = 2 and 8 costs coverage or quality.

    Variants without the reconstruction term are compared with the base without it.
    """
    by = {one.method.spec.name: one for one in found}
    stated = []
    for name, against, words in (
        ("ddgan-no-latent", FULL, "Without latent z"),
        ("ddgan-no-latent-no-reconstruction", PLAIN, "With the paper's objective and without latent z"),
        ("ddgan-t1", FULL, "With T = 1"),
    ):
        if name not in by:
            continue
        worse, of_kl = has_larger(by[name], by[against], KL)
        for measure in (MODES, HIGH_CONFIDENCE_MODES):
            fewer, evidence = has_larger(by[against], by[name], measure)
            text = (
                f"{words}, coverage is lower than for '{VARIANTS[against]}': fewer {measure.label}, larger KL"
            )
            stated.append(Claim(text, fewer and worse, f"{evidence}; KL: {of_kl}"))
    for name in ("gan-augmented", "ddgan-x_prev", "ddgan-noise"):
        against = PLAIN if name == "ddgan-x_prev" and PLAIN in by else FULL
        worse, evidence = has_larger(by[name], by[against], FRECHET, long=False)
        text = f"The variant '{VARIANTS[name]}' has a larger Fréchet distance than '{VARIANTS[against]}'"
        stated.append(Claim(text, worse, evidence))
    return stated


def draw(found: list[Measured], request: Request) -> Figure:
    """Draw a row of bars per variant and a panel per measure, up to four.

    The modes are the high-confidence ones: a classifier finds all 1,000 even in blur.
    """
    long = columns(found, (HIGH_CONFIDENCE_MODES, KL, FRECHET), long=True)
    short = [m for m in columns(found, (FRECHET, RECALL, PRECISION)) if m not in long]
    panels: list[tuple[Measure, bool]] = [(m, True) for m in long] + [(m, False) for m in short]
    panels = panels[:4]
    figure = plots.new_figure(2.0 + 3.0 * len(panels), 0.9 + 0.42 * len(found))
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for place, (measure, is_long) in enumerate(panels):
        _bars(axes[place], found, measure, is_long)
    labels = [one.method.label for one in found]
    axes[0].set_yticks(range(len(found)), labels, fontsize=plots.FONT)
    axes[0].invert_yaxis()
    return figure


def _bars(axes: Any, found: Sequence[Measured], measure: Measure, long: bool) -> None:
    better = "higher" if measure in (HIGH_CONFIDENCE_MODES, RECALL, PRECISION) else "lower"
    n = samples_of((found[0].long if long else found[0].short)[0])
    plots.plain(axes, f"{measure.label} at N = {n:,}\n({better} is better)")
    for row, one in enumerate(found):
        values = one.values(measure, long=long)
        mean = plots.spread_of(values)[0]
        color = plots.BLUE if one.method.spec.name == FULL else plots.GREY
        axes.barh(row, mean, 0.62, color=color, alpha=0.85)
        axes.plot(values, [row] * len(values), "o", color=plots.BLACK, markersize=3.2)
        axes.annotate(
            f"{mean:{measure.form}}",
            (max(*values, mean), row),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=plots.FONT - 1.5,
        )
    axes.margins(x=0.2)
    axes.set_xlim(left=0)
    axes.axhline(len(STEPS) - 0.5, color=plots.BLACK, linewidth=0.8)
    axes.grid(axis="y", visible=False)


EXPERIMENT = Experiment(
    name="ablation",
    source="Table 2",
    about="T = 1, 2, 4, 8; one-shot GAN with augmentation; direct denoising; noise generation; no latent",
    run=run,
    costs={
        "smoke": "10 s",
        "cpu": "stacked digits: 10 models (4 shared with trilemma), about 3 h for 3 seeds on 2 cores",
        "paper": "CIFAR-10: 8 models (4 shared with trilemma), about 48 h each on 4 V100",
    },
    models=tuple(VARIANTS),
    paper_models=tuple(TABLE_2),
    data="cifar-10-python.tar.gz",
)
