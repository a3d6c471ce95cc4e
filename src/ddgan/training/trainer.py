"""Training: from a configuration to a run folder (see `run_folder`)."""

from __future__ import annotations

import dataclasses
import json
import shlex
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ddgan.config.run_config import RunConfig
from ddgan.config.settings import plain
from ddgan.config.training import FreezeConfig, known_end
from ddgan.data.batch import Dataset
from ddgan.data.from_python import is_given
from ddgan.data.sources import data_named, with_data
from ddgan.data.weighting import with_class_weights
from ddgan.metrics import Report
from ddgan.metrics.evaluation import check_scoring
from ddgan.models.license import agreed_license, check_license
from ddgan.models.precision import tf32
from ddgan.models.run_folder import (
    BEST_NAME,
    CONFIG_NAME,
    ENDING_NAME,
    INIT_NAME,
    LOG_NAME,
    OF_THE_END,
    REPORT_NAME,
    SCORES_NAME,
)
from ddgan.models.weights_file import WEIGHTS_NAME, metadata_of, read_metadata
from ddgan.reports.run_report import next_commands
from ddgan.system.files import write_atomically
from ddgan.system.outputs import write_record
from ddgan.system.processes import Processes, join_processes
from ddgan.system.progress import progress_bar
from ddgan.system.text import one_line
from ddgan.training.callbacks import (
    HISTORY,
    AdaptAugmentation,
    Budget,
    Callback,
    Figures,
    GradientNorms,
    HealthWatch,
    HeldOutLogits,
    LogFile,
    Pace,
    ScoresAndCheckpoints,
    Session,
    SlowEMAs,
    Snapshots,
    StuckStop,
    check_trained,
    save_at_the_end,
)
from ddgan.training.checkpoint import STATISTICS, restore
from ddgan.training.console import Logger
from ddgan.training.cuda_graphs import ReplayedUpdates, check_graphs
from ddgan.training.estimate import check_memory
from ddgan.training.iteration import iterate
from ddgan.training.loop import fit, graceful_stop
from ddgan.training.resuming import (
    change_length,
    check_length,
    check_same_settings,
    free_changes,
    has_other_length,
    newest_of_all,
    with_length,
)
from ddgan.training.run_scores import scored_at_the_end
from ddgan.training.setup import check_batch, create_state, resolved, training_inputs
from ddgan.training.space import check_space
from ddgan.training.state import TrainState
from ddgan.training.statistics import StatisticsMeter, rewind_log
from ddgan.training.tracking import check_trackers
from ddgan.training.transfer import warm_start
from ddgan.training.verdict import InterimScore
from ddgan.training.watching import Grids, Progress, ReportPage, page_ends_with, write_page
from ddgan.training.workspace import check_folder, checkpoints_of, clear, locked, mark_as_run

__all__ = ["Run", "resume", "train"]


@dataclass(frozen=True)
class Run:
    """A finished or interrupted run.

    Attributes:
        path: the run folder.
        model: the EMA of the generator, as a DDGAN or another trained model.
        report: the scores; None if the run was stopped, or has none.
        ended_by: number of the signal that ended it early, or 0; the folder is usable either way.
    """

    path: Path
    model: Any
    report: Report | None
    ended_by: int = 0

    @property
    def interrupted(self) -> bool:
        """Whether it ended early; `resume` continues it."""
        return self.ended_by != 0


