"""Fig 8: one x_t at each t, many latents z, the images x^_0 that the generator proposes; with a number.

The number is the spread of x^_0 over z for the same x_t: the root of the mean variance of a pixel, on the
scale of images in [-1, 1], averaged over many x_t. Without latent z it is 0: each x_t has one answer.
Where the base has a reconstruction term, which asks for one answer too, the model without it is drawn: that
is the paper's objective.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ddgan.data.sources import open_data
from ddgan.models.ddgan import DDGAN
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.specs import FULL, PLAIN, image_models
from ddgan.system.randomness import generator_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT"]

WITHOUT = "ddgan-no-latent"
COLUMNS = {
    FULL: "with latent (T = 4)",
    PLAIN: "with latent, no reconstruction term",
    WITHOUT: "without latent",
}
"""Of the table, by the name of the model; the second only where the base has such a term."""
NUM_SHOWN = 8
NUM_LATENTS = 32
SEVERAL = 0.1
"""The share of the data's spread from which an x_t counts as having several x^_0."""


@torch.no_grad()
def proposals(model: DDGAN, x_0: Tensor, t: int, num_latents: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """x_t of each image and the generator's x^_0 for it with different latents.

    Args:
        model: with prediction x_0 or noise.
        x_0: images (B, *sample_shape) in [-1, 1].
        t: the step, in 1..T.
        num_latents: K.
        seed: of x_t's noise and of the latents.

    Returns:
        x_t (B, *sample_shape), and x^_0 (B, K, *sample_shape).
    """
    rng = generator_for(seed, "multimodality", t)
    steps = torch.full((len(x_0),), t)
    x_0, steps, noise = (x.to(model.device) for x in (x_0, steps, torch.randn(x_0.shape, generator=rng)))
    x_t = model.diffusion.diffuse(x_0, steps, noise)
    many, steps = x_t.repeat_interleave(num_latents, dim=0), steps.repeat_interleave(num_latents)
    z = torch.randn(len(many), model.config.generator.latent_size, generator=rng).to(many)
    predicted = model.diffusion.predicted_x_0(model.generator(many, steps, z), many, steps)
    return x_t, predicted.unflatten(0, (len(x_0), num_latents))


def spread(predicted: Tensor) -> float:
    """The root of the mean variance over latents of x^_0 (B, K, ...), 0 if they are all alike."""
    return float(predicted.var(dim=1).mean().sqrt())


def run(request: Request) -> Outcome:
    """Measure the spread per t with and without latent, and draw it."""
    models = image_models(request.scale, request.data)
    names = [name for name in COLUMNS if name in models]
    drawn = PLAIN if PLAIN in models else FULL
    count = request.chosen(16, 256, 64)
    opened = {name: [request.store.open(models[name], seed) for seed in request.seeds] for name in names}
    shape = tuple(opened[FULL][0].sample_shape)
    x_0 = open_data(models[FULL].config.data, 1, "cpu", shape).batch(0, count).x
    num_steps = opened[FULL][0].diffusion.num_steps
    steps = range(1, num_steps + 1)
    values = {
        name: {t: [spread(proposals(model, x_0, t, NUM_LATENTS)[1]) for model in found] for t in steps}
        for name, found in opened.items()
    }
    rows: list[tuple[str, ...]] = [
        (str(t), *(plots.written(values[name][t], ".3f") for name in names)) for t in steps
    ]
    real = float(x_0.var(dim=0).mean().sqrt())
    last, first = (plots.spread_of(values[drawn][t])[0] for t in (num_steps, 1))
    return Outcome(
        figure=draw(opened[drawn][0], x_0, values[drawn]),
        caption=(
            "Per row one x_t of the same image (left), and what the generator proposes as x_0 with different "
            "latents z; on the right the spread over z, on the scale -1..1. "
            f"The model is the one {COLUMNS[drawn]}."
        ),
        results={"num_images": count, "num_latents": NUM_LATENTS, "spread": values, "spread of data": real},
        tables=[
            Table(
                "Spread of x^_0 over z",
                ("t", *(COLUMNS[name] for name in names)),
                rows,
                f"{count} images, {NUM_LATENTS} latents each; the data's own spread over images is "
                f"{real:.3f}.",
            )
        ],
        claims=claims(drawn, first, last, real) if request.scale != "smoke" else [],
        models=[request.store.metadata(models[n], s) for n in names for s in request.seeds],
    )


def claims(name: str, first: float, last: float, real: float) -> list[Claim]:
    """What the paper says, of the model of this name: its spread at t = 1 and t = T, and that of the data."""
    return [
        Claim(
            f"An x_t has several x^_0 ({COLUMNS[name]}), at t = T more than at t = 1: they spread by at "
            f"least {SEVERAL:.0%} of what the data does",
            last > first and last >= SEVERAL * real,
            f"spread {first:.3f} at t = 1, {last:.3f} at t = T, {last / real:.0%} of the data's",
        )
    ]


def draw(model: DDGAN, x_0: Tensor, values: dict[int, list[float]]) -> Figure:
    """A row for each t, from noise down: x_t, then proposals; a bar with the spread."""
    num_steps = model.diffusion.num_steps
    figure = plots.new_figure(9.6, 1.05 * num_steps + 0.7)
    axes = figure.subplots(num_steps, 3, width_ratios=[1.0, NUM_SHOWN + 0.33, 2.2], squeeze=False)
    longest = max(plots.spread_of(seeds)[0] for seeds in values.values()) or 1.0
    for row, t in enumerate(range(num_steps, 0, -1)):
        x_t, predicted = proposals(model, x_0[:1], t, NUM_SHOWN)
        first = row == 0
        plots.show_image(axes[row, 0], plots.sheet(x_t, 1), "$x_t$" if first else "", f"t = {t}")
        title = "$\\hat{x}_0$ for eight latents $z$" if first else ""
        plots.show_image(axes[row, 1], plots.sheet(predicted[0], NUM_SHOWN), title)
        _bar(axes[row, 2], values[t], longest, "spread over $z$" if first else "")
    return figure


def _bar(axes: Any, seeds: list[float], longest: float, title: str) -> None:
    mean = plots.spread_of(seeds)[0]
    axes.barh(0, mean, 0.35, color=plots.BLUE)
    axes.plot(seeds, [0] * len(seeds), "o", color=plots.BLACK, markersize=3)
    axes.text(max(*seeds, mean) + 0.05 * longest, 0, f"{mean:.3g}", va="center", fontsize=plots.FONT)
    axes.set(xlim=(0, 1.5 * longest), ylim=(-0.6, 0.6))
    axes.axis("off")
    axes.set_title(title, fontsize=plots.FONT, loc="left")


EXPERIMENT = Experiment(
    name="multimodality",
    source="Fig 8",
    about="one x_t, many latents, the x_0 that they lead to; spread per t with and without latent",
    run=run,
    costs={
        "smoke": "5 s",
        "cpu": "stacked digits: 3 models, shared with ablation",
        "paper": "CIFAR-10: 2 models, shared with ablation, about 48 h each on 4 V100",
    },
    models=(FULL, PLAIN, WITHOUT),
    paper_models=(FULL, WITHOUT),
    data="cifar-10-python.tar.gz",
)
