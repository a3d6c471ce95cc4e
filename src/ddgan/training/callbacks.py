"""Callbacks: logging, scoring, checkpointing and whatever else happens around the iterations.

    class Printing(Callback):
        def on_log(self, session, record):
            print(record["step"], record["loss_g"])

    ddgan.train("digits_quick", out="runs/mine", callbacks=[Printing()])

Every process calls them in order; only the one with `session.processes.is_main` should write files. User
callbacks run after those that measure and before those that write, so what they add to a record is logged.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ddgan.config.run_config import RunConfig
from ddgan.config.training import known_end
from ddgan.data.batch import Dataset
from ddgan.metrics import Report, evaluate
from ddgan.models.run_folder import BEST_NAME, GRID_NAME, LOG_NAME
from ddgan.models.sample_files import has_png_form, save_grid
from ddgan.models.weights_file import ema_file_name, metadata_of
from ddgan.system.processes import Processes, TrainingError
from ddgan.training.budget import MinuteBudget
from ddgan.training.console import LR_NAMES, Logger, memory_gb, summary, time_left
from ddgan.training.health import Health, memorised
from ddgan.training.state import TrainState
from ddgan.training.statistics import JsonLines, finite
from ddgan.training.tracking import Trackers
from ddgan.training.workspace import checkpoints_of

__all__ = ["Callback", "Session"]

SAVING_SHARE = 0.01
"""Writing checkpoints takes at most this share of the time."""
NUM_HELD_OUT = 256
"""Held-out samples on which D's mean logit is measured."""


class Session:
    """A run in progress: what callbacks can read and request.

    Args:
        config: the settings.
        state: the training state.
        dataset: the training data.
        processes: the processes of the run.
        path: the run folder.
        log: prints lines for the user.
        advance: moves the progress bar.
        seconds: training time before this start.

    Attributes:
        scores: scores of checkpoints by iteration; lower is better.
    """

    def __init__(
        self,
        config: RunConfig,
        state: TrainState,
        dataset: Dataset,
        processes: Processes,
        path: Path,
        log: Logger,
        advance: Callable[..., None],
        seconds: float = 0.0,
    ) -> None:
        self.config, self.state, self.dataset = config, state, dataset
        self.processes, self.path, self.log, self.advance = processes, path, log, advance
        self._seconds, self._start = seconds, time.monotonic()
        self._checkpoints = checkpoints_of(path, config.training)
        self.scores = self._checkpoints.scores()
        self.saved_at, self.saving_took = self._start, 0.0

    @property
    def seconds(self) -> float:
        """Training time so far, including earlier starts."""
        return self._seconds + time.monotonic() - self._start

    @property
    def seconds_before(self) -> float:
        """Training time before this start."""
        return self._seconds

    def model(self, ema: nn.Module | None = None) -> Any:
        """Return the first EMA, or the given one, as a model: a DDGAN, or whatever the method trains."""
        generator = self.state.ema if ema is None else ema
        shape = tuple(self.dataset.sample_shape)
        return self.config.method.open(generator, self.config, shape, self.state.license)

    def save(self) -> bool:
        """Write a checkpoint and the EMA weights; a full or broken disk is logged, not raised.

        Returns:
            Whether everything was written.
        """
        began = time.monotonic()
        metadata = metadata_of(self.config, self.dataset.sample_shape, self.state.license)
        metadata |= {"seconds": self.seconds, "data": self.dataset.checksum}
        if self.state.step in self.scores:
            metadata["score"] = self.scores[self.state.step]
        written = self._is_finite()  # after a streak of bad gradients the last good checkpoint is worth more
        if written:
            written = self.attempt(lambda: self._checkpoints.save(self.state, metadata))
            written &= self.attempt(self._save_weights)
        self.saved_at = time.monotonic()
        self.saving_took = self.saved_at - began
        return written

    def _is_finite(self) -> bool:
        norms = torch._foreach_norm(list(self.state.generator.parameters()), 1)
        return bool(torch.stack(norms).sum().isfinite())

    def _save_weights(self) -> None:
        """Write each EMA as a model."""
        half_lives = (None, *self.config.optimization.ema.half_lives)
        for half_life, ema in zip(half_lives, self.state.emas, strict=True):
            self.model(ema).save(self.path / ema_file_name(half_life))

    def save_grid(self, path: Path) -> None:
        """Write a grid of samples, always from the same noise; does nothing for points."""
        model = self.model()
        if has_png_form(model):
            self.attempt(lambda: save_grid(model, path))

    def attempt(self, write: Callable[[], object]) -> bool:
        """Call `write` and return whether it succeeded; a full or broken disk must not end training."""
        try:
            write()
        except OSError as error:
            self.log(f"warning: could not write in '{self.path}': {error}; training goes on")
            return False
        return True


