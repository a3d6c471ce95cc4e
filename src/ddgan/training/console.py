"""What a run prints while it trains."""

from __future__ import annotations

import sys
import time
from typing import Any

import torch

from ddgan.system.text import printable

__all__ = ["LR_NAMES", "Logger", "memory_gb", "summary", "time_left"]

LR_NAMES = {"generator": "lr_g", "discriminator": "lr_d"}
"""Names of the learning rates in the log."""
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


def memory_gb(device: torch.device) -> float:
    """Return the memory of this process in GB: peak reserved GPU memory, or resident memory on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    import psutil

    return float(psutil.Process().memory_info().rss) / 1e9
