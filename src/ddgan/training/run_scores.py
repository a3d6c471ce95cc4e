"""The scores of a run, during training and at its end, as its settings ask for them."""

from __future__ import annotations

import warnings
from typing import Any

from ddgan.config.training import TrainingConfig
from ddgan.metrics import Report, evaluate
from ddgan.metrics.affordable import affordable
from ddgan.metrics.comparison_inputs import AUTO, OFFLINE
from ddgan.metrics.evaluation import evaluate_in_training
from ddgan.metrics.headline import headline
from ddgan.system.text import one_line
from ddgan.training.console import Logger

__all__ = ["best_by", "scored_at_the_end", "scored_in_training"]


def scored_in_training(model: Any) -> Report:
    """Compute the scores of a model that is being trained.

    Raises:
        ValueError: if they cannot be taken.
    """
    training = model.config.training
    return evaluate_in_training(
        model, training.interim_samples, features=_features(training), metrics=training.metrics
    )


def _scored(model: Any, *, progress: bool, **chosen: Any) -> Report:
    """Compute the scores that the settings request, or as `chosen`; their caveats are in the report."""
    training = model.config.training
    asked = {"n": training.score_samples, "metrics": training.metrics or None}
    asked |= {"features": _features(training)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return evaluate(model, **(asked | chosen), progress=progress)


def _features(training: TrainingConfig) -> str:
    is_left = training.features == AUTO and training.score_samples == AUTO
    return OFFLINE if is_left else training.features


def scored_at_the_end(model: Any, seconds: float, log: Logger) -> Report | None:
    """Compute the scores of a finished run of so many seconds; None if there are none to be had.

    Where the settings leave the number of samples to ddgan, scoring costs little, and no failure of it is one
    of the run.

    Raises:
        ValueError: if the settings ask for scores that cannot be taken.
    """
    training = model.config.training
    if training.score_samples != AUTO:
        if not training.score_samples:
            return None
        log(f"scoring {training.score_samples} samples")
        return _scored(model, progress=log.verbose)
    try:
        choice = affordable(model, seconds, features=training.features, metrics=training.metrics)
        log(f"scoring {choice.n} samples")
        return _scored(model, progress=log.verbose, **choice._asdict())
    except (ValueError, OSError, RuntimeError, MemoryError) as error:
        log(f"not scored: {one_line(error)}; ddgan evaluate does it at any cost, see below")
        return None


def best_by(report: Report, training: TrainingConfig) -> float | None:
    """Return the number that decides which checkpoint is best: lower is better; None without one."""
    found = headline(report.to_dict(), training.metrics)
    return None if found is None else found.loss
