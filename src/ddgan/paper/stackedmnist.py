"""Table 3: modes of 1,000 and KL on stacked MNIST digits; at scale cpu on stacked 8 x 8 digits.

A classifier reads one digit per channel of N samples; KL = sum p ln(1000 p). The report states the
classifier, N, and the KL of N real samples (the floor).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ddgan.diffusion.ancestral import ChainConfig
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.measures import at
from ddgan.paper.published import TABLE_3, TABLE_3_HEAD
from ddgan.paper.scoring import PLANS, Method, Pass, scores
from ddgan.paper.specs import base_of, gan, image_models
from ddgan.paper.store import ModelSpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT", "paper_models"]

NUM_SHOWN = 12
PROTOCOL_N = 26_000
"""N of the paper's protocol, at scales cpu and paper."""
COLUMNS = {
    "modes": ("modes of 1,000", ".0f"),
    "confident_modes": ("high-confidence modes", ".0f"),
    "kl": ("KL", ".3f"),
    "confident": ("high-confidence channels", ".1%"),
}
"""Score -> title and format of its column."""


def methods_of(request: Request) -> list[Method]:
    """Return the methods: DDGAN and a GAN, and on the digits also the Gaussian denoiser."""
    if request.scale == "paper":
        labels = ("DDGAN, T = 4", "one-step GAN")
        return list(map(Method, labels, paper_models(request.data)))
    models, steps = image_models(request.scale), request.chosen(5, 50, 50)
    return [
        Method("DDGAN, T = 4", models["ddgan-t4"]),
        Method("DDGAN, T = 8", models["ddgan-t8"]),
        Method("one-step GAN", models["gan"]),
        Method(f"DDIM, {steps} steps", models["ddpm"], ChainConfig(steps, eta=0.0)),
    ]


def paper_models(data: str | None) -> list[ModelSpec]:
    """Return the DDGAN and the GAN on StackedMNIST."""
    base = base_of("stackedmnist", data)
    return [
        ModelSpec("stackedmnist-ddgan-t4", base, "the preset stackedmnist"),
        gan(base, "stackedmnist-gan", 1, "one-step GAN, the same networks"),
    ]


def run(request: Request) -> Outcome:
    """Score all methods."""
    methods = methods_of(request)
    n = request.chosen(PLANS["smoke"].num_long, PROTOCOL_N, PROTOCOL_N)
    ask = (Pass(("modes",), "classifier"),)
    found = {m.label: [scores(request, m, seed, n, ask) for seed in request.seeds] for m in methods}
    first = found["DDGAN, T = 4"][0]["modes"]
    store, specs = request.store, {method.spec.name: method.spec for method in methods}
    return Outcome(
        figure=draw(request, methods, found),
        caption=(
            f"Samples of seed {request.seeds[0]}, each beside its red, green and blue channel; modes and KL "
            f"at N = {n:,}."
        ),
        results={
            "N": n,
            "methods": {label: [r["modes"] for r in reports] for label, reports in found.items()},
        },
        tables=tables(found, first, n),
        claims=claims(found) if request.scale != "smoke" else [],
        models=[store.metadata(spec, seed) for spec in specs.values() for seed in request.seeds],
        notes=notes(request, first),
    )


def notes(request: Request, score: dict[str, Any]) -> list[str]:
    """Describe the classifier, and the differences from the paper."""
    classifier = (
        f"The classifier is {score['classifier_accuracy']:.1%} accurate on held-out digits; it is confident "
        f"(p >= 0.9) on {score['confident_real']:.1%} of them, and on {score['confident_shuffled']:.1%} of "
        "digits with shuffled pixels."
    )
    if request.scale == "paper":
        return [
            classifier,
            "Settings other than the networks and T are those of CIFAR-10: the paper does not publish its "
            "own.",
        ]
    data = "The digits are UCI's 1,797 of 8 x 8 pixels, not MNIST: compare the ranking, not the values."
    if request.scale == "smoke":
        data += " The classifier of this scale was trained for one epoch."
    return [classifier, data]


def tables(found: dict[str, list[dict[str, Any]]], first: dict[str, Any], n: int) -> list[Table]:
    """Build the tables of our and of the published figures."""
    rows: list[tuple[str, ...]] = []
    for label, reports in found.items():
        values = [[at(report, f"modes.{name}") for report in reports] for name in COLUMNS]
        forms = (form for _, form in COLUMNS.values())
        rows.append((label, *map(plots.written, values, forms)))
    note = f"N = {n:,}; the KL of N real samples is {first['kl_floor']:.4f}."
    published = [(name, *values) for name, values in TABLE_3.items()]
    return [
        Table("Ours", ("method", *(title for title, _ in COLUMNS.values())), rows, note),
        Table("Published (Table 3, StackedMNIST)", ("method", *TABLE_3_HEAD), published),
    ]


def claims(found: dict[str, list[dict[str, Any]]]) -> list[Claim]:
    """Check the paper's claims."""

    def mean(label: str, name: str) -> float:
        return plots.spread_of([at(report, f"modes.{name}") for report in found[label]])[0]

    ours, rival = "DDGAN, T = 4", "one-step GAN"
    evidence = "; ".join(f"{m}: {mean(m, 'modes'):.0f} modes, KL {mean(m, 'kl'):.3f}" for m in (ours, rival))
    covered, smaller = mean(ours, "modes") >= 999.5, mean(ours, "kl") < mean(rival, "kl")
    return [
        Claim("DDGAN covers all 1,000 modes (on average 999.5 or more)", covered, evidence),
        Claim("It has a smaller KL than the one-step GAN", smaller, evidence),
    ]


def draw(request: Request, methods: list[Method], found: dict[str, list[dict[str, Any]]]) -> Figure:
    """Draw a sheet of samples per method."""
    columns, rows = len(methods), NUM_SHOWN // 2
    figure = plots.new_figure(3.4 * columns, 3.6)
    panels = figure.subplots(1, columns, squeeze=False)[0]
    for axes, method in zip(panels, methods, strict=True):
        model = method.open(request.store, request.seeds[0])
        batch = next(iter(model.batches(NUM_SHOWN)))
        score = found[method.label][0]["modes"]
        plots.show_image(axes, plots.channels_sheet(batch, NUM_SHOWN // rows), method.label)
        axes.set_xlabel(f"{score['modes']} modes, KL {score['kl']:.3f}", fontsize=plots.FONT)
    return figure


EXPERIMENT = Experiment(
    name="stackedmnist",
    source="Table 3",
    about="modes and KL of stacked digits, with classifier, N and floor",
    run=run,
    costs={
        "smoke": "10 s",
        "cpu": "stacked 8 x 8 digits: 4 models, all shared with trilemma",
        "paper": "StackedMNIST: 2 models of 351,000 iterations, about 48 h each on 4 V100",
    },
    models=("ddgan-t4", "ddgan-t8", "gan", "ddpm"),
    paper_models=("stackedmnist-ddgan-t4", "stackedmnist-gan"),
    data="stackedmnist:MNIST",
)
