"""Callbacks: logging, scoring, checkpointing and whatever else happens around the iterations.

    class Printing(Callback):
        def on_log(self, session, record):
            print(record["step"], record["loss_g"])

    ddgan.train("digits_quick", out="runs/mine", callbacks=[Printing()])

Every process calls them in order; only the one with `session.processes.is_main` should write files. User
callbacks run after those that measure and before those that write, so what they add to a record is logged.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ddgan.config.run_config import RunConfig
from ddgan.config.training import known_end
from ddgan.data.batch import Dataset
from ddgan.metrics.resampling import within
from ddgan.models.averages import snapshot_name
from ddgan.models.run_folder import (
    AVERAGES_NAME,
    BEST_NAME,
    CONFIG_NAME,
    GRID_NAME,
    HISTORY_NAME,
    LOG_NAME,
    read_log,
)
from ddgan.models.sample_files import has_png_form, save_grid
from ddgan.models.weights_file import ema_file_name, metadata_of
from ddgan.system.devices import wait_for
from ddgan.system.files import save_tensors, write_atomically
from ddgan.system.processes import Processes, TrainingError
from ddgan.system.seal import sealed
from ddgan.system.text import one_line
from ddgan.training.budget import MinuteBudget
from ddgan.training.console import LR_NAMES, Logger, memory_gb, pace
from ddgan.training.extension import rates_after
from ddgan.training.gradients import gradient_norms
from ddgan.training.health import STARTING, Health, memorised, slow_emas
from ddgan.training.run_scores import scored_in_training
from ddgan.training.setup import training_inputs
from ddgan.training.state import TrainState
from ddgan.training.statistics import JsonLines, StatisticsMeter, finite
from ddgan.training.tracking import Trackers
from ddgan.training.verdict import InterimScore, Verdict, interim_score, verdict
from ddgan.training.workspace import checkpoints_of

__all__ = ["Callback", "Session"]

SAVING_SHARE = 0.01
"""Writing checkpoints takes at most this share of the time."""
PACED_ITERATIONS, PACED_SECONDS = 20, 10.0
"""The speed is measured over so many iterations, or so many seconds if that is shorter."""
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
        meter: averages the statistics until the next log record.
        seconds: training time before this start.
        history: the scores during training before this start, oldest first.

    Attributes:
        scores: scores of checkpoints by iteration; lower is better.
        history: the scores during training, oldest first.
        state_in_words: the newest state of training, such as "balanced"; see `ddgan.training.health`.
        is_over: whether `training.stop_when` ends the run; the same on every process.
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
        meter: StatisticsMeter,
        seconds: float = 0.0,
        history: Sequence[InterimScore] = (),
    ) -> None:
        self.config, self.state, self.dataset = config, state, dataset
        self._meter = meter
        self.processes, self.path, self.log, self.advance = processes, path, log, advance
        self._seconds, self._start = seconds, time.monotonic()
        self._checkpoints = checkpoints_of(path, config.training)
        self.history, self.state_in_words, self.is_over = list(history), STARTING, False
        self.scores = self._checkpoints.scores() | {score.step: score.value for score in history}
        self.saved_at, self.saving_took, self.grid_at = self._start, 0.0, self._start
        self._unwritten = set[str]()

    @property
    def seconds(self) -> float:
        """Training time so far, including earlier starts."""
        return self._seconds + time.monotonic() - self._start

    @property
    def seconds_before(self) -> float:
        """Training time before this start."""
        return self._seconds

    @property
    def is_finished(self) -> bool:
        """Whether there is no iteration left to do."""
        return self.is_over or self.state.step >= self.state.num_iterations

    @property
    def verdict(self) -> Verdict | None:
        """What the scores so far say, see `ddgan.training.verdict`; None if there are none."""
        return verdict(self.history) if self.history else None

    def model(self, ema: nn.Module | None = None) -> Any:
        """Return the first EMA, or the given one, as a model: a DDGAN, or whatever the method trains."""
        generator = self.state.ema if ema is None else ema
        shape = tuple(self.dataset.sample_shape)
        model = self.config.method.open(generator, self.config, shape, self.state.license)
        model.data_checksum = self.dataset.checksum
        return model

    def save(self) -> bool:
        """Write a checkpoint and the EMA weights; a full or broken disk is logged, not raised.

        Only the main process must call it. With several processes, the first log record after resuming from
        the checkpoint then lacks the others' samples of the time before it; see `save_together`.

        Returns:
            Whether everything was written.
        """
        return self._save(self._meter.unfinished(together=False))

    def save_together(self) -> bool:
        """Do the same with the statistics of all processes, which must all call it; the main one writes."""
        unfinished = self._meter.unfinished()
        return self._save(unfinished) if self.processes.is_main else True

    def _save(self, unfinished: dict[str, Tensor]) -> bool:
        began = time.monotonic()
        metadata = metadata_of(self.config, self.dataset.sample_shape, self.state.license)
        metadata |= {"seconds": self.seconds, "data": self.dataset.checksum}
        if self.state.step in self.scores:
            metadata["score"] = self.scores[self.state.step]
        if self.history:
            metadata[HISTORY] = [score.to_dict() for score in self.history]
        written = self.state.is_finite()  # the last good checkpoint is worth more than one that is not
        if written:
            saved = self._checkpoints.save
            written = self.attempt(lambda: saved(self.state, metadata, unfinished), "a checkpoint")
            written &= self.attempt(self._save_weights, "the weights")
        else:
            self.log(
                f"warning: weights are not finite at iteration {self.state.step}; no checkpoint is written"
            )
        self.saved_at = time.monotonic()
        self.saving_took = self.saved_at - began
        return written

    def _save_weights(self) -> None:
        """Write each EMA as a model."""
        half_lives = (None, *self.config.optimization.ema.half_lives)
        for half_life, ema in zip(half_lives, self.state.emas, strict=False):  # then those of `lengths`
            self.model(ema).save(self.path / ema_file_name(half_life))

    def save_averages(self) -> None:
        """Save the power-function averages in half precision, see `ddgan.models.averages`."""
        lengths = self.config.optimization.ema.lengths
        for length, ema in zip(lengths, self.state.emas[-len(lengths) :], strict=True):
            tensors = {name: tensor.half() for name, tensor in ema.state_dict().items()}
            save_tensors(self.path / AVERAGES_NAME / snapshot_name(self.state.step, length), tensors)

    def save_grid(self, path: Path, n: int = 64) -> None:
        """Write a grid of n samples, always from the same noise; does nothing for points."""
        model = self.model()
        if not has_png_form(model):
            return

        def write() -> None:
            try:
                save_grid(model, path, n)
            except (ValueError, MemoryError, torch.cuda.OutOfMemoryError) as error:
                raise OSError(one_line(error)) from None

        self.attempt(write, "a grid of samples")
        self.grid_at = time.monotonic()

    def attempt(self, write: Callable[[], object], what: str = "a file") -> bool:
        """Call `write`, which writes `what`, and return whether it succeeded.

        A full or broken disk must not end training: it is logged, once until `what` is written again.
        """
        try:
            write()
        except OSError as error:
            if what not in self._unwritten:
                reason = one_line(error)
                self.log(f"warning: could not write {what} in '{self.path}': {reason}; training goes on")
            self._unwritten.add(what)
            return False
        self._unwritten.discard(what)
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


HISTORY = "history"
"""Entry of a checkpoint's metadata: the scores during training."""


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
        if self._batch is not None:
            condition = session.config.conditions.of(self._batch.condition)
            self._batch = self._batch._replace(condition=condition)

    @torch.no_grad()
    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        if self._batch is None:
            return
        logits = session.state.method.held_out_logits(session.state, self._batch, session.config.seed)
        if logits is not None:
            record["d_held_out"] = finite(logits.mean())
            record["memorised"] = memorised(record)


