"""evaluate: sample a model, or read samples, and score them in one pass, as one report."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddgan.metrics.classes import balance_score, classes_score
from ddgan.metrics.collect import FeatureCollector, PixelKeeper
from ddgan.metrics.comparison_inputs import BY_CLASSIFIER, BY_FEATURES, Inputs
from ddgan.metrics.features import check_features, score_name
from ddgan.metrics.frechet import Statistics, frechet_score
from ddgan.metrics.inception_score import inception_score
from ddgan.metrics.kernel import kernel_score
from ddgan.metrics.memorisation import memorisation_score, neighbours_picture
from ddgan.metrics.modes import mode_counter, modes_are_countable
from ddgan.metrics.precision_recall import neighbour_scores
from ddgan.metrics.resampling import check_finite
from ddgan.metrics.result import METRICS, FeaturesUsed, Report
from ddgan.metrics.samples import Sampler, Samples, open_samples
from ddgan.metrics.speed import SamplingClock, describe_machine, measure_speed
from ddgan.models.precision import tf32
from ddgan.system.progress import progress_bar

DEFAULT_SAMPLES = 26_000
BY_NEIGHBOURS = ("precision_recall", "density_coverage")


def evaluate(
    model: Sampler | str | Path | np.ndarray | Tensor,
    data: str | None = None,
    metrics: str | Sequence[str] | None = None,
    n: int | None = None,
    seed: int = 0,
    *,
    features: str = "auto",
    split: str | None = None,
    held_out: str | None = None,
    progress: bool = False,
    device: str | torch.device = "cpu",
) -> Report:
    """Score `n` samples.

    Args:
        model: a DDGAN or a baseline, a run folder, a weights file or what else `DDGAN.from_pretrained` takes;
            or samples: a folder of PNG files, a .npz with `images` (uint8) or `points`, a prepared dataset, a
            uint8 array (N, H, W, C), a tensor (N, C, H, W), uint8 or in [-1, 1].
        data: what to compare with, a data source or a published .npz or .npy with mu and sigma; by default
            what the model was trained on.
        metrics: one or more of METRICS; by default "modes" where they can be counted, else "frechet", and
            "speed" of a model.
        n: number of samples; by default all of a file, and 26,000 of a model, the paper's StackedMNIST
            protocol (its other scores are of 50,000).
        seed: of the samples.
        features: "inception", "vgg16", "classifier", "pixels", or a TorchScript file with a .json beside it.
            "auto" is inception for colour images of 32 pixels and more, else classifier where the data has
            labels, else pixels.
        split: of the data to compare with, "train" if none is given.
        held_out: data that the model was not trained on, for memorisation; by default the split "test".
        progress: show progress bars.
        device: where features of samples in files are computed; those of a model are computed where it is.

    Returns:
        A field for each metric, None where it was not asked for, with N, seed, features and versions;
        `table()` and `to_dict()` give all of it.

    Raises:
        ValueError: if an argument is unknown, the samples are not like the data, or a file is damaged.
    """
    asked = check_metrics([metrics] if isinstance(metrics, str) else metrics)
    if features != "auto":
        check_features(features)
    samples = open_samples(model, n, seed, DEFAULT_SAMPLES)
    source = data if data is not None else _trained_on(samples)
    inputs = Inputs(samples, source, features, split, held_out, seed, progress, torch.device(device))
    if not asked:
        countable = inputs.real is not None and modes_are_countable(inputs.real)
        asked = {"modes" if countable else "frechet"} | ({"speed"} if samples.model else set())
    report = score(inputs, asked)
    for warning in report.warnings:
        warnings.warn(warning, stacklevel=2)
    return report


def check_metrics(metrics: Sequence[str] | None) -> set[str]:
    """The metrics asked for; none if that is left open.

    Raises:
        ValueError: if one is unknown.
    """
    unknown = sorted(set(metrics or ()) - set(METRICS))
    if unknown or (metrics is not None and not metrics):
        given = ", ".join(unknown) or "empty"
        raise ValueError(f"metrics: {given} is not known; choose from {', '.join(METRICS)}")
    return set(metrics or ())


def _trained_on(samples: Samples) -> str:
    if samples.model is None:
        raise ValueError(f"'{samples.name}' are samples in files; name what to compare them with: --data")
    return samples.model.config.data


def score(inputs: Inputs, asked: set[str]) -> Report:
    """All scores; the speed is that of the arithmetic which a user has."""
    inputs.check(asked)
    scores, pictures, seconds, main = scores_of_samples(inputs, asked)
    if "speed" in asked:
        assert inputs.samples.model is not None
        scores["speed"] = measure_speed(inputs.samples.model)
    return _report(inputs, scores, pictures, seconds, main)


@tf32(False)
def scores_of_samples(
    inputs: Inputs, asked: set[str]
) -> tuple[dict[str, Any], dict[str, np.ndarray], float, FeatureCollector | None]:
    """One pass over the samples: scores, pictures, the seconds of making them, and their features."""
    main = by_class = counter = keeper = None
    count, device = inputs.samples.count, inputs.device
    if asked & BY_FEATURES:
        wanted = "inception_score" in asked or bool(
            asked & BY_CLASSIFIER and inputs.features.has_probabilities
        )
        main = FeatureCollector(inputs.features, count, device, with_probabilities=wanted)
    if asked & BY_CLASSIFIER:
        by_class = main
        if main is None or inputs.features is not inputs.classifier_features:
            by_class = FeatureCollector(inputs.classifier_features, count, device, with_probabilities=True)
    if "modes" in asked:
        assert inputs.real is not None
        counter = mode_counter(inputs.real, lambda: inputs.classifier.judge)
    if "memorisation" in asked and len(inputs.samples.state_shape) == 3:
        keeper = PixelKeeper()
    seconds = collect(inputs, [main, None if by_class is main else by_class, counter, keeper])

    scores: dict[str, Any] = {}
    pictures: dict[str, np.ndarray] = {}
    if counter is not None:
        scores["modes"] = counter.score()
    if main is not None:
        scores |= distribution_scores(inputs, asked, main)
    if by_class is not None:
        scores |= class_scores(inputs, asked, by_class)
    if main is not None and "memorisation" in asked:
        scores["memorisation"], pictures = memorisation(inputs, main, keeper)
    return scores, pictures, seconds, main


def collect(inputs: Inputs, collectors: Sequence[Any]) -> float:
    """Show all samples to all collectors; returns the seconds of making them."""
    used = [collector for collector in collectors if collector is not None]
    clock = SamplingClock()
    if used:
        with progress_bar("scoring", inputs.samples.count, enabled=inputs.progress) as advance:
            for batch in clock.timed(inputs.samples.batches()):
                for collector in used:
                    collector.update(batch)
                advance(len(batch))
    return clock.seconds


def distribution_scores(inputs: Inputs, asked: set[str], main: FeatureCollector) -> dict[str, Any]:
    """The scores of features that were collected, against those of the real data."""
    scores: dict[str, Any] = {}
    name = inputs.features.name
    found = check_finite(main.features(), f"features {name} of the samples")
    if "inception_score" in asked:
        scores["inception_score"] = inception_score(
            score_name("inception_score", inputs.features), main.probabilities()
        )
    if "frechet" in asked:
        statistics = main.statistics()
        reference = inputs.published
        if reference is None:
            assert inputs.real is not None
            reference = inputs.real_features(inputs.real, inputs.features).statistics
        warn_of_rank(inputs, statistics, reference)
        scores["frechet"] = frechet_score(
            score_name("frechet", inputs.features), found, statistics, reference
        )
    if asked & {"kernel", *BY_NEIGHBOURS}:
        assert inputs.real is not None
        known = inputs.real_features(inputs.real, inputs.features).features
        if "kernel" in asked:
            scores["kernel"] = kernel_score(score_name("kernel", inputs.features), known, found)
        if asked & set(BY_NEIGHBOURS):
            both = neighbour_scores(known.to(inputs.device), found.to(inputs.device))
            scores |= {k: v for k, v in zip(BY_NEIGHBOURS, both, strict=True) if k in asked}
    return scores


def warn_of_rank(inputs: Inputs, samples: Statistics, real: Statistics) -> None:
    """Note where there are fewer samples, or real images, than the features have dimensions."""
    for statistics, kind in ((samples, "samples"), (real, "real images")):
        dimensions = len(statistics.mean)
        if statistics.rank < dimensions:
            inputs.warnings.append(
                f"{statistics.count:,} {kind} give a covariance of rank {statistics.rank:,} at most in "
                f"{dimensions:,} dimensions: the {score_name('frechet', inputs.features)} is too large; take "
                f"more than {dimensions:,}"
            )


def class_scores(inputs: Inputs, asked: set[str], collector: FeatureCollector) -> dict[str, Any]:
    """Balance and obedience of samples whose classes were collected."""
    scores: dict[str, Any] = {}
    read, accuracy = collector.probabilities().argmax(dim=1), inputs.classifier.accuracy
    if inputs.training.stacked:
        accuracy = accuracy**3  # all three digits of a number must be read
    if "balance" in asked:
        assert inputs.real is not None
        scores["balance"] = balance_score(read, inputs.real.class_shares(), accuracy)
    if "classes" in asked:
        assert inputs.samples.labels is not None
        assert inputs.training.labels is not None
        known = inputs.real_features(inputs.training, inputs.classifier_features)
        labels = torch.from_numpy(inputs.training.labels)[known.rows]
        scores["classes"] = classes_score(
            collector.features(), read, inputs.samples.labels, known.features, labels, accuracy
        )
    return scores


def memorisation(
    inputs: Inputs, main: FeatureCollector, keeper: PixelKeeper | None
) -> tuple[Any, dict[str, np.ndarray]]:
    """The score of features that were collected, and its picture."""
    known = inputs.real_features(inputs.training, inputs.features)
    unseen = inputs.real_features(inputs.unseen, inputs.features)
    train, held_out, samples = (
        features.to(inputs.device) for features in (known.features, unseen.features, main.features())
    )
    if len(train) < len(inputs.training):
        inputs.warnings.append(
            f"memorisation: only {len(train):,} of {len(inputs.training):,} training images were searched, "
            "so that share of copies is found"
        )
    score, distances, which = memorisation_score(train, held_out, samples)
    if keeper is None or inputs.samples.state_shape[0] > 4:
        return score, {}
    shown = neighbours_picture(keeper.images(), distances, known.rows[which], inputs.training.images)
    return score, {"neighbours": shown}


def _report(
    inputs: Inputs,
    scores: dict[str, Any],
    pictures: dict[str, np.ndarray],
    seconds: float,
    main: FeatureCollector | None,
) -> Report:
    samples, real = inputs.samples, inputs.__dict__.get("real")
    model = samples.model
    used = None
    if main is not None or scores.keys() & BY_CLASSIFIER:
        shown = inputs.features if main is not None else inputs.classifier_features
        used = FeaturesUsed(shown.name, shown.checksum, shown.facts)
    return Report(
        data=inputs.source,
        split=None if real is None else real.split,
        data_checksum=None if real is None else real.checksum,
        num_real=None if real is None else len(real),
        samples=samples.name,
        num_samples=samples.count,
        seed=inputs.seed,
        num_steps=None if model is None else model.calls_per_image,
        features=used,
        seconds=seconds,
        machine=describe_machine(inputs.device),
        warnings=(*samples.warnings, *inputs.warnings),
        pictures=pictures,
        **scores,
    )
