"""evaluate: sample a model, or read samples, and score them in one pass, as one report."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.config.components import find
from ddgan.config.run_config import RunConfig
from ddgan.data.batch import DataConfig
from ddgan.data.sources import beside
from ddgan.metrics.collect import Collector, FeatureCollector
from ddgan.metrics.comparison_inputs import AUTO, OFFLINE, Inputs
from ddgan.metrics.features import FeaturesConfig, features_named
from ddgan.metrics.labelled import check_classifier
from ddgan.metrics.metric import Evidence, Metric, known_metrics, metric_named
from ddgan.metrics.modes import modes_are_countable
from ddgan.metrics.result import FeaturesUsed, Report, plain_score
from ddgan.metrics.samples import Samples, open_samples
from ddgan.metrics.speed import SamplingClock, describe_machine
from ddgan.models.model import Model
from ddgan.models.precision import tf32
from ddgan.system.progress import progress_bar

__all__ = [
    "DEFAULT_SAMPLES",
    "check",
    "check_metrics",
    "check_scoring",
    "evaluate",
    "evaluate_in_training",
    "metrics_in_training",
    "own_inputs",
]

DEFAULT_SAMPLES = 26_000
TAKEN = frozenset(known.name for known in fields(Report))
"""Reserved names in a report's JSON; no metric can have them."""


def evaluate(
    model: Model | str | Path | np.ndarray | Tensor,
    data: Any = None,
    metrics: str | Metric | Sequence[str | Metric] | None = None,
    n: int | None = None,
    seed: int = 0,
    *,
    features: str | FeaturesConfig = AUTO,
    split: str | None = None,
    held_out: Any = None,
    progress: bool = False,
    device: str | torch.device = "cpu",
) -> Report:
    """Score `n` samples.

    Args:
        model: a model of any method, or anything `ddgan.load` opens: a run folder, a weights file, a name on
            the Hub; or samples: a folder of PNG files, a .npz with `images` (uint8) or `points`, a prepared
            dataset, a uint8 array (N, H, W, C), a tensor (N, C, H, W), uint8 or in [-1, 1].
        data: the data to compare with: a dataset by name, path or settings, an array, a tensor or a dataset
            of PyTorch or Hugging Face as for `ddgan.train`, or a published .npz or .npy with mu and sigma; by
            default the model's training data. Images named by a path or given as an object are prepared as
            the model's training data was, or, for samples alone, kept as they are; nothing else is done to
            them, and another shape than that of the samples is refused.
        metrics: one or more kinds of metrics, also from other packages, or their settings; by default
            "modes" if they can be counted, else "frechet", and also "speed" for a model.
        n: number of samples; by default all of a file, or 26,000 of a model, as in the paper's StackedMNIST
            protocol (its other scores use 50,000).
        seed: seed of the samples.
        features: "inception", "vgg16", "classifier", "cifar10_classifier", "emoji_classifier",
            "mnist_classifier", "thumbnails", "pixels", a TorchScript file with a .json beside it, or a kind
            from another package. "auto" is inception for colour images of at least 32 pixels, else
            classifier if the data has labels, else pixels; "offline" is the best that needs no download.
        split: split of the data to compare with; by default "train".
        held_out: data that the model was not trained on, for memorisation, in any form that `data` can have;
            by default the images that its run (training.held_out) or the preparation of the data held out,
            or the split "test". They must not be training images.
        progress: show progress bars.
        device: device for the features of samples in files; for a model it is the model's device.

    Returns:
        The scores by metric, with N, seed, features and versions; `table()` and `to_dict()` give all of it.

    Raises:
        ValueError: if an argument is unknown, samples and data have different shapes, a file is damaged, or
            the model's training data has other contents than its run recorded.
    """
    asked = check_metrics(metrics)
    if held_out is not None and "memorisation" not in {metric.kind for metric in asked}:
        raise ValueError(
            "held_out is for the metric memorisation, which was not requested; add it, or leave held_out out"
        )
    chosen = _chosen(features)
    samples = open_samples(model, n, seed, DEFAULT_SAMPLES)
    like = samples.own_data
    compared = _trained_on(samples) if data is None else beside(data, like, progress=progress)
    unseen = None if held_out is None else beside(held_out, like, progress=progress)
    inputs = Inputs(
        samples,
        compared,
        chosen,
        split,
        unseen,
        seed,
        progress,
        is_own=data is None,
        asked_device=torch.device(device),
    )
    report = score(inputs, asked or usual_metrics(inputs))
    for warning in report.warnings:
        warnings.warn(warning, stacklevel=2)
    return report


def evaluate_in_training(
    model: Model, n: int, *, features: str | FeaturesConfig = AUTO, metrics: Sequence[str] = ()
) -> Report:
    """Score `n` samples of a model that is being trained; by default as `metrics_in_training` says.

    Raises:
        ValueError: as `evaluate`.
    """
    inputs = own_inputs(model, n, features)
    return score(inputs, check_metrics(metrics or None) or metrics_in_training(inputs))