class Callback:
    """The base of all callbacks, which does nothing; override what you need.

    Every process calls it: write files only where `session.processes.is_main`. In a record, values whose
    names end in `_by_t` are lists over t, with None where there is no finite mean.
    """

    def on_start(self, session: Session) -> None:
        """Called before the first iteration."""

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        """Called every `training.log_every` iterations; whatever is added to the record is logged."""

    def on_step(self, session: Session) -> None:
        """Called after each iteration."""

    def on_end(self, session: Session) -> None:
        """Called when training ends, for whatever reason."""


class Figures(Callback):
    """Adds images, speed, learning rates and memory to each record."""

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        state, size = session.state, session.config.training.batch_size
        record |= {
            "images": record["step"] * size,
            "seconds": session.seconds_before + record["seconds"],
            "images_per_second": record["iterations_per_second"] * size,
            **{LR_NAMES.get(name, f"lr_{name}"): lr for name, lr in state.learning_rates().items()},
            "memory_gb": memory_gb(session.processes.device),
        }


class HeldOutLogits(Callback):
    """Adds D's mean logit on held-out real samples to each record."""

    def on_start(self, session: Session) -> None:
        self._batch = session.dataset.held_out(NUM_HELD_OUT) if session.processes.is_main else None
        if self._batch is not None and session.config.conditions.label is None:
            self._batch = self._batch._replace(condition=None)

    @torch.no_grad()
    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        if self._batch is None:
            return
        logits = session.state.method.held_out_logits(session.state, self._batch, session.config.seed)
        if logits is not None:
            record["d_held_out"] = finite(logits.mean())
            record["memorised"] = memorised(record)


class HealthWatch(Callback):
    """Warns about signs of trouble."""

    def on_start(self, session: Session) -> None:
        self._health = Health()

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        found = self._health.warnings(record) if session.processes.is_main else []
        if found:
            record["warnings"] = found
        for warning in found:
            session.log(f"warning at iteration {session.state.step}: {warning}")


class StuckStop(Callback):
    """Stops a run after too many consecutive iterations with a non-finite gradient."""

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        streak = int(session.state.streak)  # the same in every process
        if streak < session.config.training.max_skipped:
            return
        if session.processes.is_main:
            session.save()
        raise TrainingError(
            f"stopped at iteration {session.state.step}: {streak} iterations in a row had a non-finite "
            f"gradient; the last good state is in '{session.path}'. Look for bad images "
            "with ddgan prepare --check, lower the learning rates, or use --training.precision float32"
        )


class LogFile(Callback):
    """Writes each record to log.jsonl and to the trackers."""

    def on_start(self, session: Session) -> None:
        self._file: JsonLines | None = None
        if session.processes.is_main:
            self._file = JsonLines(session.path / LOG_NAME)
            names, folder = session.config.training.trackers, session.path / "trackers"
            self._trackers = Trackers(names, folder, session.path.name, session.config.to_dict())

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        if self._file is not None:
            session.attempt(lambda: self._write(record))

    def _write(self, record: dict[str, Any]) -> None:
        assert self._file is not None
        self._file.write(record)
        self._trackers.log(record)

    def on_end(self, session: Session) -> None:
        if self._file is not None:
            session.attempt(self._file.close)
            session.attempt(self._trackers.close)


