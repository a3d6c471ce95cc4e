"""Resuming a run: finding its newest checkpoint, and checking that its settings have not changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ddgan.config.overrides import dotted
from ddgan.config.run_config import RunConfig
from ddgan.config.training import INDEPENDENT
from ddgan.models.checkpoint_file import Checkpoint, read_checkpoint
from ddgan.models.run_folder import CONFIG_NAME
from ddgan.system.files import remove_partial
from ddgan.system.processes import Processes
from ddgan.training.console import Logger
from ddgan.training.workspace import checkpoints_of

__all__ = ["check_same_settings", "first_difference", "free_changes", "newest_of_all"]

FREE = {f"training.{name}" for name in INDEPENDENT}
"""Settings that may change when a run is resumed."""


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
    """Refuse a config.yaml in which a setting that affects training was changed.

    Raises:
        ValueError: naming the first such setting and both values.
    """
    if (found := first_difference(config, saved)) is not None:
        name, ours, theirs = found
        raise ValueError(
            f"{name} is {ours!r} in {CONFIG_NAME}, but the checkpoint was made with {theirs!r}; change it "
            "back, or train a new run with --init"
        )


def first_difference(config: RunConfig, other: RunConfig) -> tuple[str, Any, Any] | None:
    """Return the first setting that affects training and differs: its dotted name and both values."""
    return next((found for found in _differences(config, other) if found[0] not in FREE), None)


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
