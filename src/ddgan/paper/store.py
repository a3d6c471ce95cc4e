"""The trained models that experiments share: reused, resumed if interrupted, each trained by one process.

OUT/models/NAME-seedK/                a run folder, see `ddgan.models.run_folder`
OUT/models/NAME-seedK/trained.json    written at the end of training: iterations, minutes, machine, commit
OUT/models/NAME-seedK/scores/         its scores, see `scoring`
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ddgan.config.ramps import in_words
from ddgan.config.run_config import RunConfig
from ddgan.models.opening import load
from ddgan.models.run_folder import CONFIG_NAME, LOG_NAME, read_log
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.paper.provenance import commit, machine
from ddgan.system.devices import choose_device
from ddgan.system.files import write_atomically
from ddgan.training.methods.gaussian_diffusion import GaussianDiffusionMethod
from ddgan.training.methods.wgan_gp import WGANGP
from ddgan.training.resuming import first_difference
from ddgan.training.trainer import Run, resume, train
from ddgan.training.workspace import checkpoints_of

__all__ = ["SCORES_FOLDER", "ModelSpec", "Store", "is_main"]

TRAINED_NAME, SCORES_FOLDER = "trained.json", "scores"


@dataclass(frozen=True)
class ModelSpec:
    """A model to train: its name, its settings (except the seed), and a short description."""

    name: str
    config: RunConfig
    about: str = ""


def settings_in_words(config: RunConfig) -> str:
    """Summarise the settings in which compared models may differ: loss, D, learning rates."""
    rates, method = config.optimization, config.method
    if isinstance(method, GaussianDiffusionMethod):
        return f"squared error of {config.diffusion.prediction}; rate {rates.generator.lr:g}"
    if isinstance(method, WGANGP):
        loss = [f"WGAN-GP {method.penalty_weight:g}, updates of D to G {method.critic_updates}:1"]
    else:
        loss = [method.adversarial.kind.replace("nonsaturating", "non-saturating")]
        loss += [f"{p.kind.upper()} {in_words(p.gamma)} every {p.every}" for p in method.penalties]
    if (term := getattr(method, "reconstruction", None)) is not None:
        loss.append(f"reconstruction {term.kind} x {term.weight:g}")
    (d,) = method.discriminators_of().values()
    return f"{', '.join(loss)}; D {d.kind}; rates {rates.generator.lr:g}, {rates.discriminator.lr:g}"


def is_main() -> bool:
    """Whether this is the process that writes files, among those that a launcher started for one run."""
    return os.environ.get("RANK", "0") == "0"


@lru_cache
def _settings(path: Path, written: int) -> RunConfig:
    """Load the settings in a file; `written`, its modification time, is part of the cache key."""
    return RunConfig.load(path)


@lru_cache(maxsize=16)
def _opened(path: Path, written: int) -> Any:
    """Load the model of a run folder on the best device; `written` is part of the cache key."""
    return load(path, choose_device("auto"))


class Store:
    """The trained models in one folder.

    Args:
        folder: the folder of the run folders.
        log: receives progress messages.
    """

    def __init__(self, folder: Path, log: Callable[[str], None] | None = None) -> None:
        self.folder, self._log = folder, log or (lambda line: None)
        commit()  # cache the commit of the loaded code; the checkout may change before a model is done

    def path(self, spec: ModelSpec, seed: int) -> Path:
        """Return the run folder of a model."""
        return self.folder / f"{spec.name}-seed{seed}"

    def has_metadata(self, spec: ModelSpec, seed: int) -> bool:
        """Whether the model was trained with these settings, even if its weights have been deleted."""
        path = self.path(spec, seed)
        if not (path / TRAINED_NAME).is_file() or not (path / CONFIG_NAME).is_file():
            return False
        self._check(spec, replace(spec.config, seed=seed), path)
        return True

    def is_trained(self, spec: ModelSpec, seed: int) -> bool:
        """Whether the model is trained and its weights exist."""
        path = self.path(spec, seed)
        return (path / TRAINED_NAME).is_file() and (path / WEIGHTS_NAME).is_file()

    def open(self, spec: ModelSpec, seed: int) -> Any:
        """Open a model on the best device; train it, or resume its training, first if needed.

        Raises:
            ValueError: if the folder holds a model with other settings.
            KeyboardInterrupt: if training was stopped by a signal; its progress is kept.
        """
        self._train(spec, seed, timeout=-1)
        path = self.path(spec, seed)
        return _opened(path, (path / WEIGHTS_NAME).stat().st_mtime_ns)

    def train_all(self, specs: Iterable[ModelSpec], seeds: Iterable[int]) -> None:
        """Train the models that are not trained yet.

        Several processes with the same models share the work: each skips models that another is training,
        and waits for them at the end.
        """
        from filelock import Timeout

        skipped = []
        for seed in seeds:
            for spec in specs:
                try:
                    self._train(spec, seed, timeout=0)
                except Timeout:
                    skipped.append((spec, seed))
        for spec, seed in skipped:
            self._log(f"{spec.name}, seed {seed}: waiting for another process to train it")
            self._train(spec, seed, timeout=-1)

    def metadata(self, spec: ModelSpec, seed: int) -> dict[str, Any]:
        """Return the metadata of a trained model: trained.json, and the settings in words."""
        found: dict[str, Any] = json.loads((self.path(spec, seed) / TRAINED_NAME).read_text(encoding="utf-8"))
        return found | {"settings": settings_in_words(spec.config)}

    def log_records(self, spec: ModelSpec, seed: int) -> list[dict[str, Any]]:
        """Read the log records of a model."""
        return read_log(self.path(spec, seed) / LOG_NAME)

    def _train(self, spec: ModelSpec, seed: int, timeout: float) -> None:
        """Train a model unless it is trained; filelock.Timeout if another process is training it."""
        from filelock import FileLock

        self.folder.mkdir(parents=True, exist_ok=True)
        path, config = self.path(spec, seed), replace(spec.config, seed=seed)
        lock = FileLock(self.folder / f".{path.name}.lock", timeout=timeout)
        with lock if is_main() else nullcontext():  # processes of one run train together
            if (path / CONFIG_NAME).is_file():
                self._check(spec, config, path)
            if self.is_trained(spec, seed):
                return
            run = self._run(spec, config, path)
            if run.interrupted:
                raise KeyboardInterrupt
            if is_main():
                self._remember(spec, config, path)

    def _run(self, spec: ModelSpec, config: RunConfig, path: Path) -> Run:
        self._log(
            f"training {spec.name}, seed {config.seed}: {config.training.planned_iterations:,} iterations"
        )
        if is_main():
            (path / TRAINED_NAME).unlink(missing_ok=True)  # left by a model whose weights are missing
        is_run = (path / CONFIG_NAME).is_file()
        if is_run and checkpoints_of(path, config.training).newest()[0] is not None:
            return resume(path, verbose=False)
        shutil.rmtree(path / SCORES_FOLDER, ignore_errors=True)
        return train(config, path, verbose=False, overwrite=True)

    def _check(self, spec: ModelSpec, config: RunConfig, path: Path) -> None:
        """Refuse a folder with other settings that affect learning, or with settings of another version."""
        file = path / CONFIG_NAME
        try:
            difference = first_difference(config, _settings(file, file.stat().st_mtime_ns))
        except ValueError as error:
            raise ValueError(
                f"'{path}' holds settings that cannot be read ({error}); name another --out, or remove it"
            ) from None
        if difference is not None:
            name, wanted, given = difference
            raise ValueError(
                f"'{path}' holds {spec.name} with other settings ({name} is {given!r}, not {wanted!r}); "
                "name another --out, or remove it"
            )

    def _remember(self, spec: ModelSpec, config: RunConfig, path: Path) -> None:
        last = read_log(path / LOG_NAME)[-1]
        metadata = {
            "name": spec.name,
            "seed": config.seed,
            "iterations": last["step"],
            "batch_size": config.training.batch_size,
            "minutes": round(last["seconds"] / 60, 2),
            "machine": machine(),
            "commit": commit(),
        }
        write_atomically(path / TRAINED_NAME, json.dumps(metadata, indent=2) + "\n")
