"""A run: from a configuration to a folder with everything that training leaves behind.

RUN/config.yaml        the whole configuration
RUN/log.jsonl          one JSON object per log step: losses, also per t, speed, learning rates
RUN/model.safetensors  the averaged weights of the generator, with the configuration
RUN/samples.png        a grid of samples (images only)
RUN/scores.json        the scores, and RUN/report.html, a page to look at (if scores were asked for)
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddgan import images
from ddgan.config import RunConfig
from ddgan.data import Data, check_source, open_source
from ddgan.metrics import Report, evaluate
from ddgan.model import DDGAN, WEIGHTS_NAME
from ddgan.progress import progress_bar
from ddgan.training.logging import JsonLines, StatisticsMeter
from ddgan.training.loop import fit, interruptible
from ddgan.training.setup import check_networks, choose_device, classes_for, create_state, training_inputs
from ddgan.training.step import TrainState, train_step

CONFIG_NAME, LOG_NAME, GRID_NAME = "config.yaml", "log.jsonl", "samples.png"
SCORES_NAME, REPORT_NAME = "scores.json", "report.html"
SECONDS_BETWEEN_LINES = 15.0
"""How often training says a line where there is no terminal."""


@dataclass(frozen=True)
class Run:
    """What a training run left.

    Attributes:
        path: the run folder.
        model: the averaged generator.
        report: the scores, if they were asked for.
        interrupted: whether Ctrl-C ended it early; the folder is usable all the same.
    """

    path: Path
    model: DDGAN
    report: Report | None
    interrupted: bool


def train(
    config: str | Path | RunConfig,
    out: str | Path,
    *,
    data: str | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    verbose: bool = True,
) -> Run:
    """Train, sample and score a denoising diffusion GAN.

    Args:
        config: a preset's name, a YAML file or a RunConfig.
        out: the run folder to make.
        data: data source, instead of the configuration's.
        seed: instead of the configuration's.
        overwrite: replace the run that is in `out`.
        verbose: say what happens on standard error.

    Raises:
        ValueError: if the configuration is wrong, the data does not fit it, or `out` exists.
    """
    changes: dict[str, Any] = {"data": data, "seed": seed}
    config = dataclasses.replace(
        RunConfig.load(config), **{name: value for name, value in changes.items() if value is not None}
    )
    device = choose_device(config.training.device)
    check_networks(config)
    check_source(config.data)
    check_folder(Path(out), overwrite)
    shape = config.generator.state_shape
    source = open_source(config.data, config.seed, device, shape, progress=verbose)
    config = dataclasses.replace(config, num_classes=classes_for(config, source))
    state = create_state(config, device)
    model = DDGAN(state.ema, config)
    path = make_folder(Path(out), overwrite)
    (path / CONFIG_NAME).write_text(config.to_yaml(), encoding="utf-8")

    say = Speaker(verbose)
    with interruptible() as should_stop:
        _fit(config, state, source, path, say, should_stop)
        interrupted = state.step < config.training.num_iterations
    model.save(path)
    done = "stopped" if interrupted else "trained"
    say(f"{done} after {state.step} iterations; weights in {path / WEIGHTS_NAME}")
    report = None
    if len(model.state_shape) == 3:
        _save_grid(model, path / GRID_NAME)
    if config.training.score_samples and not interrupted:
        report = score_and_report(model, path, verbose)
    return Run(path, model, report, interrupted)


def _fit(
    config: RunConfig,
    state: TrainState,
    source: Data,
    path: Path,
    say: Speaker,
    should_stop: Callable[[], bool],
) -> None:
    training = config.training
    log = JsonLines(path / LOG_NAME)
    with progress_bar("training", training.num_iterations, enabled=say.verbose) as advance:

        def on_log(record: dict[str, Any]) -> None:
            rates = {
                "lr_g": state.schedulers[0].get_last_lr()[0],
                "lr_d": state.schedulers[1].get_last_lr()[0],
            }
            log.write(record | rates)
            text = (
                f"{record['images_per_second']:.0f} images/s  "
                f"D {record['loss_d']:.3f}  G {record['loss_g']:.3f}"
            )
            advance(0, text)
            say.sometimes(f"{_progress_line(record, training.num_iterations)}  {text}")

        try:
            fit(
                state,
                train_step,
                training_inputs(config, source),
                training.num_iterations,
                StatisticsMeter(config.diffusion.num_steps),
                log_every=training.log_every,
                on_log=on_log,
                on_step=lambda: advance(1),
                should_stop=should_stop,
            )
        finally:
            log.close()


def _progress_line(record: dict[str, Any], num_iterations: int) -> str:
    remaining = (num_iterations - record["step"]) * record["seconds"] / record["step"]
    return f"{record['step']}/{num_iterations}  {remaining / 60:.1f} min left"


def score_and_report(model: DDGAN, path: Path, verbose: bool) -> Report:
    """Score the model of a run, and write its scores and its page."""
    from ddgan.report import write_report

    say = Speaker(verbose)
    say(f"scoring {model.config.training.score_samples} samples")
    report = evaluate(model, n=model.config.training.score_samples, progress=verbose)
    report.save(path / SCORES_NAME)
    write_report(model, report, path)
    for name, value in report.table():
        say(f"  {name:<40} {value}")
    say(f"report in {path / REPORT_NAME}")
    return report


def _save_grid(model: DDGAN, path: Path) -> None:
    samples = images.to_uint8(model.sample(64))
    if samples.shape[-1] <= 4:
        columns = model.grid_columns()
        images.save_png(images.grid(samples, columns, images.zoom_for(samples.shape[1])), path)


def check_folder(path: Path, overwrite: bool) -> None:
    """Complain where a run cannot be put.

    Raises:
        ValueError: if the folder is in use, or is a file.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"out is '{path}', which is a file; name a folder")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise ValueError(f"out is '{path}', which exists; name another folder or pass --overwrite")


def make_folder(path: Path, overwrite: bool) -> Path:
    """Make the run folder; with `overwrite`, remove what an earlier run left in it, and only that."""
    check_folder(path, overwrite)
    path.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_NAME, LOG_NAME, WEIGHTS_NAME, GRID_NAME, SCORES_NAME, REPORT_NAME):
        (path / name).unlink(missing_ok=True)
    return path


class Speaker:
    """Lines on standard error for a person."""

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose
        self._last = time.monotonic()

    def __call__(self, line: str) -> None:
        """Say a line."""
        if self.verbose:
            print(line, file=sys.stderr, flush=True)

    def sometimes(self, line: str) -> None:
        """Say a line if none was said for a while and no progress bar is shown instead."""
        if not sys.stderr.isatty() and time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self(line)
