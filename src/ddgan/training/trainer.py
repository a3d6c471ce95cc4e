"""A run: from a configuration to a folder with everything that training leaves behind (see `folder`)."""

from __future__ import annotations

import dataclasses
import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddgan.config.run_config import RunConfig
from ddgan.config.training import known_end
from ddgan.data import Data, check_source, contents_of, open_source
from ddgan.metrics import Report
from ddgan.models.ddgan import DDGAN
from ddgan.models.precision import tf32
from ddgan.models.run_folder import (
    CONFIG_NAME,
    LOG_NAME,
    REPORT_NAME,
    SCORES_NAME,
    check_folder,
    checkpoints_of,
    clear,
    locked,
)
from ddgan.models.weights_file import WEIGHTS_NAME
from ddgan.system.files import write_atomically
from ddgan.system.processes import Processes, join_processes
from ddgan.system.progress import progress_bar
from ddgan.training.callbacks import Supervisor, scored
from ddgan.training.checkpoint import restore
from ddgan.training.console import Speaker
from ddgan.training.cuda_graphs import check_graphs
from ddgan.training.loop import fit, signals_as_wish
from ddgan.training.method import DENOISING_GAN, Method
from ddgan.training.resuming import check_same_settings, newest_of_all
from ddgan.training.setup import (
    check_batch,
    check_networks,
    classes_for,
    training_inputs,
    warm_start,
)
from ddgan.training.state import Learner, TrainState
from ddgan.training.statistics import StatisticsMeter, rewind_log
from ddgan.training.tracking import check_trackers


@dataclass(frozen=True)
class Run:
    """What a training run left.

    Attributes:
        path: the run folder.
        model: the averaged generator, as a DDGAN or what else was trained.
        report: the scores, if they were asked for.
        ended_by: the number of the signal that ended it early, or 0; the folder is usable all the same.
    """

    path: Path
    model: DDGAN
    report: Report | None
    ended_by: int = 0

    @property
    def interrupted(self) -> bool:
        """Whether it was ended early; `resume` goes on with it."""
        return self.ended_by != 0


def train(
    config: str | Path | RunConfig,
    out: str | Path,
    *,
    data: str | None = None,
    seed: int | None = None,
    init: str | Path | None = None,
    overwrite: bool = False,
    verbose: bool = True,
    method: Method = DENOISING_GAN,
) -> Run:
    """Train, sample and score a denoising diffusion GAN, or what else `method` trains.

    Args:
        config: a preset's name, a YAML file or a RunConfig.
        out: the run folder to make.
        data: data source, instead of the configuration's.
        seed: instead of the configuration's.
        init: begin with the weights of this run, checkpoint or weights file instead of random ones.
        overwrite: replace the run that is in `out`.
        verbose: say what happens on standard error.
        method: how it is trained; the settings must be of its class.

    Returns:
        What the run left.

    Raises:
        ValueError: if the configuration is wrong, the data does not fit it, or `out` exists or is in use.
        TrainingError: if training cannot go on; what it had learned is kept.
    """
    changes: dict[str, Any] = {"data": data, "seed": seed}
    config = dataclasses.replace(
        method.config.load(config), **{name: value for name, value in changes.items() if value is not None}
    )
    path = Path(out)
    check_networks(config)
    check_source(config.data)
    check_trackers(config.training.trackers)
    check_folder(path, overwrite)
    processes = join_processes(config.training.device)
    check_batch(config.training, processes)
    check_graphs(config.training, processes, method.replayed is not None)
    say = Speaker(verbose and processes.is_main)
    source = open_together(config, processes, say)
    config = dataclasses.replace(config, num_classes=classes_for(config, source))
    state = method.create_state(config, processes)
    if init is not None:
        assert isinstance(state, TrainState)
        for line in warm_start(state, str(init)):
            say(line)
    with held(path, processes):
        if processes.is_main:
            check_folder(path, overwrite)  # again, now that nobody else can fill it
            clear(path)
            facts = {"seconds": 0.0, "config": config.to_dict(), "data": contents_of(source)}
            checkpoints_of(path, config.training).save(state, facts)
            write_atomically(path / CONFIG_NAME, config.to_yaml())  # from now on it is a run
        return carry_on(config, state, source, processes, path, say, method=method)


