"""What a run prints while it trains."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Mapping
from typing import Any

import torch

from ddgan.config.training import known_end
from ddgan.system.text import printable

__all__ = ["LR_NAMES", "Logger", "memory_gb", "pace", "pause_between_lines", "summary", "time_left"]

LR_NAMES = {"generator": "lr_g", "discriminator": "lr_d"}
"""Names of the learning rates in the log."""
LONGEST_ETA = 10 * 365 * 24 * 3600.0
"""Seconds from now to the last end that is given as a date."""
FIRST_LINE = 2.0
"""Seconds after which the first progress line is printed where there is no terminal."""


class Logger:
    """Prints lines on standard error."""

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose

    def __call__(self, line: str) -> None:
        """Print a line."""
        if self.verbose:
            print(printable(line), file=sys.stderr, flush=True)


def summary(state: str, speed: float, memory: float, record: Mapping[str, Any]) -> str:
    """Summarise training on a line: its state in words, images per second, memory in GB, and the losses.

    Args:
        state: the state in words.
        speed: images per second.
        memory: memory of this process in GB.
        record: the newest record of the log; empty if there is none yet.
    """
    losses = [
        f"{name} {_number(record[key])}" for name, key in (("D", "loss_d"), ("G", "loss_g")) if key in record
    ]
    rate = f"{speed:,.0f}" if speed >= 10 else f"{speed:.2g}"
    return "  ".join([state, f"{rate} images/s", f"{memory:.1f} GB", *losses])


def pause_between_lines(seconds: float) -> float:
    """Return the seconds until the next progress line where there is no terminal: first few, at last 60.

    Args:
        seconds: since the start.
    """
    return max(min(max(seconds, FIRST_LINE), 15.0), min(seconds / 10, 60.0))


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
