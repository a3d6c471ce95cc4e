"""Fig 2: why large steps need more than a Gaussian, for a 1-D density; no training.

The data q(x_0) has four narrow modes. With T = 5 steps, the marginals q(x_0) .. q(x_5) come from numerical
integration, and the true reverse distributions from x_5 = X, over one to five steps, from Bayes' rule:

    q(x_s | x_t = X) = N(X; sqrt(abar_t / abar_s) x_s, 1 - abar_t / abar_s) q(x_s) / q(x_t = X)

Over a small step it is nearly Gaussian; the larger the step, the more modes it has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ddgan.diffusion.schedules import VPConfig, step_betas
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT"]

CENTRES, SHARES, WIDTH = (-1.5, -0.55, 0.4, 1.5), (0.25, 0.2, 0.3, 0.25), 0.1
"""The modes of q(x_0): centres, weights, and standard deviation."""
NUM_STEPS, SCHEDULE = 5, VPConfig(beta_min=0.1, beta_max=3.0)
"""Mild enough that x_5 still carries information about x_0."""
GIVEN = 0.1
"""X, the state that the reverse distributions are conditioned on."""
GRID = np.linspace(-5.0, 5.0, 2001)
DRAWN = slice(360, 1641, 4)
"""The points of GRID that are drawn, -3.2 to 3.2."""
NOTABLE = 0.02
"""A peak counts as a mode if its prominence is at least this fraction of the highest density."""


@dataclass(frozen=True)
class Densities:
    """Densities on GRID.

    Attributes:
        alpha_bar: abar_0 = 1 .. abar_T.
        marginals: q(x_0) .. q(x_T), (T + 1, grid).
        reverse: q(x_s | x_T = X) for s = T-1 .. 0, (T, grid).
    """

    alpha_bar: np.ndarray
    marginals: np.ndarray
    reverse: np.ndarray


def normal(x: np.ndarray, mean: np.ndarray | float, variance: float) -> np.ndarray:
    """The density of N(mean, variance) at x."""
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)


def data_density(x: np.ndarray) -> np.ndarray:
    """q(x_0)."""
    parts = (share * normal(x, centre, WIDTH**2) for centre, share in zip(CENTRES, SHARES, strict=True))
    density: np.ndarray = np.sum(list(parts), axis=0)
    return density


def marginal(q_0: np.ndarray, alpha_bar: float) -> np.ndarray:
    """q(x_t) on GRID: the integral of q(x_0) N(x_t; sqrt(abar_t) x_0, 1 - abar_t)."""
    if alpha_bar == 1:
        return q_0
    kernel = normal(GRID[:, None], math.sqrt(alpha_bar) * GRID[None], 1 - alpha_bar)
    density: np.ndarray = np.trapezoid(kernel * q_0, GRID, axis=1)
    return density


def posterior(q_s: np.ndarray, ratio: float, given: float) -> np.ndarray:
    """q(x_s | x_t = X) on GRID, by Bayes' rule; `ratio` is abar_t / abar_s."""
    joint = normal(np.full_like(GRID, given), math.sqrt(ratio) * GRID, 1 - ratio) * q_s
    density: np.ndarray = joint / np.trapezoid(joint, GRID)
    return density


def densities() -> Densities:
    """Compute all densities of the figure."""
    alpha_bar = np.concatenate([[1.0], np.cumprod(1 - step_betas(SCHEDULE, NUM_STEPS).numpy())])
    q_0 = data_density(GRID)
    marginals = np.stack([marginal(q_0, power) for power in alpha_bar])
    last = len(alpha_bar) - 1
    reverse = [
        posterior(marginals[s], alpha_bar[last] / alpha_bar[s], GIVEN) for s in range(last - 1, -1, -1)
    ]
    return Densities(alpha_bar, marginals, np.stack(reverse))


def count_modes(density: np.ndarray) -> int:
    """Count the prominent peaks."""
    from scipy.signal import find_peaks

    return len(find_peaks(density, prominence=NOTABLE * density.max())[0])


def distance_from_gaussian(density: np.ndarray) -> float:
    """Total variation between a density on GRID and the Gaussian of the same mean and variance, in 0..1."""
    mean = float(np.trapezoid(GRID * density, GRID))
    variance = float(np.trapezoid((GRID - mean) ** 2 * density, GRID))
    return float(np.trapezoid(np.abs(density - normal(GRID, mean, variance)), GRID) / 2)