def own_inputs(model: Model, n: int, features: str | FeaturesConfig = AUTO) -> Inputs:
    """Return `n` samples of a model, none of which is drawn yet, beside the data that it was trained on.

    Raises:
        ValueError: if there are no such features.
    """
    samples = open_samples(model, n, 0, DEFAULT_SAMPLES)
    return Inputs(samples, _trained_on(samples), _chosen(features), is_own=True)


def metrics_in_training(inputs: Inputs) -> tuple[Metric, ...]:
    """Return the default metrics without "speed", and "memorisation" if some images were held out."""
    found = tuple(metric for metric in usual_metrics(inputs) if metric.kind != "speed")
    if len(inputs.sample_shape) == 3:
        with suppress(ValueError):
            check(inputs, memorisation := check_metrics("memorisation"))
            found += memorisation
    return found


def check_metrics(metrics: str | Metric | Iterable[str | Metric] | None) -> tuple[Metric, ...]:
    """Return the requested metrics in display order; none for None.

    Raises:
        ValueError: if one is unknown.
    """
    if metrics is None:
        return ()
    given = [metrics] if isinstance(metrics, str | Metric) else list(metrics)
    if not given:
        raise ValueError(f"metrics is empty; choose from {', '.join(known_metrics())}, or leave it out")
    found: dict[str, Metric] = {}
    for metric in map(metric_named, given):
        if metric.kind in TAKEN:
            raise ValueError(
                f"metrics: {metric.kind} is a reserved name in reports; register it as another kind"
            )
        if found.setdefault(metric.kind, metric) != metric:
            raise ValueError(f"metrics: {metric.kind} is given with two different settings; give it once")
    return tuple(found[kind] for kind in known_metrics() if kind in found)


def _chosen(features: str | FeaturesConfig) -> Any:
    """Return the settings of features; "auto" and "offline" are chosen when the data is known.

    Raises:
        ValueError: if there are no such features.
    """
    is_choice = isinstance(features, str) and features in (AUTO, OFFLINE)
    return features if is_choice else features_named(features)


def _trained_on(samples: Samples) -> DataConfig:
    if samples.own_data is None:
        raise ValueError(f"'{samples.name}' has only samples; name the data to compare them with by --data")
    return samples.own_data


def usual_metrics(inputs: Inputs) -> tuple[Metric, ...]:
    """Return the default metrics."""
    countable = inputs.real is not None and modes_are_countable(inputs.real)
    return check_metrics(["modes" if countable else "frechet", *(["speed"] if inputs.samples.model else [])])


def score(inputs: Inputs, metrics: Sequence[Metric]) -> Report:
    """Score one pass over the samples; then measure the model itself, in its own precision."""
    check(inputs, metrics)
    with tf32(False):
        evidence, seconds = gather(inputs, metrics)
        scores = {m.kind: _scored(m, evidence) for m in metrics if "model" not in m.needs}
    scores |= {m.kind: _scored(m, evidence) for m in metrics if "model" in m.needs}
    samples, real = inputs.samples, inputs.__dict__.get("real")  # None also if it was not opened
    return Report(
        data=inputs.data_name,
        split=None if real is None else real.split,
        data_checksum=None if real is None else real.checksum,
        num_real=None if real is None else len(real),
        samples=samples.name,
        num_samples=samples.count,
        seed=inputs.seed,
        nfe=None if samples.model is None else samples.model.nfe,
        features=_features_used(inputs, metrics),
        seconds=seconds,
        machine=describe_machine(inputs.device),
        scores={metric.kind: scores[metric.kind] for metric in metrics},
        warnings=(*samples.warnings, *evidence.warnings),
        pictures=evidence.pictures,
    )


def check(inputs: Inputs, metrics: Sequence[Metric]) -> None:
    """Check before any work that these inputs can be scored.

    Raises:
        ValueError: if not, naming the alternatives.
    """
    samples = inputs.samples
    if samples.model is None and (timed := _needing(metrics, "model")):
        raise ValueError(
            f"metrics: {_and(timed, 'needs', 'need')} a model, but '{samples.name}' has only samples; leave "
            "it out"
        )
    if inputs.published is not None and (others := _needing(metrics, "real", "classes")):
        able = [kind for kind in known_metrics() if not {"real", "classes"} & set(_needs_of(kind))]
        raise ValueError(
            f"metrics: {_and(others, 'needs', 'need')} real images, but '{inputs.data_name}' has only "
            f"statistics; choose from {', '.join(able)}"
        )
    if any(metric.needs != ("model",) for metric in metrics):
        real = inputs.real  # opened now, to refuse data of another shape before any work
        if (of_classes := _needing(metrics, "classes")) and (real is None or real.labels is None):
            raise ValueError(
                f"metrics: {_and(of_classes, 'needs', 'need')} labels, but '{inputs.data_name}' has none"
            )
    if _needing(metrics, "classes"):
        check_classifier(inputs.training)
    if _needing(metrics, "features", "probabilities"):
        inputs.check_features()
    for metric in metrics:
        metric.check(inputs)
    if (of_probabilities := _needing(metrics, "probabilities")) and not inputs.features.has_probabilities:
        raise ValueError(
            f"metrics: {_and(of_probabilities, 'needs', 'need')} class probabilities, which features "
            f"{inputs.features.name} do not have; use inception or classifier"
        )