class Progress(Callback):
    """Shows progress on the terminal."""

    def on_step(self, session: Session) -> None:
        session.advance(1)

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        state, training = session.state, session.config.training
        end = known_end(state.num_iterations)
        left = (state.num_iterations - state.step) * training.batch_size / record["images_per_second"]
        rest = f"of {training.max_minutes:g} min" if end is None else f"{time_left(left)} left"
        session.advance(0, summary(record), end)
        session.log.sometimes(f"{state.step}/{end or '?'}  {rest}  {summary(record)}")


class Budget(Callback):
    """Converts a time budget into a number of iterations, once, after a warm-up."""

    def on_start(self, session: Session) -> None:
        minutes = session.config.training.max_minutes
        self._is_measuring = minutes > 0 and not session.state.is_budgeted
        self._budget = MinuteBudget(minutes, session.state.step, session.seconds_before)

    def on_step(self, session: Session) -> None:
        if not self._is_measuring:
            return
        end = self._budget.iterations(session.state.step, session.processes)
        if end is None:
            return
        session.state.num_iterations, session.state.is_budgeted = end, True  # saved in checkpoints
        self._is_measuring = False
        session.log(f"time budget of {session.config.training.max_minutes:g} min: {end} iterations")
        if session.processes.is_main:
            session.save()


class Grids(Callback):
    """Writes grids of samples from the same noise during training."""

    def on_step(self, session: Session) -> None:
        every, step = session.config.training.grid_every, session.state.step
        if every and step % every == 0 and session.processes.is_main:
            session.save_grid(session.path / "grids" / f"{step:08d}.png")


class ScoresAndCheckpoints(Callback):
    """Scores the model during training, and saves checkpoints: scored ones, permanent ones, and by time."""

    def on_step(self, session: Session) -> None:
        training, step = session.config.training, session.state.step
        if not session.processes.is_main:
            return
        if training.score_every and step % training.score_every == 0:
            self._score(session)
        elif (training.keep_every and step % training.keep_every == 0) or self._is_due(session):
            session.save()

    def _is_due(self, session: Session) -> bool:
        wait = max(60 * session.config.training.checkpoint_minutes, session.saving_took / SAVING_SHARE)
        return time.monotonic() - session.saved_at >= wait

    def _score(self, session: Session) -> None:
        step = session.state.step
        try:
            report = scored(session.model())
        except (ValueError, OSError) as error:  # features that are not available, say
            session.log(f"warning: could not score at iteration {step}: {error}; training goes on")
            session.save()
            return
        score = headline(report)
        session.log(f"iteration {step}: " + "; ".join(" ".join(row) for row in report.table()[:3]))
        if score is not None:
            if score < min(session.scores.values(), default=math.inf):
                session.attempt(lambda: session.model().save(session.path / BEST_NAME))
            session.scores[step] = score
        session.save()


def callbacks_of(added: Sequence[Callback] = ()) -> list[Callback]:
    """Return all callbacks of a run, in order."""
    measuring = [Figures(), HeldOutLogits(), Progress(), Budget()]
    return [*measuring, *added, HealthWatch(), LogFile(), StuckStop(), Grids(), ScoresAndCheckpoints()]


def save_at_the_end(session: Session) -> None:
    """Write the final checkpoint, weights and grid of samples.

    Raises:
        TrainingError: if they cannot be written; an earlier checkpoint may exist.
    """
    if not session.save():
        raise TrainingError(
            f"training ended at iteration {session.state.step}, but its weights could not be written "
            f"to '{session.path}'; free some space, then --resume continues from the last checkpoint there"
        )
    session.save_grid(session.path / GRID_NAME)


def scored(model: Any, *, progress: bool = False) -> Report:
    """Compute the scores that the settings request; their caveats are in the report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return evaluate(model, n=model.config.training.score_samples, progress=progress)


def headline(report: Report) -> float | None:
    """Return the score that decides which checkpoint is best, KL or Fréchet distance; lower is better."""
    if report.modes is not None:
        return report.modes.kl
    return None if report.frechet is None else report.frechet.value
