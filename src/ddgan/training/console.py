"""What a run prints while it trains."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any

import torch

from ddgan.config.training import known_end
from ddgan.system.text import printable

__all__ = ["LR_NAMES", "Logger", "memory_gb", "pace", "summary", "time_left"]

LR_NAMES = {"generator": "lr_g", "discriminator": "lr_d"}
"""Names of the learning rates in the log."""
LONGEST_ETA = 10 * 365 * 24 * 3600.0
"""Seconds from now to the last end that is given as a date."""
SECONDS_BETWEEN_LINES = 15.0
"""Interval between progress lines when there is no terminal."""


class Logger:
    """Prints lines on standard error."""

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose
        self._last = time.monotonic()

    def __call__(self, line: str) -> None:
        """Print a line."""
        if self.verbose:
            print(printable(line), file=sys.stderr, flush=True)

    def sometimes(self, line: str) -> None:
        """Print a line if there was none for a while and no progress bar is shown."""
        if not sys.stderr.isatty() and time.monotonic() - self._last > SECONDS_BETWEEN_LINES:
            self._last = time.monotonic()
            self(line)


def summary(record: dict[str, Any]) -> str:
    """Summarise a record: speed, losses, learning rates, memory."""
    losses = [
        f"{name} {_number(record[key])}" for name, key in (("D", "loss_d"), ("G", "loss_g")) if key in record
    ]
    rates = " ".join(f"{record[key]:.1e}" for key in LR_NAMES.values() if key in record)
    speed = f"{record['images_per_second']:.0f} images/s"
    return "  ".join([speed, *losses, f"lr {rates}", f"{record['memory_gb']:.1f} GB"])


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f}"


def time_left(seconds: float) -> str:
    """Format seconds as minutes or hours."""
    if seconds < 90 * 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"


def pace(seconds: float, step: int, end: int) -> str:
    """Say how long an iteration takes, and when training ends if that is known.

    Args:
        seconds: what an iteration takes.
        step: finished iterations.
        end: the last iteration, or UNMEASURED.
    """
    speed = f"{seconds:.3g} s per iteration" if seconds >= 1 else f"{1000 * seconds:.3g} ms per iteration"
    if known_end(end) is None:
        return speed
    left = seconds * (end - step)
    line = f"{speed}: the other {end - step:,} take about {time_left(left)}"
    if left > LONGEST_ETA:
        return line
    over = datetime.datetime.now() + datetime.timedelta(seconds=left)
    return f"{line}, until {over:%Y-%m-%d %H:%M}"


def memory_gb(device: torch.device) -> float:
    """Return the memory of this process in GB: peak reserved GPU memory, or resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e9
