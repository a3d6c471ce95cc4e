"""What happens around the iterations of a run: its log, checkpoints, grids, scores, warnings and budget."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ddgan.config.run_config import RunConfig
from ddgan.config.training import known_end
from ddgan.data import Data, contents_of
from ddgan.metrics import Report, evaluate
from ddgan.models.run_folder import BEST_NAME, GRID_NAME, LOG_NAME, checkpoints_of
from ddgan.models.sample_files import has_png_form, save_grid
from ddgan.models.weights_file import average_name
from ddgan.system.processes import Processes, TrainingError
from ddgan.training.budget import MinuteBudget
from ddgan.training.console import Speaker, memory_gb, summary, time_left
from ddgan.training.health import Health, memorised
from ddgan.training.method import DENOISING_GAN, Method
from ddgan.training.noise import draw_noise
from ddgan.training.setup import part_size
from ddgan.training.state import Learner, TrainState
from ddgan.training.statistics import JsonLines, finite
from ddgan.training.tracking import Trackers

SAVING_SHARE = 0.01
"""Checkpoints take at most this share of the time."""
NUM_HELD_OUT = 256
"""Images on which D's logit is compared with those it was trained on."""


class Supervisor:
    """Keeps a run going, and keeps what it learns; every process has one, and the main one's writes.

    Args:
        config: the settings.
        state: what is trained.
        source: the training data.
        processes: those of the run.
        path: the run folder.
        say: where lines for a person go.
        advance: moves the progress bar.
        seconds: that earlier sittings of this run trained.
        method: how it is trained.
    """

    def __init__(
        self,
        config: RunConfig,
        state: Learner,
        source: Data,
        processes: Processes,
        path: Path,
        say: Speaker,
        advance: Callable[..., None],
        seconds: float = 0.0,
        method: Method = DENOISING_GAN,
    ) -> None:
        self._config, self._state, self._processes, self._path = config, state, processes, path
        self._say, self._advance, self._seconds = say, advance, seconds
        self._method, self._contents = method, contents_of(source)
        self._start = self._saved_at = time.monotonic()
        self._saving = 0.0  # how long the last checkpoint took
        self._checkpoints = checkpoints_of(path, config.training)
        self._health = Health()
        self._scores = self._checkpoints.scores()  # by iteration
        self._budget = MinuteBudget(config.training.max_minutes, state.step, seconds)
        self._is_measuring = config.training.max_minutes > 0 and not state.is_budgeted
        is_asked = processes.is_main and method.judges_pairs
        self._held_out = source.held_out(NUM_HELD_OUT) if is_asked else None
        self._log, self._trackers = None, None
        if processes.is_main:
            self._log = JsonLines(path / LOG_NAME)
            self._trackers = Trackers(
                config.training.trackers, path / "trackers", path.name, config.to_dict()
            )

    def seconds(self) -> float:
        """How long the run has trained, earlier sittings included."""
        return self._seconds + time.monotonic() - self._start

    def on_step(self) -> None:
        """Do what is due after an iteration."""
        training, step = self._config.training, self._state.step
        self._advance(1)
        if self._is_measuring and (end := self._budget.iterations(step, self._processes)):
            self._end_at(end)
        if not self._processes.is_main:
            return
        if training.grid_every and step % training.grid_every == 0:
            self.save_grid(self._path / "grids" / f"{step:08d}.png")
        if training.score_every and step % training.score_every == 0:
            self._score()
        elif (training.keep_every and step % training.keep_every == 0) or self._is_time_to_save():
            self.save()

    def on_log(self, record: dict[str, Any]) -> None:
        """Write a record, show it, and judge the run's health by it."""
        state, training = self._state, self._config.training
        record |= {
            "images": record["step"] * training.batch_size,
            "seconds": self._seconds + record["seconds"],
            "images_per_second": record["iterations_per_second"] * training.batch_size,
            **dict(zip(("lr_g", "lr_d"), state.learning_rates(), strict=False)),
            "memory_gb": memory_gb(self._processes.device),
        }
        if self._held_out is not None:
            record["d_held_out"] = self._logit_on_held_out()
            record["memorised"] = memorised(record)
        trouble = self._health.warnings(record) if self._processes.is_main else []
        if self._log is not None and self._trackers is not None:
            self._try(lambda: self._log_record(record | ({"warnings": trouble} if trouble else {})))
        left = (state.num_iterations - state.step) * training.batch_size / record["images_per_second"]
        end = known_end(state.num_iterations)
        rest = f"of {training.max_minutes:g} min" if end is None else f"{time_left(left)} left"
        self._advance(0, summary(record), end)
        self._say.sometimes(f"{state.step}/{end or '?'}  {rest}  {summary(record)}")
        for warning in trouble:
            self._say(f"warning at iteration {state.step}: {warning}")
        self._stop_if_stuck()

    def _log_record(self, record: dict[str, Any]) -> None:
        assert self._log is not None
        assert self._trackers is not None
        self._log.write(record)
        self._trackers.log(record)

    def _stop_if_stuck(self) -> None:
        streak = int(self._state.streak)  # the same in every process
        if streak >= self._config.training.max_skipped:
            if self._processes.is_main:
                self.save()
            raise TrainingError(
                f"stopped at iteration {self._state.step}: {streak} iterations in a row had a gradient "
                f"that is not finite; the last good state is kept in '{self._path}'. Look for bad images "
                "with ddgan prepare --check, lower the learning rates, or use --training.precision float32"
            )

    def _end_at(self, num_iterations: int) -> None:
        """Fix the number of iterations that the budget of minutes allows; a checkpoint remembers it."""
        self._state.num_iterations, self._state.is_budgeted = num_iterations, True
        self._is_measuring = False
        self._say(f"{self._config.training.max_minutes:g} minutes are {num_iterations} iterations")
        if self._processes.is_main:
            self.save()

    def _is_time_to_save(self) -> bool:
        wait = max(60 * self._config.training.checkpoint_minutes, self._saving / SAVING_SHARE)
        return time.monotonic() - self._saved_at >= wait

    def save(self) -> bool:
        """Write a checkpoint and the averaged weights; trouble with the disk is told, not raised.

        Returns:
            Whether all is written.
        """
        began = time.monotonic()
        facts: dict[str, Any] = {"seconds": self.seconds(), "config": self._config.to_dict()}
        facts["data"] = self._contents
        if self._state.step in self._scores:
            facts["score"] = self._scores[self._state.step]
        written = self._is_finite()  # what a streak of bad gradients left is the last good state
        if written:
            written = self._try(lambda: self._checkpoints.save(self._state, facts))
            written &= self._try(self.save_weights)
        self._saved_at = time.monotonic()
        self._saving = self._saved_at - began
        return written

    def _is_finite(self) -> bool:
        norms = torch._foreach_norm(list(self._state.generator.parameters()), 1)
        return bool(torch.stack(norms).sum().isfinite())

    def save_weights(self) -> None:
        """Write every average as a model of its own."""
        for half_life, average in zip(
            (None, *self._config.optimization.ema_half_lives), self._state.averages, strict=True
        ):
            self._open(average).save(self._path / average_name(half_life))

    def model(self) -> Any:
        """The first average as a model: a DDGAN, or what else the method trains."""
        return self._open(self._state.ema)

    def _open(self, average: nn.Module) -> Any:
        return self._method.open(average, self._config, self._state.license)

    def save_grid(self, path: Path) -> None:
        """Write a grid of samples, always from the same noise; points have none."""
        model = self.model()
        if has_png_form(model):
            self._try(lambda: save_grid(model, path))

    def _score(self) -> None:
        try:
            report = scored(self.model())
        except (ValueError, OSError) as error:  # features that cannot be had, say
            self._say(f"warning: could not score at iteration {self._state.step}: {error}; training goes on")
            self.save()
            return
        score = headline(report)
        self._say(f"iteration {self._state.step}: " + "; ".join(" ".join(row) for row in report.table()[:3]))
        if score is not None:
            if score < min(self._scores.values(), default=math.inf):
                self._try(lambda: self.model().save(self._path / BEST_NAME))
            self._scores[self._state.step] = score
        self.save()

    @torch.no_grad()
    def _logit_on_held_out(self) -> float | None:
        """D's mean logit on true pairs made of held-out images, with noise that is always the same.

        In parts of the size that is trained on, which fits, and without a compiler, to which they are new.
        """
        assert self._held_out is not None
        assert isinstance(self._state, TrainState)
        state, x_0, labels = self._state, self._held_out.images, self._held_out.labels
        noise = draw_noise(self._config.seed, 0, x_0, state.diffusion.num_steps, 0).discriminator
        x_prev, x_t = state.diffusion.pair(x_0, noise.t, noise.noise_prev, noise.noise_step)
        size, logits = part_size(self._config.training, self._processes), []
        for first in range(0, len(x_0), size):
            rows = slice(first, first + size)
            y = labels[rows] if self._config.num_classes and labels is not None else None
            logits.append(state.discriminator.forward(x_prev[rows], x_t[rows], noise.t[rows], y))
        return finite(torch.cat(logits).mean())

    def _try(self, write: Callable[[], object]) -> bool:
        """Write, and say whether that went well; a full or broken disk must not end the training."""
        try:
            write()
        except OSError as error:
            self._say(f"warning: could not write in '{self._path}': {error}; training goes on")
            return False
        return True

    def finish(self) -> None:
        """Close what is open."""
        if self._log is not None and self._trackers is not None:
            self._try(self._log.close)
            self._try(self._trackers.close)

    def save_at_the_end(self) -> None:
        """Write what was learned.

        Raises:
            TrainingError: if it cannot be written; a checkpoint on the way may be there.
        """
        if not self.save():
            raise TrainingError(
                f"training ended at iteration {self._state.step}, but what it learned could not be written "
                f"in '{self._path}'; make room, then --resume goes on from the last checkpoint there"
            )

    def save_final_grid(self) -> None:
        """Write the grid that a run ends with."""
        self.save_grid(self._path / GRID_NAME)


def scored(model: Any, *, progress: bool = False) -> Report:
    """The scores that a run's settings ask for; what to know of them is in the report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return evaluate(model, n=model.config.training.score_samples, progress=progress)


def headline(report: Report) -> float | None:
    """The score by which the best of a run is chosen, the lower the better: KL or Fréchet distance."""
    if report.modes is not None:
        return report.modes.kl
    return None if report.frechet is None else report.frechet.value