class HealthWatch(Callback):
    """Adds the state of training in words to each record, and warns about signs of trouble."""

    def on_start(self, session: Session) -> None:
        self._health = Health(guessing=session.config.method.guessing_loss())
        log = session.path / LOG_NAME
        for record in read_log(log) if session.processes.is_main and log.is_file() else ():
            self._health.warnings(record)  # a resumed run remembers them
            session.state_in_words = self._health.state(record)

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        record["state"] = session.state_in_words = self._health.state(record)
        if session.processes.is_main and (judged := session.verdict) is not None:
            record["verdict"] = judged.sentence
        found = self._health.warnings(record) if session.processes.is_main else []
        if found:
            record["warnings"] = found
        for warning in found:
            session.log(f"warning at iteration {session.state.step}: {warning}")


class StuckStop(Callback):
    """Stops a run after too many consecutive iterations with a non-finite gradient.

    They are counted on the device. Reading the count would make a GPU wait, so there it is read when a log
    line has waited already; `check_trained` reads it at the end.
    """

    def on_step(self, session: Session) -> None:
        if session.state.step % self._interval(session) == 0:
            check_skipped(session)

    def _interval(self, session: Session) -> int:
        return 1 if session.processes.device.type == "cpu" else session.config.training.log_every


def check_skipped(session: Session) -> None:
    """Check that gradients are finite often enough; every process must call it, and all decide alike.

    Raises:
        TrainingError: after too many consecutive iterations with a non-finite gradient.
    """
    count = session.state.most_skipped()
    if count >= session.config.training.max_skipped:
        raise stuck(session, count)


