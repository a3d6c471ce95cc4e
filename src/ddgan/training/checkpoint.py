"""Checkpoints: all that training changes, in folders that are whole or not there.

RUN/checkpoints/step-00001200/state.safetensors   networks, averages, the optimizers' moments
RUN/checkpoints/step-00001200/checkpoint.json     step, settings, score, checksum of the other; no pickle

Everything else of an iteration follows from (seed, step), so training goes on from a checkpoint exactly
as if it had never stopped.
"""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddgan.system.files import folder_made_atomically, read_tensors, remove_partial, save_tensors, sha256_of
from ddgan.training.state import Learner

STATE_NAME, FACTS_NAME = "state.safetensors", "checkpoint.json"
FORMAT = 1
MOMENTS = ("step", "exp_avg", "exp_avg_sq")
NAME = re.compile(r"step-\d+")


class DamagedError(ValueError):
    """A checkpoint that is not what was written."""


def state_tensors(state: Learner) -> dict[str, Tensor]:
    """What training has made, by name."""
    tensors: dict[str, Tensor] = {}
    for name, network in state.networks().items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    for name, (network, optimizer) in state.optimizers().items():
        for key, parameter in network.named_parameters():
            moments = optimizer.state.get(parameter, {})
            tensors |= {f"{name}.{key}.{moment}": moments[moment] for moment in moments}
    return tensors


@torch.no_grad()
def restore(state: Learner, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Give a new state what a checkpoint holds.

    Raises:
        ValueError: if the checkpoint does not fit the state.
    """
    try:
        for name, network in state.networks().items():
            network.load_state_dict({key: tensors[f"{name}.{key}"] for key in network.state_dict()})
        for name, (network, optimizer) in state.optimizers().items():
            for key, parameter in network.named_parameters():
                if f"{name}.{key}.step" in tensors:
                    optimizer.state[parameter] = _moments(f"{name}.{key}", tensors, parameter)
    except (KeyError, RuntimeError) as error:
        raise ValueError(f"the checkpoint does not fit the settings of the run: {error}") from None
    state.step, state.num_iterations = facts["step"], facts["num_iterations"]
    state.is_budgeted = facts["is_budgeted"]
    state.streak.fill_(facts["streak"])
    state.license = facts.get("license", "")


def _moments(name: str, tensors: dict[str, Tensor], parameter: Tensor) -> dict[str, Tensor]:
    moments = {"step": tensors[f"{name}.step"].to(parameter.device)}
    for moment in MOMENTS[1:]:  # in the parameter's own memory format
        moments[moment] = torch.empty_like(parameter).copy_(tensors[f"{name}.{moment}"])
    return moments


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was read and is whole.

    Attributes:
        path: its folder.
        facts: step, num_iterations, streak, seconds, config, score.
        tensors: see `state_tensors`; all, or those that were asked for.
    """

    path: Path
    facts: dict[str, Any]
    tensors: dict[str, Tensor]

    def weights(self, network: str) -> dict[str, Tensor]:
        """Those of the network that `Learner.networks` calls so."""
        prefix = f"{network}."
        return {key.removeprefix(prefix): t for key, t in self.tensors.items() if key.startswith(prefix)}


class Checkpoints:
    """The checkpoints of a run, oldest first.

    Args:
        folder: where they are.
        keep_last: how many of the newest are kept.
        keep_every: those at multiples of this many iterations are kept too; 0 for none.
    """

    def __init__(self, folder: Path, keep_last: int = 2, keep_every: int = 0) -> None:
        self.folder = folder
        self._keep_last, self._keep_every = keep_last, keep_every

    def paths(self) -> list[Path]:
        """The folders of all checkpoints, by step; what else lies there is left alone."""
        return sorted((path for path in self.folder.glob("step-*") if NAME.fullmatch(path.name)), key=_step)

    def path(self, step: int) -> Path:
        """Where the checkpoint of an iteration is."""
        return self.folder / f"step-{step:08d}"

    def save(self, state: Learner, facts: dict[str, Any]) -> Path:
        """Write a checkpoint, then remove those that need not be kept; returns its folder.

        Args:
            state: what to save.
            facts: more to remember; `score`, the lower the better, keeps the best one from removal.

        Raises:
            OSError: if it cannot be written; those written before are untouched.
        """
        path = self.path(state.step)
        known: dict[str, Any] = {"format": FORMAT, "step": state.step, "num_iterations": state.num_iterations}
        known |= {"is_budgeted": state.is_budgeted, "streak": int(state.streak)}
        known |= {"license": state.license, **facts}
        with folder_made_atomically(path) as partial:
            save_tensors(partial / STATE_NAME, state_tensors(state))
            known["sha256"] = sha256_of(partial / STATE_NAME)
            (partial / FACTS_NAME).write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
        self._prune()
        return path

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, and what is wrong with newer ones; those damaged are removed.

        Raises:
            ValueError: if it is of another version of ddgan.
        """
        problems: list[str] = []
        for path in reversed(self.paths()):
            try:
                return read_checkpoint(path), problems
            except DamagedError as error:
                problems.append(str(error))
                shutil.rmtree(path, ignore_errors=True)
            except OSError as error:  # it may be readable another time
                problems.append(f"'{path}' cannot be read: {error}")
        return None, problems

    def scores(self) -> dict[int, float]:
        """The scores of the checkpoints that have one, by iteration."""
        found = {_step(path): _score(path) for path in self.paths()}
        return {step: score for step, score in found.items() if score is not None}

    def clean(self) -> None:
        """Clear up what a kill left half-written."""
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


def is_checkpoint(path: Path) -> bool:
    """Whether a folder is one, whole or not."""
    return (path / FACTS_NAME).is_file()


def read_checkpoint(path: Path, prefix: str = "") -> Checkpoint:
    """A checkpoint, once its checksum is found right; of its tensors, those whose names begin so.

    Raises:
        DamagedError: if it is not whole.
        ValueError: if it is of another version.
        OSError: if it cannot be read now.
    """
    try:
        facts = json.loads((path / FACTS_NAME).read_text(encoding="utf-8"))
        is_ours = facts["format"] == FORMAT
        is_whole = is_ours and sha256_of(path / STATE_NAME) == facts["sha256"]
        tensors = read_tensors(path / STATE_NAME, prefix)[0] if is_whole else {}
    except (FileNotFoundError, KeyError, TypeError, ValueError) as error:
        raise DamagedError(f"'{path}' is damaged: {error}") from None
    if not is_ours:
        raise ValueError(
            f"'{path}' has format {facts['format']}; this version of ddgan reads {FORMAT}: go on with the "
            "version that wrote it"
        )
    if not is_whole:
        raise DamagedError(f"'{path / STATE_NAME}' is damaged: its checksum is wrong")
    return Checkpoint(path, facts, tensors)


def _step(path: Path) -> int:
    return int(path.name.removeprefix("step-"))


def _score(path: Path) -> float | None:
    try:
        return json.loads((path / FACTS_NAME).read_text(encoding="utf-8")).get("score")
    except (OSError, ValueError):
        return None