def train(
    config: str | Path | RunConfig,
    out: str | Path,
    *,
    data: Any = None,
    seed: int | None = None,
    init: str | Path | None = None,
    license: str | None = None,
    overwrite: bool = False,
    verbose: bool = True,
    callbacks: Sequence[Callback] = (),
    **overrides: Any,
) -> Run:
    """Train a model, then sample and score it.

    Args:
        config: a preset's name, a YAML file or a RunConfig.
        out: the run folder to create.
        data: what to train on, instead of the configuration's: a kind that comes with the package, a path, an
            array or tensor of images, a tuple of one and its labels, or a map-style dataset of PyTorch or
            Hugging Face. docs/training.md says what such an object may hold and what is checked.
            It is read once and kept in the cache; resuming needs it again only if that copy is gone.
        seed: instead of the configuration's.
        init: start from the weights of this run, checkpoint, weights file or model by name, as far as they
            fit, instead of random ones; see docs/few_images.md. The new weights keep their licence.
        license: licence of the weights, an identifier ("apache-2.0") or words; every copy of them keeps it.
        overwrite: replace the run that is in `out`.
        verbose: print progress on standard error.
        callbacks: user callbacks, see `ddgan.training.callbacks`.
        overrides: settings by dotted name, as in `**{"training.num_iterations": 100}`.

    Returns:
        The run.

    Raises:
        ValueError: if the configuration is wrong, the data does not fit it, `out` exists or is in use, or the
            weights of `init` have another licence.
        TrainingError: if training cannot continue; its last good state is kept.
    """
    is_object = is_given(data)
    config = configured(config, None if is_object else data, seed, overrides)
    path, training = Path(out), config.training
    license = license if license is None else check_license(license)
    if not is_object:
        config.data.check()
    check_folder(path, overwrite)
    processes = join_processes(training.device)
    check_trackers(training.trackers, processes)
    check_batch(training, processes)
    check_graphs(training, processes)
    log = Logger(verbose and processes.is_main)
    if is_object:
        config = dataclasses.replace(config, data=read_together(config.data, data, processes, log))
    dataset = open_together(config, processes, log)
    config = resolved(config, dataset)
    if processes.is_main:
        check_scoring(config, tuple(dataset.sample_shape))
    check_memory(config, tuple(dataset.sample_shape), processes, log)
    state = create_state(config, tuple(dataset.sample_shape), processes)
    if init is None and training.freeze != FreezeConfig():
        log("warning: training.freeze keeps layers at random initial weights; start from a model with --init")
    start = None
    if init is not None:
        start = warm_start(config, state, tuple(dataset.sample_shape), str(init))
        for line in start.lines:
            log(line)
    state.license = agreed_license(license, state.license)
    if processes.is_main:
        check_space(state, training, path, log)
    with held(path, processes):
        if processes.is_main:
            check_folder(path, overwrite)  # again, now that the folder is locked
            clear(path)
            metadata = metadata_of(config, dataset.sample_shape, state.license)
            metadata |= {"seconds": 0.0, "data": dataset.checksum}
            checkpoints_of(path, training).save(state, metadata)
            write_atomically(path / CONFIG_NAME, config.to_yaml())  # from now on it is a run
            if start is not None:
                write_atomically(path / INIT_NAME, json.dumps(start.record, indent=1))
        return carry_on(config, state, dataset, processes, path, log, callbacks=callbacks)


def configured(
    config: str | Path | RunConfig, data: Any, seed: int | None, overrides: Mapping[str, Any]
) -> RunConfig:
    """Apply the arguments of `train` to a configuration.

    Raises:
        ValueError: in one line, naming a setting that does not exist or has an invalid value.
    """
    config = RunConfig.load(config, overrides)
    if data is not None:
        config = dataclasses.replace(config, data=with_data(config.data, data))
    return config if seed is None else dataclasses.replace(config, seed=seed)


