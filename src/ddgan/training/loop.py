"""The training loop, for every method.

It knows neither networks nor files: it calls `step(state, batch, noise)`, gathers the statistics, and passes
a record to `on_log` every few iterations.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeVar

from ddgan.data.batch import Batch
from ddgan.training.statistics import Statistics, StatisticsMeter

__all__ = ["Trainable", "fit", "graceful_stop"]


class Trainable(Protocol):
    """A training state that counts its steps and knows when to end."""

    step: int
    num_iterations: int


S = TypeVar("S", bound=Trainable)


def fit(
    state: S,
    step: Callable[[S, Batch, Any], Statistics],
    inputs: Callable[[int], tuple[Batch, Any]],
    meter: StatisticsMeter,
    *,
    log_every: int,
    on_log: Callable[[dict[str, Any]], None],
    on_step: Callable[[], None],
    should_stop: Callable[[], bool],
) -> None:
    """Train until `state.num_iterations`, or until `should_stop()`, which is called between iterations.

    Args:
        state: the training state; `state.step` is the number of finished iterations.
        step: one iteration, (state, batch, noise) -> statistics.
        inputs: iteration -> (batch, noise).
        meter: gathers the statistics.
        log_every: iterations between two records.
        on_log: receives the record: step, seconds, iterations_per_second and the mean statistics.
        on_step: called after each iteration; may change `state.num_iterations`.
        should_stop: whether to end early.
    """
    start = last = time.perf_counter()
    step_at_last = state.step
    while state.step < state.num_iterations and not should_stop():
        meter.add(step(state, *inputs(state.step)))
        if state.step % log_every == 0 or state.step == state.num_iterations:
            statistics = meter.read()  # waits for the device, so the clock is right
            now = time.perf_counter()
            speed = (state.step - step_at_last) / (now - last)
            record = {"step": state.step, "seconds": now - start, "iterations_per_second": speed}
            on_log(record | statistics)
            last, step_at_last = time.perf_counter(), state.step
        on_step()  # after the log, so that no checkpoint is newer than the log


SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]
"""Signals that make a run save and stop: Ctrl-C, the end of a job, and SLURM's early warning."""


STOPPING = "stopping after this iteration; press Ctrl-C again to stop now\n"


@contextmanager
def graceful_stop(*, verbose: bool = False) -> Iterator[Callable[[], int]]:
    """Catch signals to stop; the yielded function returns the number received. A second Ctrl-C interrupts.

    Args:
        verbose: answer the first signal at once, on standard error.
    """
    received = [0]
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return

    def on_signal(number: int, frame: object) -> None:
        if verbose and not received[0]:
            with suppress(OSError):
                os.write(2, STOPPING.encode())  # print could be interrupted by this very signal
        received[0] = number
        signal.signal(signal.SIGINT, previous[signal.SIGINT])

    previous = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield lambda: received[0]
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