def stuck(session: Session, count: int) -> TrainingError:
    """Save the state of a run in which `count` consecutive iterations were skipped, and return the error."""
    session.state.longest_streak.zero_()  # it has been reported; a run that recovers may be resumed
    session.save_together()
    return TrainingError(
        f"stopped at iteration {session.state.step}: {count} iterations in a row had a non-finite "
        f"gradient; the last good state is in '{session.path}'. Look for bad images "
        f"with ddgan prepare --check, {REMEDY}"
    )


REMEDY = "lower the learning rates, or use --training.precision float32"
"""What helps against numbers that are not finite."""


class LogFile(Callback):
    """Writes each record to log.jsonl and to the trackers."""

    _file: JsonLines | None = None
    _trackers: Trackers | None = None

    def on_start(self, session: Session) -> None:
        if session.processes.is_main:
            self._file = JsonLines(session.path / LOG_NAME)
            names, folder = session.config.training.trackers, session.path / "trackers"
            try:
                self._trackers = Trackers(names, folder, session.path.name, session.config.to_dict())
            except OSError as error:
                raise TrainingError(
                    f"training.trackers {', '.join(names)} could not be started: {one_line(error)}; mend "
                    f"that, or leave them out of {session.path / CONFIG_NAME}, then --resume"
                ) from None

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        if self._file is not None:
            file = self._file
            session.attempt(lambda: file.write(record), LOG_NAME)
        if self._trackers is not None:
            trackers = self._trackers
            session.attempt(lambda: trackers.log(record), "to the trackers")

    def on_end(self, session: Session) -> None:
        if self._file is not None:
            session.attempt(self._file.close, LOG_NAME)
        if self._trackers is not None:
            session.attempt(self._trackers.close, "to the trackers")


class AdaptAugmentation(Callback):
    """Adapts the strength of the augmentation of D to its overfitting, at each log line."""

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        training, state = session.config.training, session.state
        seen = training.log_every * training.batch_size / 1000
        strength = session.config.method.adapted_strength(float(state.strength), record, seen)
        if strength is not None:
            state.strength.fill_(strength)
            record["augmentation"] = strength


class GradientNorms(Callback):
    """Measures the gradient of each term of each loss on the next batch, at each log line, if asked to."""

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        if session.config.training.gradient_norms:
            inputs = training_inputs(session.config, session.dataset, session.processes)
            record |= gradient_norms(session.state, *inputs(session.state.step))


class Pace(Callback):
    """Says once, after the first iterations, how long one takes and when training will end."""

    def on_start(self, session: Session) -> None:
        self._first_step, self._since, self._is_measuring = session.state.step, 0.0, True

    def on_step(self, session: Session) -> None:
        done = session.state.step - self._first_step - 1  # the first takes longer and is not timed
        if done == 0:
            wait_for(session.processes.device)
            self._since = time.monotonic()
        elif self._is_measuring and (
            done == PACED_ITERATIONS or time.monotonic() - self._since > PACED_SECONDS
        ):
            self._is_measuring = False
            wait_for(session.processes.device)
            state = session.state
            session.log(pace((time.monotonic() - self._since) / done, state.step, state.num_iterations))


class Budget(Callback):
    """Converts a time budget into a number of iterations, once, after a warm-up."""

    def on_start(self, session: Session) -> None:
        minutes = session.config.training.max_minutes
        self._is_measuring = minutes > 0 and not session.state.is_budgeted
        self._budget = MinuteBudget(minutes, session.state.step, session.seconds_before)

    def on_step(self, session: Session) -> None:
        if not self._is_measuring:
            return
        if session.state.step <= session.config.method.first_usual:  # cheaper than those to come
            minutes = session.config.training.max_minutes
            self._budget = MinuteBudget(minutes, session.state.step, session.seconds)
            return
        end = self._budget.iterations(session.state.step, session.processes)
        if end is None:
            return
        is_longer = session.state.is_held
        session.state.know_length(end)
        session.state.is_budgeted = True  # saved in checkpoints
        self._is_measuring = False
        session.log(f"time budget of {session.config.training.max_minutes:g} min: {end} iterations")
        if is_longer:
            session.log(rates_after(session.state.step, end))
        session.save_together()


class SlowEMAs(Callback):
    """Warns of EMAs that average over more than the whole run, as soon as its length is known."""

    def on_start(self, session: Session) -> None:
        self._is_due = True
        self.on_step(session)

    def on_step(self, session: Session) -> None:
        training, end = session.config.training, known_end(session.state.num_iterations)
        if self._is_due and end is not None:
            self._is_due = False
            for warning in slow_emas(session.config.optimization.ema, training.batch_size, end):
                session.log(f"warning: {warning}")


