"""Nearest neighbours of samples among the training images, as in the paper's appendix: are they copies?

Each channel of stacked digits is compared in pixels with the single digits that the stacks are made of; other
images are compared in the features of `ddgan evaluate --metrics memorisation`. The score is the probability
that a sample is nearer to training images than a held-out image is: 0.5 for a model that generalises, 1 for
one that copies. A copy is a sample with the same features as a training image; for digits, one whose pixels
differ from it by at most half a grey level.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ddgan.data.digits import split_digits
from ddgan.metrics import evaluate
from ddgan.metrics.memorisation import MemorisationScore, memorisation_score
from ddgan.models.ddgan import DDGAN
from ddgan.paper import plots
from ddgan.paper.experiment import Claim, Experiment, Outcome, Request, Table
from ddgan.paper.specs import FULL, image_models
from ddgan.system.images import grid, to_uint8, zoom_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["EXPERIMENT"]

NUM_SHOWN = 10
COPYING = 0.75
"""From this probability on, samples are clearly nearer to training images than held-out images are."""
FEW = 0.01
SAME = 1 / 16
"""Largest root mean square distance per pixel, on the scale -1..1, at which a sample is a copy of a digit:
half the distance between two of the 17 grey levels."""
FIRST = f"the first {NUM_SHOWN} samples (framed, not selected)"
CLOSEST = "the 12 samples nearest to training images (selected to look like copies)"


def run(request: Request) -> Outcome:
    """Measure every seed; draw the first."""
    spec = image_models(request.scale, request.data)[FULL]
    models = [request.store.open(spec, seed) for seed in request.seeds]
    n = request.chosen(200, 3000, 10_000)
    compare, shown = (by_features, CLOSEST) if request.scale == "paper" else (by_digits, FIRST)
    found = [compare(model, n) for model in models]
    scores = [score for score, _ in found]
    near, copies = ([getattr(score, name) for score in scores] for name in ("nearer", "copies"))
    rows: list[tuple[str, ...]] = [
        ("probability of being nearer to training images", plots.written(near, ".3f"), "0.5"),
        ("nearer than 99 % of held-out images", plots.written([s.near for s in scores], ".1%"), "1 %"),
        ("copies", plots.written(copies, ".1%"), "0 %"),
    ]
    return Outcome(
        figure=draw(found[0][1], request),
        caption=f"A sample (left) and its nearest training images, for {shown} of seed {request.seeds[0]}.",
        results={"N": n, "scores": [vars(score) for score in scores]},
        tables=[Table("Memorisation", ("measure", "ours", "held-out images"), rows, f"N = {n:,}.")],
        claims=claims(near, copies) if request.scale != "smoke" else [],
        models=[request.store.metadata(spec, seed) for seed in request.seeds],
    )


def claims(near: list[float], copies: list[float]) -> list[Claim]:
    """Check, for all seeds, the probability of being nearer than held-out images and the share of copies."""
    return [
        Claim(
            f"Samples are not copies of training images (probability below {COPYING}, copies below "
            f"{FEW:.0%})",
            max(near) < COPYING and max(copies) < FEW,
            f"probability {plots.written(near, '.3f')}, copies {plots.written(copies, '.2%')}",
        )
    ]


def by_digits(model: DDGAN, n: int) -> tuple[MemorisationScore, np.ndarray]:
    """Compare n channels of samples with single digits, in pixels; returns the score and the picture."""
    batch = torch.cat(list(model.batches(-(-n // 3))))
    singles = to_uint8(batch).transpose(0, 3, 1, 2).reshape(-1, *batch.shape[2:])[:n]
    train, held_out = split_digits("train")[0], split_digits("test")[0]
    known, unseen, made = (
        torch.from_numpy(x).flatten(1).float() / 127.5 - 1 for x in (train, held_out, singles)
    )
    score, distances, which = memorisation_score(known, unseen, made)
    copies = float((distances[:, 0] <= SAME * known.shape[1] ** 0.5).double().mean())
    return replace(score, copies=copies), rows_of(singles[:, None], which.numpy(), train[:, None])


def by_features(model: DDGAN, n: int) -> tuple[MemorisationScore, np.ndarray]:
    """Compare n samples in Inception features; returns the score and a picture of the nearest ones."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        report = evaluate(model, metrics=["memorisation"], n=n)
    assert report.memorisation is not None
    return report.memorisation, report.pictures["neighbours"]


def rows_of(samples: np.ndarray, which: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Tile the first samples, two per line, each framed and followed by its neighbours: uint8 (H, W, C)."""
    zoom = zoom_for(samples.shape[2], 48)
    lines = []
    for index in range(min(NUM_SHOWN, len(samples))):
        own = _tile(samples[index], zoom, frame=0)
        others = [_tile(train[k], zoom, frame=255) for k in which[index]]
        lines.append(grid(np.stack([own, *others]), columns=1 + len(others), gap=2))
    return grid(np.stack(lines), columns=2, gap=24)


def _tile(image: np.ndarray, zoom: int, frame: int) -> np.ndarray:
    """Enlarge uint8 (C, H, W) to (H, W, 3), with a frame of this grey."""
    tile = image.transpose(1, 2, 0).repeat(zoom, axis=0).repeat(zoom, axis=1)
    tile = np.repeat(tile, 3, axis=-1) if tile.shape[-1] == 1 else tile
    return np.pad(tile, ((4, 4), (4, 4), (0, 0)), constant_values=frame)


def draw(picture: np.ndarray, request: Request) -> Figure:
    """Draw the picture with a title."""
    height, width = picture.shape[:2]
    figure = plots.new_figure(9, 9 * height / width + 0.5)
    axes: Any = figure.subplots()
    kind = ", the closest first," if request.scale == "paper" else " (one channel each), framed,"
    plots.show_image(axes, picture, f"samples{kind} and their nearest training images")
    return figure


EXPERIMENT = Experiment(
    name="neighbours",
    source="Appendix, nearest neighbours",
    about="samples beside their nearest training images, and a comparison with held-out images",
    run=run,
    costs={
        "smoke": "3 s",
        "cpu": "stacked digits: 1 model, shared with trilemma",
        "paper": "CIFAR-10: 1 model, shared with trilemma, about 48 h on 4 V100",
    },
    models=(FULL,),
    data="cifar-10-python.tar.gz",
)