def resume(
    run: str | Path,
    *,
    data: Any = None,
    minutes: float | None = None,
    num_iterations: int | None = None,
    max_images: int | None = None,
    stop_when: str | None = None,
    verbose: bool = True,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Resume a run from its newest intact checkpoint; the result is that of an uninterrupted run.

    A new length continues a run, finished or not, with everything that it has learned; learning rates and
    ramps move to the schedule of that length, see `ddgan.training.extension`.

    Args:
        run: the run folder.
        data: where the data is now, if it has moved, or the object that was given to `train`, if the copy in
            the cache is gone; its contents must be unchanged.
        minutes: train for so many minutes from now on.
        num_iterations: train until so many iterations are done, with those done so far.
        max_images: train until so many images are seen, with those seen so far.
        stop_when: instead of the run's `training.stop_when`; "never" continues a run that has ended early.
        verbose: print progress on standard error.
        callbacks: user callbacks, see `ddgan.training.callbacks`.

    Raises:
        ValueError: if it is not a run, has no intact checkpoint, its data or a setting that affects training
            has changed, or the new length is not beyond what is done.
        TrainingError: as in `train`.
    """
    path = Path(run)
    if not (path / CONFIG_NAME).is_file():
        raise ValueError(f"'{path}' is not a run folder: it holds no {CONFIG_NAME}")
    config = RunConfig.load(path / CONFIG_NAME)
    processes = join_processes(config.training.device)
    check_trackers(config.training.trackers, processes)
    check_batch(config.training, processes)
    check_graphs(config.training, processes)
    log = Logger(verbose and processes.is_main)
    with held(path, processes):
        newest = newest_of_all(path, config, processes, log)
        seconds, on_disk = newest.metadata["seconds"], config
        config = with_length(config, seconds, minutes, num_iterations, max_images)
        if stop_when is not None:
            config = config.changed({"training.stop_when": stop_when})
        if data is not None:
            config = dataclasses.replace(config, data=read_together(config.data, data, processes, log))
        contents = newest.metadata.get("data", "")
        saved, sample_shape, _ = read_metadata(newest.metadata, f"'{newest.path}'")
        check_same_settings(config, dataclasses.replace(saved, data=config.data) if contents else saved)
        if has_other_length(config, saved) or {minutes, num_iterations, max_images} != {None}:
            check_length(config, newest.metadata["step"], seconds)
        for line in free_changes(config, saved):
            log(line)
        config.data.check()
        dataset = open_together(config, processes, log)
        if (contents and contents != dataset.checksum) or tuple(dataset.sample_shape) != sample_shape:
            raise ValueError(
                f"'{config.data.name}' is not the data that the run was trained on; name that with --data, "
                "or give it again as data"
            )
        if processes.is_main:
            warn_of_scoring(config, sample_shape, log)
        check_memory(config, sample_shape, processes, log, refuse=False)
        state = create_state(config, sample_shape, processes)
        restore(state, newest.tensors, newest.metadata)
        if line := change_length(state, config, saved, seconds):
            log(line)
        end = known_end(state.num_iterations)
        until = f"of {end}" if end else f"(time budget: {config.training.max_minutes:g} min)"
        log(f"resuming at iteration {state.step} {until}")
        if processes.is_main:
            check_space(state, config.training, path, log)
            mark_as_run(path)
            if state.step < state.num_iterations:
                for name in OF_THE_END:
                    (path / name).unlink(missing_ok=True)
            if config != on_disk:
                write_atomically(path / CONFIG_NAME, config.to_yaml())
            if damaged := rewind_log(path / LOG_NAME, state.step):
                lines = "1 line" if damaged == 1 else f"{damaged} lines"
                log(f"warning: dropped {lines} of {path / LOG_NAME}, damaged since the log was written")
        unfinished = newest.weights(STATISTICS)
        history = [InterimScore.from_dict(score) for score in newest.metadata.get(HISTORY, ())]
        return carry_on(config, state, dataset, processes, path, log, seconds, callbacks, unfinished, history)


@contextmanager
def ending_recorded(path: Path, processes: Processes) -> Iterator[None]:
    """Record that a run failed if the block does, and why."""
    try:
        yield
    except Exception as error:
        if processes.is_main:
            record_ending(path, "failed", one_line(error))
        raise


def record_ending(path: Path, state: str, reason: str = "") -> None:
    """Record how training ended, for `ddgan list`. A record that cannot be written is left out."""
    with suppress(OSError):
        write_record(path / ENDING_NAME, {"state": state, "reason": reason})


@contextmanager
def held(path: Path, processes: Processes) -> Iterator[None]:
    """Lock the run folder in the main process; the others wait until it is locked."""
    if processes.is_main:
        with locked(path):
            processes.largest(0)
            yield
    else:
        processes.largest(0)
        yield


def read_together(settings: Any, data: Any, processes: Processes, log: Logger) -> Any:
    """Return the settings of data that was named or given.

    The main process reads an object; others read it only if they do not see the cache of the main process.
    """
    if not is_given(data):
        return with_data(settings, data)
    found = with_data(settings, data, progress=log.verbose) if processes.is_main else None
    found = data_named(json.loads(processes.from_main(json.dumps(plain(found)))))
    try:
        found.check()
    except ValueError:
        found = with_data(settings, data)
    classes = f", {found.num_classes} classes" if found.num_classes else ""
    log(f"data: {found.count:,} images of shape {found.shape}{classes}: {found.form}")
    return found


def open_together(config: RunConfig, processes: Processes, log: Logger) -> Dataset:
    """Open the training data; the main process prepares it first where necessary."""

    def opened() -> Dataset:
        dataset: Dataset = config.data.open(
            config.seed, processes.device, num_held_out=config.training.held_out, progress=log.verbose
        )
        return dataset

    dataset = opened() if processes.is_main else None
    processes.largest(0)
    for note in getattr(dataset, "notes", ()):
        log(f"data: {note}")
    dataset = dataset or opened()
    if (weights := config.training.class_weights) is not None:
        dataset, words = with_class_weights(dataset, weights, config.data.name)
        log(f"data: {words}")
    return dataset


def carry_on(
    config: RunConfig,
    state: TrainState,
    dataset: Dataset,
    processes: Processes,
    path: Path,
    log: Logger,
    seconds: float = 0.0,
    callbacks: Sequence[Callback] = (),
    unfinished: dict[str, Tensor] | None = None,
    history: Sequence[InterimScore] = (),
) -> Run:
    """Train from the current step to the end, then sample and score."""
    training, every = config.training, callbacks_of(callbacks)
    meter = StatisticsMeter(config.method.num_bins(config), processes)
    meter.restore(unfinished or {})
    updates = ReplayedUpdates() if training.cuda_graphs else None
    with (
        ending_recorded(path, processes),
        tf32(training.tf32),
        graceful_stop(verbose=log.verbose) as received,
        progress_bar("training", known_end(state.num_iterations), state.step, enabled=log.verbose) as advance,
    ):
        session = Session(config, state, dataset, processes, path, log, advance, meter, seconds, history)

        def on_log(record: dict[str, Any]) -> None:
            for callback in every:
                callback.on_log(session, record)

        def on_step() -> None:
            for callback in every:
                callback.on_step(session)

        with page_ends_with(session, "stopped"):
            try:
                for callback in every:
                    callback.on_start(session)
                fit(
                    state,
                    lambda state, batch, noise: iterate(state, batch, noise, updates),
                    training_inputs(config, dataset, processes),
                    meter,
                    log_every=training.log_every,
                    on_log=on_log,
                    on_step=on_step,
                    should_stop=lambda: session.is_over or processes.any(received() > 0),
                )
            finally:
                for callback in every:
                    callback.on_end(session)
            ended_by = 0 if session.is_finished else processes.largest(received())
            check_trained(session, is_finished=not ended_by)
            save_at_the_end(session)
            if processes.is_main:
                record_ending(path, "stopped" if ended_by else "finished")
                say_how_it_ended(session, ended_by)
    model, report = session.model(), None
    if processes.is_main:
        with page_ends_with(session, "stopped" if ended_by else "trained"):
            if not ended_by:
                report = score_and_save(session, model)
            write_page(session, "stopped" if ended_by else "trained", report)
            log(f"report in {path / REPORT_NAME}")
        for command, purpose in next_commands(model, path, is_finished=not ended_by):
            log(f"to {purpose}: {command}")
    processes.largest(0)  # waits for the main process, which may still be scoring
    return Run(path, model, report, ended_by)


def callbacks_of(added: Sequence[Callback] = ()) -> list[Callback]:
    """Return all callbacks of a run, in order."""
    measuring = [Figures(), HeldOutLogits(), AdaptAugmentation(), GradientNorms()]
    watching = [HealthWatch(), Progress(), LogFile(), StuckStop(), SlowEMAs()]
    writing = [Snapshots(), ScoresAndCheckpoints(), Grids(), ReportPage()]
    return [*measuring, Pace(), Budget(), *added, *watching, *writing]


def say_how_it_ended(session: Session, ended_by: int) -> None:
    """Log how a run ended, what its scores say, and how to go on."""
    step, end, path, log = session.state.step, session.state.num_iterations, session.path, session.log
    found = session.verdict
    done = f"stopped by {signal.Signals(ended_by).name}" if ended_by else "trained"
    is_early = session.is_over and step < end
    if is_early:
        done = f"stopped early (training.stop_when {session.config.training.stop_when})"
    log(f"{done} after {step} iterations; weights in {path / WEIGHTS_NAME}")
    if found is not None:
        best = f"; best score in {path / BEST_NAME}" if (path / BEST_NAME).is_file() else ""
        log(f"scores: {found.sentence}{best}")
    if is_early:
        log(f"to go on: ddgan train --resume {shlex.quote(str(path))} --stop_when never")


def warn_of_scoring(config: RunConfig, sample_shape: tuple[int, ...], log: Logger) -> None:
    """Warn if the scores at the end could not be taken now; a run that has begun can still be trained."""
    try:
        check_scoring(config, sample_shape)
    except ValueError as error:
        log(f"warning: {error}")


def score_and_save(session: Session, model: Any) -> Report | None:
    """Score the model of a finished run, and write its scores; None if there are none."""
    path, log = session.path, session.log
    if session.config.training.score_samples:
        write_page(session, "scoring")
    report = scored_at_the_end(model, session.seconds, log)
    if report is None:  # those of a shorter run would be wrong
        (path / SCORES_NAME).unlink(missing_ok=True)
        return None
    report.save(path / SCORES_NAME)
    for name, value in report.table():
        log(f"  {name:<40} {value}")
    return report
