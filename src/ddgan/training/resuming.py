"""Where a run goes on: from which checkpoint, and whether its settings are still those of before."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from ddgan.config.run_config import RunConfig
from ddgan.config.training import INDEPENDENT
from ddgan.models.run_folder import CONFIG_NAME, checkpoints_of
from ddgan.system.files import remove_partial
from ddgan.system.processes import Processes
from ddgan.training.checkpoint import Checkpoint, read_checkpoint
from ddgan.training.console import Speaker


def newest_of_all(path: Path, config: RunConfig, processes: Processes, say: Speaker) -> Checkpoint:
    """The newest whole checkpoint that the main process finds, for all of them.

    Raises:
        ValueError: if there is none, or it is of another version of ddgan.
    """
    checkpoints = checkpoints_of(path, config.training)
    newest, problems = None, list[str]()
    if processes.is_main:
        remove_partial(path)
        checkpoints.clean()
        newest, problems = checkpoints.newest()
    for problem in problems:
        say(f"warning: {problem}; taking an older checkpoint")
    step = processes.largest(-1 if newest is None else newest.facts["step"])
    if step < 0:
        raise ValueError(f"'{path}' has no whole checkpoint; train it anew with --overwrite")
    return newest or read_checkpoint(checkpoints.path(step))


def check_same_settings(config: RunConfig, saved: dict[str, Any]) -> None:
    """Complain where config.yaml was changed in a setting that matters.

    A setting that did not exist yet when `saved` was written had its default.

    Raises:
        ValueError: naming the first such setting, and both values.
    """
    for section, ours in config.to_dict().items():
        theirs = saved.get(section)
        if not isinstance(ours, dict) or not isinstance(theirs, dict):
            ours, theirs = {"": ours}, {"": theirs}
        else:
            theirs = _defaults(getattr(config, section)) | theirs
        for name in ours.keys() | theirs.keys():
            if ours.get(name) != theirs.get(name) and not (section == "training" and name in INDEPENDENT):
                raise ValueError(
                    f"{section}.{name}".rstrip(".") + f" is {ours.get(name)!r} in {CONFIG_NAME}, but the "
                    f"checkpoint was made with {theirs.get(name)!r}; put it back, or train a new run "
                    "with --init"
                )


def _defaults(section: Any) -> dict[str, Any]:
    """What a section's settings are where they are not given, as JSON has them."""
    return json.loads(json.dumps(dataclasses.asdict(type(section)())))
