"""Memorisation: are samples nearer to the training images than other real images are?

For each sample and each held-out real image, d is the distance to the nearest training image in feature
space. The score is the rank statistic of Meehan et al. (2020),

    P( d(sample) < d(held-out) ) + P( d(sample) = d(held-out) ) / 2 ,

the probability that a random sample is nearer than a random held-out image: 1/2 for a model that generalises
perfectly, near 1 for one that copies, below 1/2 for samples farther from the data than real images.

Blurred samples are near to all images, so they too have a high P. The second score does not depend on that:
of n training and m held-out images together, a held-out one is the nearest to a sample of a model that
generalises with probability m / (n + m). The score is the observed share of such samples, divided by this
probability: 1 for a model that generalises, 0 for one that copies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.config.components import register
from ddgan.metrics.collect import PixelKeeper
from ddgan.metrics.comparison_inputs import Inputs
from ddgan.metrics.metric import Evidence, Metric
from ddgan.metrics.neighbours import centre_of, centred, nearest
from ddgan.metrics.resampling import Interval, bootstrap_interval, check_finite, within
from ddgan.system import images

__all__ = ["Memorisation", "MemorisationScore", "memorisation_score", "neighbours_picture"]

NUM_SHOWN = 12
NUM_NEIGHBOURS = 5
MOST_CHANNELS = 4
"""Maximum number of channels of images that can be shown."""
NEAR = 0.01
"""Quantile of the held-out distances below which a sample counts as near."""


@dataclass(frozen=True)
class MemorisationScore:
    """The score of `memorisation`.

    Attributes:
        nearer: probability that a sample is nearer to training images than a held-out image is.
        interval: 95 % interval, by bootstrap over the samples.
        ratio: median distance of samples, divided by that of held-out images.
        near: share of samples nearer than the nearest 1 % of the held-out images.
        copies: share of samples at distance 0 of a training image.
        num_train: number of training images.
        num_held_out: number of held-out images.
        held_out_nearest: how often a held-out image is the nearest to a sample, relative to chance.
        held_out_nearest_interval: its 95 % interval, over the held-out images.
    """

    nearer: float
    interval: Interval
    ratio: float
    near: float
    copies: float
    num_train: int
    num_held_out: int
    held_out_nearest: float
    held_out_nearest_interval: Interval

    def rows(self) -> list[tuple[str, str]]:
        """Return rows (name, value) for a table."""
        return [
            (
                "probability to be nearer to training images",
                f"{self.nearer:.3f}{within(self.interval)}; held-out: 0.5",
            ),
            (
                "held-out images as the nearest, relative to chance",
                f"{self.held_out_nearest:.3f}{within(self.held_out_nearest_interval)}; copies: 0",
            ),
            ("nearer than 99% of held-out images", f"{self.near:.1%}"),
            ("copies of training images", f"{self.copies:.1%}"),
            ("training and held-out images", f"{self.num_train:,} and {self.num_held_out:,}"),
        ]


def memorisation_score(
    train: Tensor, held_out: Tensor, samples: Tensor, seed: int = 0
) -> tuple[MemorisationScore, Tensor, Tensor]:
    """Return the score from features (N, D) of each set, and each sample's nearest training images.

    These are distances (N, k), ascending, and indices of images, int64 (N, k).

    Raises:
        ValueError: if a feature is not finite, or there are fewer than 5 training images.
    """
    for features, what in ((train, "training"), (held_out, "held-out"), (samples, "samples'")):
        check_finite(features, f"{what} features")
    centre = centre_of(train)
    known = centred(train, centre)
    given, unseen = centred(samples, centre), centred(held_out, centre)
    distances, which = nearest(given, known, NUM_NEIGHBOURS)
    own = distances[:, 0].sqrt().cpu()
    real = nearest(unseen, known, 1)[0][:, 0].sqrt().cpu().sort().values
    larger = len(real) - torch.searchsorted(real, own, right=True)
    equal = len(real) - torch.searchsorted(real, own) - larger
    chance = (larger + equal / 2) / len(real)
    to_unseen, which_unseen = nearest(given, unseen, 1)
    wins = (to_unseen[:, 0] < distances[:, 0]).double() + (to_unseen[:, 0] == distances[:, 0]).double() / 2
    share, interval = relative_share(wins.cpu(), which_unseen[:, 0].cpu(), len(train), len(held_out))
    score = MemorisationScore(
        nearer=float(chance.double().mean()),
        interval=bootstrap_interval(chance, seed),
        ratio=float(own.median() / real.median().clamp(min=1e-12)),
        near=float((own < real.quantile(NEAR)).double().mean()),
        copies=float((own == 0).double().mean()),
        num_train=len(train),
        num_held_out=len(held_out),
        held_out_nearest=share,
        held_out_nearest_interval=interval,
    )
    return score, distances.sqrt().cpu(), which.cpu()


def relative_share(wins: Tensor, which: Tensor, num_train: int, num_held_out: int) -> tuple[float, Interval]:
    """Return how often held-out images are nearest to samples, relative to chance, and its 95 % interval.

    Some images are the nearest to many samples, so the deviation is that of the sum over the held-out images;
    the upper end has the 3 of the rule of three, which matters where hardly any is the nearest.

    Args:
        wins: float64 (N,), 1 for a sample nearer to a held-out than to any training image, 1/2 for a tie.
        which: the held-out image nearest to each sample, int64 (N,).
        num_train: number of training images.
        num_held_out: number of held-out images.
    """
    counts = torch.zeros(num_held_out, dtype=torch.float64).index_add_(0, which, wins)
    total, expected = float(counts.sum()), len(wins) * num_held_out / (num_train + num_held_out)
    half = 1.96 * math.sqrt(float((counts - counts.mean()).square().sum()))
    return total / expected, (max(total - half, 0.0) / expected, (total + half + 3) / expected)


def neighbours_picture(samples: Tensor, distances: Tensor, which: Tensor, train: Any) -> np.ndarray:
    """Draw the samples nearest to training images, each in a row with its neighbours; uint8 (H, W, C).

    Args:
        samples: uint8 (S, C, H, W), the first S of the scored samples.
        distances: distances of each sample to its neighbours, (N, k), N at least S.
        which: index of each neighbour among the training images, (N, k).
        train: uint8 (M, C, H, W), an array or `Rows` of one.
    """
    closest = distances[: len(samples), 0].argsort()[:NUM_SHOWN]
    tiles = []
    for index in closest.tolist():
        tiles.append(samples[index].numpy())
        tiles += [np.asarray(train[neighbour]) for neighbour in which[index].tolist()]
    stacked = np.stack(tiles).transpose(0, 2, 3, 1)
    zoom = images.zoom_for(stacked.shape[1])
    return images.grid(stacked, columns=1 + which.shape[1], zoom=zoom, gap=3)


@register("metric", "memorisation")
class Memorisation(Metric):
    """Whether samples are nearer to training images than held-out images are; draws the nearest."""

    needs = ("features", "real")

    def check(self, inputs: Inputs) -> None:
        assert inputs.unseen is not None  # raises a ValueError if there are none, or they are training images

    def collector(self, inputs: Inputs) -> PixelKeeper | None:
        shape = inputs.samples.sample_shape
        return PixelKeeper() if len(shape) == 3 and shape[0] <= MOST_CHANNELS else None

    def score(self, evidence: Evidence) -> MemorisationScore:
        inputs, device = evidence.inputs, evidence.device
        known = inputs.real_features(inputs.learned, inputs.features)
        unseen = inputs.real_features(inputs.unseen, inputs.features)
        if len(known.features) < len(inputs.learned):
            evidence.warnings.append(
                f"memorisation: only {len(known.features):,} of {len(inputs.learned):,} training images "
                "were searched, so only that share of copies is found"
            )
        score, distances, which = memorisation_score(
            known.features.to(device), unseen.features.to(device), evidence.features.to(device)
        )
        if (keeper := evidence.collector(self)) is not None:
            evidence.pictures["neighbours"] = neighbours_picture(
                keeper.images(), distances, known.rows[which], inputs.learned.images
            )
        return score
