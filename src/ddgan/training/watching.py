"""What a run shows of itself while it trains: progress on the terminal, grids of samples, and report.html.

Grids, the sheet of the data and the report are functions of the weights, the data and the files, with random
numbers of their own, so the run learns the same without them. Grids and the report each take at most half of
SAVING_SHARE of the time, but for the first ones.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from ddgan.config.training import known_end
from ddgan.metrics import Report
from ddgan.models.run_folder import GRIDS_NAME, REPORT_NAME, SHEET_NAME
from ddgan.models.sample_files import as_array, write_grid
from ddgan.reports.run_report import RENEWED_EVERY, Status, write_report
from ddgan.system.images import has_png_form
from ddgan.system.text import one_line
from ddgan.training.callbacks import SAVING_SHARE, Callback, Session
from ddgan.training.console import memory_gb, pause_between_lines, summary, time_left
from ddgan.training.health import normal_ranges
from ddgan.training.verdict import MEMORISING

__all__ = ["Grids", "Progress", "ReportPage", "page_ends_with", "write_page"]

SECONDS_ON_TERMINAL = 0.5
"""Interval between changes of the line on a terminal."""
SPEED_SECONDS = 20.0
"""The speed is that of so many seconds."""
FIRST_GRID = 5.0
"""Seconds until the first grid."""
FIRST_SHARE = 0.1
"""Largest share of the time that the first grid is expected to take."""
GROWTH = 0.15
"""Time between two grids early in a run, as a share of its length so far."""
NUM_SAMPLES, NUM_LARGE, LARGE = 64, 16, 128
"""Samples of a grid, and of one of images larger than LARGE pixels."""
Kind = Literal["training", "scoring", "trained", "stopped"]
NO_SCORES = "not judged, as none are taken during training (training.score_every)"


class Progress(Callback):
    """Shows progress from the first seconds on: in place on a terminal, elsewhere in lines, ever rarer."""

    def on_start(self, session: Session) -> None:
        self._began = self._shown = time.monotonic()
        self._marks = deque([(self._began, session.state.step)])
        self._record: dict[str, Any] = {}
        self._is_shown = session.log.verbose and session.processes.is_main
        if self._is_shown:
            session.log(f"watch the run in {session.path / REPORT_NAME}")

    def on_log(self, session: Session, record: dict[str, Any]) -> None:
        self._record = record

    def on_step(self, session: Session) -> None:
        session.advance(1)
        now, on_terminal = time.monotonic(), sys.stderr.isatty()
        pause = SECONDS_ON_TERMINAL if on_terminal else pause_between_lines(now - self._began)
        if not self._is_shown or now - self._shown < pause:
            return
        self._shown = now
        state, training = session.state, session.config.training
        self._marks.append((now, state.step))
        while len(self._marks) > 2 and now - self._marks[1][0] > SPEED_SECONDS:
            self._marks.popleft()
        since, first = self._marks[0]
        speed = (state.step - first) * training.batch_size / (now - since)
        line = summary(session.state_in_words, speed, memory_gb(session.processes.device), self._record)
        if on_terminal:
            session.advance(0, line, known_end(state.num_iterations))
        else:
            end = known_end(state.num_iterations)
            of = "" if end is None else f"/{end:,}"
            session.log(f"iteration {state.step:,}{of}  {rest_in_words(session, speed)}  {line}")


def rest_in_words(session: Session, speed: float) -> str:
    """Return the time left at a speed in images per second, or as far as the budget says."""
    state, training = session.state, session.config.training
    if known_end(state.num_iterations) is None:
        return f"{time_left(max(60 * training.max_minutes - session.seconds, 0))} left"
    return f"{time_left((state.num_iterations - state.step) * training.batch_size / max(speed, 1e-9))} left"


class Grids(Callback):
    """Writes a sheet of the data, and grids of samples from the same noise during training.

    They come every `grid_every` iterations, and by time: soon after the start, then ever more rarely until
    they come every `grid_minutes`.
    """

    def on_start(self, session: Session) -> None:
        self._first_step, self._at = session.state.step, time.monotonic()
        self._took: float | None = None
        shape = session.dataset.sample_shape
        is_missing = not (session.path / SHEET_NAME).is_file()
        if session.processes.is_main and has_png_form(shape) and is_missing:
            self._write_sheet(session)

    def on_step(self, session: Session) -> None:
        every, step = session.config.training.grid_every, session.state.step
        if not session.processes.is_main or step >= session.state.num_iterations:
            return  # at the end comes samples.png
        if (every and step % every == 0) or self._is_due(session):
            began = time.monotonic()
            session.save_grid(session.path / GRIDS_NAME / f"{step:08d}.png", self._count(session))
            self._at = time.monotonic()
            self._took = self._at - began

    def _is_due(self, session: Session) -> bool:
        longest = 60 * session.config.training.grid_minutes
        if not longest or not has_png_form(session.dataset.sample_shape):
            return False
        waited = time.monotonic() - self._at
        if self._took is None:
            return waited >= FIRST_GRID and waited * FIRST_SHARE >= self._expected(session, waited)
        wait = min(max(GROWTH * session.seconds, FIRST_GRID), longest)
        return waited >= max(wait, 2 * self._took / SAVING_SHARE)

    def _expected(self, session: Session, waited: float) -> float:
        """Return the seconds that a grid may take, from those of an iteration since the start.

        An iteration has at least three times the work of G alone on its batch.
        """
        nfe, batch_size = session.config.diffusion.num_steps, session.config.training.batch_size
        per_iteration = waited / max(session.state.step - self._first_step, 1)
        return per_iteration * self._count(session) * nfe / (3 * batch_size)

    def _count(self, session: Session) -> int:
        return NUM_LARGE if max(session.dataset.sample_shape[1:]) > LARGE else NUM_SAMPLES

    def _write_sheet(self, session: Session) -> None:
        batch = session.dataset.batch(0, self._count(session))
        path = session.path / SHEET_NAME
        session.attempt(lambda: write_grid(as_array(batch.x), path, None), SHEET_NAME)


class ReportPage(Callback):
    """Writes report.html at the start, and again after each grid and each checkpoint."""

    def on_start(self, session: Session) -> None:
        self._at, self._took, self._speed_at = 0.0, 0.0, (time.monotonic(), session.state.step)
        if session.processes.is_main:
            self._write(session)

    def on_step(self, session: Session) -> None:
        if not session.processes.is_main or session.is_finished:
            return
        now = time.monotonic()
        is_new = max(session.saved_at, session.grid_at) > self._at
        if is_new and now - self._at >= max(RENEWED_EVERY / 2, 2 * self._took / SAVING_SHARE):
            self._write(session)

    def _write(self, session: Session) -> None:
        began = time.monotonic()
        since, first = self._speed_at
        done = session.state.step - first
        speed = done * session.config.training.batch_size / max(began - since, 1e-9)
        write_page(session, "training", rest=rest_in_words(session, speed) if done else "")
        self._at = time.monotonic()
        self._took = self._at - began
        self._speed_at = (self._at, session.state.step)


def write_page(
    session: Session,
    kind: Kind,
    report: Report | None = None,
    rest: str = "",
) -> None:
    """Write report.html; whatever fails is logged, because a page must not cost a run.

    Args:
        session: the run.
        kind: where it is, see `Status`.
        report: the scores of the finished model.
        rest: the time left in words.
    """
    found, guessing = session.verdict, session.config.method.guessing_loss()
    status = Status(
        kind,
        session.state.step,
        known_end(session.state.num_iterations),
        rest,
        session.state_in_words,
        NO_SCORES if found is None else found.sentence,
        normal_ranges(guessing) | {"held_out_nearest": (MEMORISING, 1.0)},
    )

    def write() -> None:
        try:
            write_report(session.model(), report, session.path, status)
        except OSError:
            raise
        except Exception as error:
            raise OSError(f"{type(error).__name__}: {one_line(error)}") from None

    session.attempt(write, REPORT_NAME)


@contextmanager
def page_ends_with(session: Session, kind: Kind) -> Iterator[None]:
    """Leave a page of this kind, which is not renewed any more, if the block fails."""
    try:
        yield
    except BaseException:
        if session.processes.is_main:
            write_page(session, kind)
        raise