def resume(
    run: str | Path, *, data: str | None = None, verbose: bool = True, method: Method = DENOISING_GAN
) -> Run:
    """Go on with a run from its newest whole checkpoint, to the same end as if it had never stopped.

    Args:
        run: the run folder.
        data: where the data is now, if it has moved; its contents must be the same.
        verbose: say what happens on standard error.
        method: how it was trained.

    Raises:
        ValueError: if it is no run, has no whole checkpoint, or its data or a setting that matters in its
            config.yaml is not what it was.
        TrainingError: as `train`.
    """
    path = Path(run)
    if not (path / CONFIG_NAME).is_file():
        raise ValueError(f"'{path}' is no run folder: it holds no {CONFIG_NAME}")
    config = method.config.load(path / CONFIG_NAME)
    check_trackers(config.training.trackers)
    processes = join_processes(config.training.device)
    check_batch(config.training, processes)
    check_graphs(config.training, processes, method.replayed is not None)
    say = Speaker(verbose and processes.is_main)
    with held(path, processes):
        newest = newest_of_all(path, config, processes, say)
        if data is not None:
            config = dataclasses.replace(config, data=data)
        contents = newest.facts.get("data", "")
        may_move = {"data": config.data} if contents else {}
        check_same_settings(config, newest.facts["config"] | may_move)
        check_source(config.data)
        source = open_together(config, processes, say)
        if contents and contents != contents_of(source):
            raise ValueError(f"'{config.data}' holds other data than the run was trained on; name that again")
        state = method.create_state(config, processes)
        restore(state, newest.tensors, newest.facts)
        say(f"resuming at iteration {state.step} of {known_end(state.num_iterations) or 'as many as fit'}")
        if processes.is_main:
            if data is not None:
                write_atomically(path / CONFIG_NAME, config.to_yaml())
            rewind_log(path / LOG_NAME, state.step)
        return carry_on(config, state, source, processes, path, say, newest.facts["seconds"], method)


@contextmanager
def held(path: Path, processes: Processes) -> Iterator[None]:
    """The run folder, locked by the main process; the others wait until it is."""
    if processes.is_main:
        with locked(path):
            processes.largest(0)
            yield
    else:
        processes.largest(0)
        yield


def open_together(config: RunConfig, processes: Processes, say: Speaker) -> Data:
    """The training data; the main process prepares it, if it must be, before the others look."""

    def opened() -> Data:
        return open_source(
            config.data,
            config.seed,
            processes.device,
            config.generator.state_shape,
            num_held_out=config.training.held_out,
            progress=say.verbose,
        )

    source = opened() if processes.is_main else None
    processes.largest(0)
    return source or opened()


def carry_on(
    config: RunConfig,
    state: Learner,
    source: Data,
    processes: Processes,
    path: Path,
    say: Speaker,
    seconds: float = 0.0,
    method: Method = DENOISING_GAN,
) -> Run:
    """Train from the state's step to the end, then sample and score."""
    training = config.training
    with (
        tf32(training.tf32),
        signals_as_wish() as received,
        progress_bar("training", known_end(state.num_iterations), state.step, enabled=say.verbose) as advance,
    ):
        supervisor = Supervisor(config, state, source, processes, path, say, advance, seconds, method)
        try:
            fit(
                state,
                method.replayed() if training.cuda_graphs and method.replayed else method.step,
                training_inputs(config, source, processes, method.draw),
                StatisticsMeter(method.num_bins(config), processes),
                log_every=training.log_every,
                on_log=supervisor.on_log,
                on_step=supervisor.on_step,
                should_stop=lambda: processes.any(received() > 0),
            )
        finally:
            supervisor.finish()
        ended_by = processes.largest(received()) if state.step < state.num_iterations else 0
        report = None
        if processes.is_main:
            supervisor.save_at_the_end()
            done = f"stopped by {signal.Signals(ended_by).name}" if ended_by else "trained"
            say(f"{done} after {state.step} iterations; weights in {path / WEIGHTS_NAME}")
            if ended_by:
                say(f"it goes on with: ddgan train --resume {shlex.quote(str(path))}")
            supervisor.save_final_grid()
    model = supervisor.model()
    if processes.is_main and training.score_samples and not ended_by:
        report = score_and_report(model, path, say)
    processes.largest(0)  # wait for the main process, which may still be scoring
    return Run(path, model, report, ended_by)


def score_and_report(model: DDGAN, path: Path, say: Speaker) -> Report:
    """Score the model of a run, and write its scores and its page."""
    from ddgan.reports.run_report import write_report

    say(f"scoring {model.config.training.score_samples} samples")
    report = scored(model, progress=say.verbose)
    report.save(path / SCORES_NAME)
    write_report(model, report, path)
    for name, value in report.table():
        say(f"  {name:<40} {value}")
    say(f"report in {path / REPORT_NAME}")
    return report
