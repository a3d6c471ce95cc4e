"""Scores at the end of a run that costs little: how many samples, and which features, the time allows.

The number of samples is one of few, so that the scores of runs can be compared. What it takes to sample the
model and to compute features is measured on a few samples, never guessed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ddgan.metrics.comparison_inputs import AUTO, OFFLINE, Inputs
from ddgan.metrics.evaluation import check, check_metrics, metrics_in_training, own_inputs
from ddgan.metrics.features import FeaturesConfig, features_named
from ddgan.metrics.labelled import classifier_path, classifier_seconds
from ddgan.metrics.metric import Metric
from ddgan.metrics.real_features import kept_in
from ddgan.metrics.samples import quantised
from ddgan.models.model import Model
from ddgan.system.devices import wait_for

__all__ = ["Scoring", "affordable"]

NUMBERS = (10_000, 5_000, 2_000, 1_000, 500, 200)
"""Numbers of samples, of which the largest that fits is taken."""
SHARE, LEAST = 0.05, 10.0
"""The scores of a run take at most this share of its training time, or so many seconds if that is more."""
ONCE = 4
"""What is kept for all later runs on the data, such as features of the real images, may take so many times
that."""
PROBES, PROBED_SHARE = (1, 16, 128), 0.2
"""Samples on which speeds are measured: more where these are expected to take at most this share of the time
allowed."""
EIGEN_SECONDS = 1e-9
"""Seconds of a Fréchet distance per cubed dimension of the features, on one core."""
PAIR_SECONDS = 1e-10
"""Seconds to compare two images, per dimension of the features, on one core."""


class Scoring(NamedTuple):
    """Arguments of `evaluate`: N, the metrics and the features."""

    n: int
    metrics: tuple[Metric, ...]
    features: str | FeaturesConfig


def affordable(
    model: Model,
    seconds: float,
    *,
    features: str = AUTO,
    metrics: Sequence[str] = (),
) -> Scoring:
    """Choose scores of a model that take little compared with `seconds` of training.

    Args:
        model: the model.
        seconds: training time.
        features: as for `evaluate`; "auto" tries those that need no download, the best first.
        metrics: as for `evaluate`; by default the usual one without "speed", and "memorisation" if the run
            held images out.

    Raises:
        ValueError: if even the fewest samples take longer, or nothing can be scored, with the reason.
    """
    allowance = max(SHARE * seconds, LEAST)
    probe, per_sample = probed(model, PROBED_SHARE * allowance)
    opened = own_inputs(model, NUMBERS[-1])
    names = opened.at_hand() if features in (AUTO, OFFLINE) else [features]
    least, why = math.inf, ""
    for name in names:
        inputs = own_inputs(model, NUMBERS[-1], name)
        inputs.__dict__["real"] = opened.real
        asked = check_metrics(list(metrics)) if metrics else metrics_in_training(inputs)
        try:
            check(inputs, asked)
            cost = _cost(inputs, asked, probe, ONCE * allowance)
        except ValueError as error:
            why = why or str(error)
            continue
        fixed = allowance - cost.fixed
        fitting = [n for n in NUMBERS if n * (per_sample + cost.per_sample) <= fixed]
        if cost.once <= ONCE * allowance and fitting:
            return Scoring(fitting[0], asked, features_named(name))
        least = min(least, cost.once + cost.fixed + NUMBERS[-1] * (per_sample + cost.per_sample))
    if math.isfinite(least):
        why = (
            f"the scores of {NUMBERS[-1]} samples would take about {least:.0f} s, and scores that are not "
            f"asked for take at most {allowance:.0f} s here"
        )
    raise ValueError(why)


class _Cost(NamedTuple):
    once: float
    fixed: float
    per_sample: float


def _cost(inputs: Inputs, metrics: Sequence[Metric], probe: Tensor, most: float) -> _Cost:
    """Return the seconds of scoring without sampling: kept for later runs, for any N, and per sample."""
    needs = {need for metric in metrics for need in metric.needs}
    of_classifier = inputs.uses_classifier or "classes" in needs
    once = 0.0
    if of_classifier and not classifier_path(inputs.training).is_file():
        once = classifier_seconds(inputs.training)
        if once > most:
            return _Cost(once, 0.0, 0.0)
        assert inputs.classifier is not None  # made now, to be timed
    if not needs & {"features", "probabilities"}:
        return _Cost(once, 0.0, 0.0)
    features = inputs.features.to(inputs.device)
    count = min(features.batch_size, len(probe))
    images = probe[:count].to(inputs.device)
    features(images)
    began = time.perf_counter()
    found = features(images).features
    wait_for(inputs.device)
    each, dimensions = (time.perf_counter() - began) / count, found.shape[1]
    kinds = {metric.kind for metric in metrics}
    sets = [] if inputs.real is None else [inputs.real]
    fixed, pairs = (EIGEN_SECONDS * dimensions**3 if "frechet" in kinds else 0.0), 0
    if "memorisation" in kinds:
        sets += [inputs.learned, inputs.unseen]
        pairs = len(inputs.learned) + len(inputs.unseen)
        fixed += PAIR_SECONDS * dimensions * len(inputs.learned) * len(inputs.unseen)
    distinct = {kept_in(real, features): real for real in sets}
    once += each * sum(len(real) for path, real in distinct.items() if not path.is_dir())
    return _Cost(once, fixed, each + PAIR_SECONDS * dimensions * pairs)


def probed(model: Model, seconds: float) -> tuple[Tensor, float]:
    """Sample a few images within about `seconds`; return them, quantised, and the time for one."""
    found, per_sample = torch.empty(0), 0.0
    for count in PROBES:
        if len(found) and count * per_sample > seconds:
            break
        began = time.perf_counter()
        found = torch.cat(list(_batches(model, count)))
        per_sample = (time.perf_counter() - began) / count
    return found, per_sample


def _batches(model: Model, count: int) -> Iterator[Tensor]:
    for batch in model.batches(count):
        yield quantised(batch)