def check_scoring(config: RunConfig, sample_shape: tuple[int, ...]) -> None:
    """Check before training that its scores can be taken, with all that they need, such as weights.

    Args:
        config: the settings of the run; where `training.score_samples` is "auto", only scores during training
            and features and metrics that are named are checked: a run without scores is better than none.
        sample_shape: the shape of its samples.

    Raises:
        ValueError: if not, naming the remedy.
    """
    training = config.training
    try:
        features, metrics = _chosen(training.features), check_metrics(training.metrics or None)
    except ValueError as error:
        raise ValueError(f"training.{error}") from None
    count = training.score_samples
    is_asked = training.features != AUTO or bool(metrics) or bool(training.score_interval(1))
    if not count or (count == AUTO and not is_asked):
        return
    number = training.interim_samples if isinstance(count, str) else count
    inputs = Inputs(
        Samples("model", sample_shape, number, lambda: iter(())),
        config.data,
        OFFLINE if count == AUTO and features == AUTO else features,
    )
    try:
        check(inputs, metrics or usual_metrics(inputs))
    except ValueError as error:
        raise ValueError(
            f"training.score_samples is {count}, but these scores cannot be taken: {error}; or set it to 0"
        ) from None


def _needing(metrics: Iterable[Metric], *needs: str) -> list[str]:
    return [metric.kind for metric in metrics if set(needs) & set(metric.needs)]


def _needs_of(kind: str) -> tuple[str, ...]:
    found: Any = find("metric", kind)
    return getattr(found, "needs", ())


def _and(names: list[str], one: str, many: str) -> str:
    return f"{' and '.join(names)} {one if len(names) == 1 else many}"


def gather(inputs: Inputs, metrics: Sequence[Metric]) -> tuple[Evidence, float]:
    """Collect what the metrics need from all samples; return it and the seconds spent sampling."""
    needs = {need for metric in metrics for need in metric.needs}
    count, device = inputs.samples.count, inputs.device
    by_features = by_classifier = None
    if needs & {"features", "probabilities"}:
        wanted = "probabilities" in needs or ("classes" in needs and inputs.features.has_probabilities)
        by_features = FeatureCollector(inputs.features, count, device, with_probabilities=wanted)
    if "classes" in needs:
        by_classifier = by_features
        if by_features is None or inputs.features is not inputs.classifier_features:
            features = inputs.classifier_features
            by_classifier = FeatureCollector(features, count, device, with_probabilities=True)
    own = {metric.kind: one for metric in metrics if (one := metric.collector(inputs)) is not None}
    shared = [by_features, None if by_classifier is by_features else by_classifier]
    seconds = show(inputs, [*(one for one in shared if one is not None), *own.values()])
    return Evidence(inputs, by_features, by_classifier, own), seconds


def show(inputs: Inputs, collectors: Sequence[Collector]) -> float:
    """Pass all samples to all collectors; return the seconds spent sampling."""
    clock = SamplingClock()
    if collectors:
        with progress_bar("scoring", inputs.samples.count, enabled=inputs.progress) as advance:
            for batch in clock.timed(inputs.samples.batches()):
                for collector in collectors:
                    collector.update(batch)
                advance(len(batch))
    return clock.seconds


def _scored(metric: Metric, evidence: Evidence) -> Any:
    found = metric.score(evidence)
    if not is_dataclass(found) or isinstance(found, type):
        raise ValueError(
            f"metrics: the score of {metric.kind} is a {type(found).__name__}; it must be a dataclass"
        )
    try:
        json.dumps(plain_score(found))
    except TypeError as error:
        raise ValueError(
            f"metrics: the score of {metric.kind} has no JSON form ({error}); its fields must be numbers, "
            "strings, or lists of them"
        ) from None
    return found


def _features_used(inputs: Inputs, metrics: Sequence[Metric]) -> FeaturesUsed | None:
    """Return the compared features; the classifier's if only classes were used."""
    if _needing(metrics, "features", "probabilities"):
        used = inputs.features
    elif _needing(metrics, "classes"):
        used = inputs.classifier_features
    else:
        return None
    return FeaturesUsed(used.name, used.checksum, dict(used.metadata))
