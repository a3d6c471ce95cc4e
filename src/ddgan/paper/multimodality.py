"""Fig 8: one x_t per t, many latents z, the images x^_0 that the generator predicts, and their spread.

The spread of x^_0 over z for the same x_t is the root of the mean variance per pixel, on the scale of images
in [-1, 1], averaged over many x_t. Without latent z it is 0: each x_t has one x^_0. If the base has a
reconstruction term, which also favours a single x^_0, the figure shows the model without it, which has the
paper's objective.
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
"""Model name -> column of the table; the second only if the base has such a term."""
NUM_SHOWN = 8
NUM_LATENTS = 32
SEVERAL = 0.1
"""An x_t counts as having several x^_0 from this fraction of the data's spread."""


@torch.no_grad()
def proposals(model: DDGAN, x_0: Tensor, t: int, num_latents: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Sample x_t for each image, and predict x^_0 from it with different latents.

    Args:
        model: a model with prediction x_0 or noise.
        x_0: images (B, *sample_shape) in [-1, 1].
        t: the step, in 1..T.
        num_latents: K.
        seed: seed of the noise in x_t and of the latents.

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
    """Return the root of the mean variance of x^_0 (B, K, ...) over latents; 0 if all are equal."""
    return float(predicted.var(dim=1).mean().sqrt())


def run(request: Request) -> Outcome:
    """Measure and draw the spread per t with and without latent."""
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
            "Each row: one x_t of the same image (left), the generator's x_0 for different latents z, and "
            "their spread over z on the scale -1..1 (right). "
            f"The model is the one {COLUMNS[drawn]}."
        ),
        results={"num_images": count, "num_latents": NUM_LATENTS, "spread": values, "spread of data": real},
        tables=[
            Table(
                "Spread of x^_0 over z",
                ("t", *(COLUMNS[name] for name in names)),
                rows,
                f"{count} images, {NUM_LATENTS} latents each; the spread of the data over images is "
                f"{real:.3f}.",
            )
        ],
        claims=claims(drawn, first, last, real) if request.scale != "smoke" else [],
        models=[request.store.metadata(models[n], s) for n in names for s in request.seeds],
    )


def claims(name: str, first: float, last: float, real: float) -> list[Claim]:
    """Check the paper's claim for a model, given its spread at t = 1 and t = T, and that of the data."""
    return [
        Claim(
            f"An x_t has several x^_0 ({COLUMNS[name]}): the spread is larger at t = T than at t = 1, and at "
            f"least {SEVERAL:.0%} of the data's",
            last > first and last >= SEVERAL * real,
            f"spread {first:.3f} at t = 1, {last:.3f} at t = T, {last / real:.0%} of the data's",
        )
    ]


def draw(model: DDGAN, x_0: Tensor, values: dict[int, list[float]]) -> Figure:
    """Draw a row per t, from T down: x_t, then x^_0 for several latents, and a bar with the spread."""
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
    about="x_0 predicted from one x_t with many latents; spread per t with and without latent",
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
