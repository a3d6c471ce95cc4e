"""Checkpoints: everything that training changes, in folders that are either complete or absent.

RUN/checkpoints/step-00001200/state.safetensors   networks, EMAs, the optimizers' moments, sums of the log
RUN/checkpoints/step-00001200/checkpoint.json     step, settings, score, checksum of the tensors; no pickle

Everything else in an iteration follows from (seed, step), so a resumed run is exactly the run that was
never interrupted.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddgan.models.checkpoint_file import (
    STATE_NAME,
    Checkpoint,
    DamagedError,
    read_checkpoint,
    read_own_metadata,
    write_metadata,
)
from ddgan.models.weights_file import in_words, misfits
from ddgan.system.files import folder_made_atomically, remove_partial, save_tensors, sha256_of
from ddgan.training.extension import Extension
from ddgan.training.state import TrainState

__all__ = ["STATISTICS", "Checkpoints", "restore"]

NAME = re.compile(r"step-\d+")
OPTIMIZER = "optimizer."
"""Prefix of the names of optimizer moments; an optimizer has the name of the network it trains."""
STATISTICS = "statistics"
"""Prefix of the names of the sums of an unfinished interval of the log, see `StatisticsMeter`."""


def state_tensors(state: TrainState) -> dict[str, Tensor]:
    """Return everything that training changes, by name."""
    tensors: dict[str, Tensor] = {}
    for name, network in state.saved_networks().items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in state.optimizers.items():
        for key, parameter in state.networks[name].named_parameters():
            moments = optimizer.state.get(parameter, {})
            tensors |= {
                f"{OPTIMIZER}{name}.{key}.{moment}": value
                for moment, value in moments.items()
                if isinstance(value, Tensor)
            }
    return tensors


@torch.no_grad()
def restore(state: TrainState, tensors: dict[str, Tensor], metadata: dict[str, Any]) -> None:
    """Load a checkpoint into a new state.

    Raises:
        ValueError: if the checkpoint does not match the state.
    """
    for name, network in state.saved_networks().items():
        prefix = f"{name}."
        weights = {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
        if wrong := misfits(network, weights):
            raise ValueError(
                f"the checkpoint does not match the settings of the run: in its {name} {in_words(wrong)}; "
                "restore config.yaml, or train a new run with --init"
            )
        network.load_state_dict(weights)
    for name, optimizer in state.optimizers.items():
        for key, parameter in state.networks[name].named_parameters():
            prefix = f"{OPTIMIZER}{name}.{key}."
            found = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            if moments := {k: _moment(v, parameter) for k, v in found.items() if "." not in k}:
                optimizer.state[parameter] = moments
    state.step, state.num_iterations = metadata["step"], metadata["num_iterations"]
    state.is_budgeted = metadata["is_budgeted"]
    state.extensions = tuple(Extension(*values) for values in metadata.get("extensions", ()))
    state.streak.fill_(metadata["streak"])
    state.longest_streak.fill_(metadata.get("longest_streak", 0))
    state.strength.fill_(metadata.get("strength", state.strength.item()))
    for name, scale in state.loss_scales.items():
        scale.restore(metadata["loss_scales"][name])
    state.license = metadata.get("license", "")


def _moment(value: Tensor, parameter: Tensor) -> Tensor:
    """Return a moment on the parameter's device, in its memory format."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)


class Checkpoints:
    """The checkpoints of a run, oldest first.

    Args:
        folder: where they lie.
        keep_last: number of newest checkpoints to keep.
        keep_every: also keep those at multiples of this many iterations; 0 for none.
    """

    def __init__(self, folder: Path, keep_last: int = 2, keep_every: int = 0) -> None:
        self.folder = folder
        self._keep_last, self._keep_every = keep_last, keep_every

    def paths(self) -> list[Path]:
        """Return the folders of all checkpoints, by step; other files there are ignored."""
        return sorted((path for path in self.folder.glob("step-*") if NAME.fullmatch(path.name)), key=_step)

    def path(self, step: int) -> Path:
        """Return the folder of the checkpoint at an iteration."""
        return self.folder / f"step-{step:08d}"

    def save(
        self, state: TrainState, metadata: dict[str, Any], statistics: Mapping[str, Tensor] | None = None
    ) -> Path:
        """Write a checkpoint, remove those no longer needed, and return its folder.

        Args:
            state: what to save.
            metadata: stored beside it, including that of a weights file; the checkpoint with the lowest
                `score` is never removed.
            statistics: sums of the log's unfinished interval, by name.

        Raises:
            OSError: if it cannot be written; earlier checkpoints are untouched.
        """
        path = self.path(state.step)
        known: dict[str, Any] = {"step": state.step, "num_iterations": state.num_iterations}
        known |= {"is_budgeted": state.is_budgeted, "streak": int(state.streak)}
        known |= {"extensions": [astuple(extension) for extension in state.extensions]}
        known |= {"longest_streak": int(state.longest_streak), "strength": float(state.strength)}
        if state.loss_scales:
            known["loss_scales"] = {name: scale.values() for name, scale in state.loss_scales.items()}
        known |= metadata
        with folder_made_atomically(path) as partial:
            sums = {f"{STATISTICS}.{name}": value for name, value in (statistics or {}).items()}
            save_tensors(partial / STATE_NAME, state_tensors(state) | sums)
            known["sha256"] = sha256_of(partial / STATE_NAME)
            write_metadata(partial, known)
        self._prune()
        return path

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest intact checkpoint and the problems of newer ones; damaged ones are removed.

        Raises:
            ValueError: if another version of ddgan wrote it.
        """
        problems: list[str] = []
        for path in reversed(self.paths()):
            try:
                return read_checkpoint(path), problems
            except DamagedError as error:
                problems.append(str(error))
                shutil.rmtree(path, ignore_errors=True)
            except OSError as error:  # it may be readable later
                problems.append(f"'{path}' cannot be read: {error}")
        return None, problems

    def scores(self) -> dict[int, float]:
        """Return the scores of checkpoints that have one, by iteration."""
        found = {_step(path): _score(path) for path in self.paths()}
        return {step: score for step, score in found.items() if score is not None}

    def clean(self) -> None:
        """Remove what a killed process left half-written."""
        remove_partial(self.folder)

    def _prune(self) -> None:
        paths, scores = self.paths(), self.scores()
        kept = {_step(path) for path in paths[-self._keep_last :]}
        if scores:
            kept.add(min(scores, key=lambda step: scores[step]))
        for path in paths:
            permanent = self._keep_every and _step(path) % self._keep_every == 0
            if _step(path) not in kept and not permanent:
                shutil.rmtree(path, ignore_errors=True)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _score(path: Path) -> float | None:
    try:
        score: float | None = read_own_metadata(path).get("score")
    except (OSError, ValueError):
        return None
    return score
