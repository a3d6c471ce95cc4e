"""A metric from outside the package: how bright samples are, from their features and from their pixels."""

from dataclasses import dataclass
from typing import Annotated

import torch

import ddgan
from ddgan.config.settings import Interval
from ddgan.metrics import Figure, Metric


@dataclass(frozen=True)
class BrightnessScore:
    """What `brightness` reports: means of the samples' features, the real ones, and the brightest pixels."""

    samples: float
    real: float
    brightest: float


class Brightest:
    """Keeps the largest values of each sample's pixels."""

    def __init__(self, count):
        self.count, self.found = count, []

    def update(self, images):
        self.found.append(images.flatten(1).float().topk(self.count).values.mean(dim=1))


@ddgan.register("metric", "brightness")
class Brightness(Metric):
    """How bright samples are, beside real images.

    Args:
        count: of the brightest pixels, which are looked at by themselves.
    """

    count: Annotated[int, Interval(ge=1, le=100)] = 5
    needs = ("features", "real")
    figures = (Figure("quality", "mean of the samples", "samples", "higher"),)

    def collector(self, inputs):
        return Brightest(self.count)

    def score(self, evidence):
        return BrightnessScore(
            samples=float(evidence.features.mean()),
            real=float(evidence.real.statistics.mean.mean()),
            brightest=float(torch.cat(evidence.collector(self).found).mean()),
        )