class Snapshots(Callback):
    """Saves the averages from which others are made after training."""

    def on_step(self, session: Session) -> None:
        ema, step, end = session.config.optimization.ema, session.state.step, session.state.num_iterations
        is_due = step == end or (ema.snapshot_every and step % ema.snapshot_every == 0)
        if ema.lengths and is_due and session.processes.is_main:
            session.attempt(session.save_averages, "an average of the weights")


class ScoresAndCheckpoints(Callback):
    """Scores the model during training, and saves checkpoints: scored ones, permanent ones, and by time.

    Ends a run that no longer improves, if the settings say so. The scores are in every checkpoint, so a
    resumed run judges as if it had never stopped.
    """

    def on_start(self, session: Session) -> None:
        if session.history and session.processes.is_main:
            self._write(session)
        if session.history and session.history[-1].step == session.state.step:
            self._judge(session)

    def on_step(self, session: Session) -> None:
        training, step, processes = session.config.training, session.state.step, session.processes
        interval = training.score_interval(session.state.num_iterations)
        is_scored = interval and step % interval == 0
        if is_scored:
            if processes.is_main:
                self._score(session)
            self._judge(session)
        is_kept = training.keep_every and step % training.keep_every == 0
        if is_scored or is_kept or processes.any(processes.is_main and self._is_due(session)):
            session.save_together()

    def _is_due(self, session: Session) -> bool:
        wait = max(60 * session.config.training.checkpoint_minutes, session.saving_took / SAVING_SHARE)
        return time.monotonic() - session.saved_at >= wait

    def _judge(self, session: Session) -> None:
        """Decide whether the run ends here, on the main process for all."""
        if session.config.training.stop_when == "never":
            return
        found = session.verdict if session.processes.is_main else None
        session.is_over = session.processes.any(found is not None and found.is_over)
        if session.is_over and session.config.optimization.ema.lengths and session.processes.is_main:
            session.attempt(session.save_averages, "an average of the weights")

    def _score(self, session: Session) -> None:
        step, training = session.state.step, session.config.training
        try:
            report = scored_in_training(session.model())
        except (ValueError, OSError) as error:  # features that are not available, say
            session.log(f"warning: could not score at iteration {step}: {error}; training goes on")
            return
        score = interim_score(step, report, training.metrics)
        if score is None:
            session.log(f"iteration {step}: " + "; ".join(" ".join(row) for row in report.table()[:3]))
            return
        if score.value < min(session.scores.values(), default=math.inf):
            session.attempt(lambda: session.model().save(session.path / BEST_NAME), BEST_NAME)
        session.scores[step] = score.value
        session.history.append(score)
        self._write(session)
        session.log(
            f"iteration {step:,}: {score.name} {score.value:.4g}{within(score.interval)}; "
            f"{verdict(session.history).sentence}"
        )

    def _write(self, session: Session) -> None:
        """Write scores.jsonl, each line with the verdict of its time."""
        history = session.history
        lines = (
            json.dumps(sealed(score.to_dict() | {"verdict": verdict(history[: place + 1]).sentence}))
            for place, score in enumerate(history)
        )
        text = "".join(f"{line}\n" for line in lines)
        session.attempt(lambda: write_atomically(session.path / HISTORY_NAME, text), HISTORY_NAME)


def check_trained(session: Session, *, is_finished: bool) -> None:
    """Check that the state can be called trained, at the end; every process must call it.

    Args:
        session: the run.
        is_finished: whether all iterations are done; otherwise the run was stopped and may be resumed.

    Raises:
        TrainingError: if too many updates were skipped, or weights or samples are not finite.
    """
    check_skipped(session)
    state = session.state
    if is_finished and (count := int(state.streak)) > 0:
        if 2 * count >= state.num_iterations:
            raise stuck(session, count)
        session.log(f"warning: a gradient was not finite in each of the last {count} iterations; {REMEDY}")
    what = "weights" if not state.is_finite() else ""
    if not what and is_finished and not bool(session.model().sample(1).isfinite().all()):
        what = "samples"
    if what:
        raise TrainingError(
            f"training ended at iteration {state.step} with {what} that are not finite; an earlier state is "
            f"in '{session.path}'. Train again: {REMEDY}"
        )


def save_at_the_end(session: Session) -> None:
    """Write the final checkpoint, weights and grid of samples; every process must call it.

    Raises:
        TrainingError: if they cannot be written; an earlier checkpoint may exist.
    """
    if not session.save_together():
        raise TrainingError(
            f"training ended at iteration {session.state.step}, but its weights could not be written "
            f"to '{session.path}'; free some space, then --resume continues from the last checkpoint there"
        )
    if session.processes.is_main:
        session.save_grid(session.path / GRID_NAME)
