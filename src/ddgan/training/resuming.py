"""Resuming a run: finding its newest checkpoint, checking that its settings are the same, another length."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ddgan.config.overrides import dotted
from ddgan.config.run_config import RunConfig
from ddgan.config.training import INDEPENDENT, LENGTHS, known_end
from ddgan.models.checkpoint_file import Checkpoint, read_checkpoint
from ddgan.models.run_folder import CONFIG_NAME
from ddgan.system.files import remove_partial
from ddgan.system.processes import Processes
from ddgan.training.console import Logger
from ddgan.training.extension import rates_after
from ddgan.training.state import TrainState
from ddgan.training.workspace import checkpoints_of

__all__ = [
    "change_length",
    "check_length",
    "check_same_settings",
    "first_difference",
    "free_changes",
    "has_other_length",
    "newest_of_all",
    "with_length",
]

FREE = {f"training.{name}" for name in INDEPENDENT}
"""Settings that may change when a run is resumed, without an effect on what it learns."""
OF_LENGTH = {f"training.{name}" for name in LENGTHS}


def newest_of_all(path: Path, config: RunConfig, processes: Processes, log: Logger) -> Checkpoint:
    """Return the newest intact checkpoint, the same on every process.

    Raises:
        ValueError: if there is none, or another version of ddgan wrote it.
    """
    checkpoints = checkpoints_of(path, config.training)
    newest, problems = None, list[str]()
    if processes.is_main:
        remove_partial(path)
        checkpoints.clean()
        newest, problems = checkpoints.newest()
    for problem in problems:
        log(f"warning: {problem}; using an older checkpoint")
    step = processes.largest(-1 if newest is None else newest.metadata["step"])
    if step < 0:
        raise ValueError(f"'{path}' has no intact checkpoint; train again with --overwrite")
    return newest or read_checkpoint(checkpoints.path(step))


def check_same_settings(config: RunConfig, saved: RunConfig) -> None:
    """Refuse a config.yaml in which a setting that affects training was changed, other than its length.

    Raises:
        ValueError: naming the first such setting and both values.
    """
    if (found := first_difference(config, saved, OF_LENGTH)) is not None:
        name, ours, theirs = found
        raise ValueError(
            f"{name} is {ours!r} in {CONFIG_NAME}, but the checkpoint was made with {theirs!r}; change it "
            "back, or train a new run with --init"
        )


def first_difference(
    config: RunConfig, other: RunConfig, ignored: Collection[str] = ()
) -> tuple[str, Any, Any] | None:
    """Return the first setting that affects training and differs: its dotted name and both values.

    Those `ignored` are not looked at.
    """
    found = (one for one in _differences(config, other) if one[0] not in FREE and one[0] not in ignored)
    return next(found, None)


def with_length(
    config: RunConfig,
    seconds: float,
    minutes: float | None = None,
    num_iterations: int | None = None,
    max_images: int | None = None,
) -> RunConfig:
    """Return the settings of a run with another length; with none given, unchanged.

    Args:
        config: the settings.
        seconds: training time so far.
        minutes: training time from now on.
        num_iterations: iterations in all, with those done.
        max_images: images in all, with those seen.

    Raises:
        ValueError: if more than one is given, or it is not a valid length.
    """
    given = {"minutes": minutes, "num_iterations": num_iterations, "max_images": max_images}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise ValueError(f"{' and '.join(names)} are both given; a run has one length, so give one")
    if not names:
        return config
    lengths: dict[str, Any] = {"training.max_images": 0, "training.max_minutes": 0.0}
    if minutes is None:
        lengths[f"training.{names[0]}"] = given[names[0]]
        if max_images is not None and max_images < 1:
            raise ValueError(f"max_images is {max_images}; it must be at least 1")
    else:
        is_number = isinstance(minutes, int | float) and not isinstance(minutes, bool)
        if not is_number or not math.isfinite(minutes) or minutes <= 0:
            raise ValueError(f"minutes is {minutes!r}; it must be a number above 0, the minutes to add")
        lengths["training.max_minutes"] = seconds / 60 + minutes
    return config.changed(lengths)


def has_other_length(config: RunConfig, saved: RunConfig) -> bool:
    """Whether two configurations state different lengths."""
    return any(getattr(config.training, name) != getattr(saved.training, name) for name in LENGTHS)


def check_length(config: RunConfig, step: int, seconds: float) -> None:
    """Check that the length of a configuration is beyond what is done: `step` iterations in `seconds`.

    Raises:
        ValueError: if it is not.
    """
    training = config.training
    if training.max_minutes:
        name, asked, is_beyond = "max_minutes", training.max_minutes, 60 * training.max_minutes > seconds
        done = f"trained for {seconds / 60:.3g} minutes"
    elif training.max_images:
        name, asked, is_beyond = "max_images", training.max_images, training.planned_iterations > step
        done = f"seen {step * training.batch_size:,} images"
    else:
        name, asked, is_beyond = "num_iterations", training.num_iterations, training.num_iterations > step
        done = f"done {step:,} iterations"
    if not is_beyond:
        raise ValueError(
            f"training.{name} is {asked:,}, but the run has {done} already; give a larger number, in all"
        )


def change_length(state: TrainState, config: RunConfig, saved: RunConfig, seconds: float) -> str:
    """Give a run the length of its settings, if the checkpoint was made with another.

    Args:
        state: the state, at the checkpoint.
        config: the settings.
        saved: those of the checkpoint.
        seconds: training time so far.

    Returns:
        A line for the log; empty if the length stays.
    """
    training, before = config.training, known_end(state.num_iterations)
    end = known_end(training.planned_iterations)
    if not has_other_length(config, saved) or (end is not None and end == before):
        return ""
    state.change_length(training.planned_iterations)
    if end is None:
        line = f"training for {training.max_minutes - seconds / 60:.3g} more minutes"
        held = "learning rates and ramps stay where they are until the number of iterations is known"
        return f"{line}; {held}" if state.is_held else line
    if before is None and not state.extensions:
        return ""
    was = "" if before is None else f" instead of {before:,}"
    return f"training for {end:,} iterations{was}; {rates_after(state.step, end)}"


def free_changes(config: RunConfig, saved: RunConfig) -> list[str]:
    """Say which settings that do not affect training have another value than in the checkpoint."""
    return [
        f"{name} is now {ours!r} (it was {theirs!r})"
        for name, ours, theirs in _differences(config, saved)
        if name in FREE
    ]


def _differences(config: RunConfig, other: RunConfig) -> Iterator[tuple[str, Any, Any]]:
    ours, theirs = dict(dotted(config.to_dict())), dict(dotted(other.to_dict()))
    for name in dict.fromkeys([*ours, *theirs]):
        if ours.get(name) != theirs.get(name):
            yield name, ours.get(name), theirs.get(name)
