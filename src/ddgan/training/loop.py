"""The loop around a training step: for everything that trains here.

It knows neither networks nor files: it calls `step(state, batch, noise)`, gathers what that returns,
and hands a record to `on_log` from time to time.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from torch import Tensor

from ddgan.data.base import Batch
from ddgan.training.logging import StatisticsMeter


class HasStep(Protocol):
    """A training state that counts its own steps."""

    step: int


S = TypeVar("S", bound=HasStep)


def fit(
    state: S,
    step: Callable[[S, Batch, Any], dict[str, Tensor]],
    inputs: Callable[[int], tuple[Batch, Any]],
    num_iterations: int,
    meter: StatisticsMeter,
    *,
    log_every: int,
    on_log: Callable[[dict[str, Any]], None],
    on_step: Callable[[], None],
    should_stop: Callable[[], bool],
) -> None:
    """Train until `num_iterations` or until `should_stop`, which is asked between two steps.

    Args:
        state: what is trained; `state.step` is the number of finished iterations.
        step: one iteration, (state, batch, noise) -> statistics per sample.
        inputs: iteration -> (batch, noise).
        num_iterations: where to end, counted from the state's beginning.
        meter: gathers the statistics.
        log_every: iterations between two records.
        on_log: takes the record: step, images, seconds, images_per_second and the averaged statistics.
        on_step: called after each iteration.
        should_stop: whether to end early.
    """
    start = last = time.perf_counter()
    images = images_at_last = 0
    while state.step < num_iterations and not should_stop():
        batch, noise = inputs(state.step)
        meter.add(step(state, batch, noise))
        images += len(batch.images)
        on_step()
        if state.step % log_every == 0 or state.step == num_iterations:
            statistics = meter.read()  # waits for the device, so the clock is right
            now = time.perf_counter()
            speed = (images - images_at_last) / (now - last)
            record = {"step": state.step, "images": images, "seconds": now - start}
            on_log(record | {"images_per_second": speed} | statistics)
            last, images_at_last = now, images


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Within it, the first Ctrl-C only sets the flag that is yielded; a second one interrupts."""
    flag = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield flag.is_set
        return

    def on_signal(number: int, frame: object) -> None:
        flag.set()
        signal.signal(signal.SIGINT, previous)

    previous = signal.signal(signal.SIGINT, on_signal)
    try:
        yield flag.is_set
    finally:
        signal.signal(signal.SIGINT, previous)