def run(request: Request) -> Outcome:
    """Compute the densities, count modes, draw."""
    found = densities()
    steps = range(1, len(found.reverse) + 1)
    names = [f"{k} steps" for k in steps]
    modes = [count_modes(density) for density in found.reverse]
    distances = [distance_from_gaussian(density) for density in found.reverse]
    last = len(found.reverse)
    rows: list[tuple[str, ...]] = [
        (f"x_{last} -> x_{last - k}", str(modes[k - 1]), f"{distances[k - 1]:.3f}") for k in steps
    ]
    grows = all(a <= b + 1e-9 for a, b in pairwise(distances))
    return Outcome(
        figure=draw(found),
        caption=(
            "Top: the marginals q(x_t) of a density with four modes. Bottom: the true reverse distributions "
            f"q(x_s | x_5 = {GIVEN}); dashed: the Gaussian of the same mean and variance. The larger the "
            "step, the worse a Gaussian fits."
        ),
        results={
            "alpha_bar": found.alpha_bar.tolist(),
            "given": GIVEN,
            "modes": dict(zip(names, modes, strict=True)),
            "total variation from a Gaussian": dict(zip(names, distances, strict=True)),
        },
        tables=[Table("Reverse distributions", ("step", "modes", "total variation from a Gaussian"), rows)],
        claims=[
            Claim(
                "The reverse distribution has one mode over the smallest step, and several over the largest",
                modes[0] == 1 and modes[-1] > 1,
                f"modes over 1..{last} steps: {', '.join(map(str, modes))}",
            ),
            Claim(
                "It moves away from a Gaussian as the step grows",
                grows,
                "total variation: " + ", ".join(f"{distance:.3f}" for distance in distances),
            ),
        ],
        notes=[
            f"Four Gaussians at {CENTRES} with standard deviation {WIDTH}; the paper does not give its "
            f"density.",
            f"T = 5, variance preserving, beta_max {SCHEDULE.beta_max:g}. Nothing is trained.",
        ],
    )


def draw(found: Densities) -> Figure:
    """Draw marginals above, reverse distributions below."""
    count = len(found.marginals)
    figure = plots.new_figure(12, 4.6)
    panels = figure.subplots(2, count, sharex=True)
    for t in range(count):
        axes = panels[0, t]
        axes.fill_between(GRID[DRAWN], found.marginals[t][DRAWN], color=plots.BLUE, alpha=0.35, linewidth=0)
        axes.plot(GRID[DRAWN], found.marginals[t][DRAWN], color=plots.BLUE, linewidth=1.3)
        plots.plain(axes, title=f"$q(x_{t})$")
    panels[1, -1].axis("off")
    words = "dashed: the Gaussian\nof the same mean\nand variance"
    panels[1, -1].text(0.05, 0.6, words, transform=panels[1, -1].transAxes, fontsize=plots.FONT, va="center")
    last = count - 1
    panels[0, last].axvline(GIVEN, color=plots.RED, linewidth=1.2)
    panels[0, last].annotate(
        f"$x_{last}$ = {GIVEN}",
        (GIVEN, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(5, 0),
        textcoords="offset points",
        va="top",
        fontsize=plots.FONT - 1,
        color=plots.RED,
    )
    for s in range(last):
        axes, density = panels[1, s], found.reverse[last - 1 - s]
        mean = float(np.trapezoid(GRID * density, GRID))
        variance = float(np.trapezoid((GRID - mean) ** 2 * density, GRID))
        axes.fill_between(GRID[DRAWN], density[DRAWN], color=plots.RED, alpha=0.3, linewidth=0)
        axes.plot(GRID[DRAWN], density[DRAWN], color=plots.RED, linewidth=1.3)
        axes.plot(GRID[DRAWN], normal(GRID[DRAWN], mean, variance), "--", color=plots.BLACK, linewidth=1)
        steps = last - s
        plots.plain(axes, "$x$", title=f"$q(x_{s}\\,|\\,x_{last})$, {steps} step{'s' if steps > 1 else ''}")
    for axes in panels.flat:
        axes.set(xlim=(-3.2, 3.2), yticks=[], ylim=(0, None))
        axes.tick_params(labelbottom=True)
    panels[0, 0].set_ylabel("marginals", fontsize=plots.FONT)
    panels[1, 0].set_ylabel("true reverse", fontsize=plots.FONT)
    return figure


EXPERIMENT = Experiment(
    name="multimodal1d",
    source="Fig 2",
    about="marginals of a 1-D density and its true reverse distributions, by numerical Bayes",
    run=run,
    costs=dict.fromkeys(("smoke", "cpu", "paper"), "seconds, nothing is trained"),
    needs_gpu=False,
)
