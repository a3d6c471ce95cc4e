"""Training statistics: gathered on the device, written as one JSON line at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddgan.models.run_folder import read_log
from ddgan.system.processes import Processes
from ddgan.system.seal import sealed

__all__ = ["LOSS_SCALE", "JsonLines", "Statistics", "StatisticsMeter", "finite", "rewind_log"]

Statistics = dict[str, dict[str, Tensor]]
"""For each update (such as "generator"), detached values by name: (B,) per sample, or () per iteration."""

PLACES = "t"
"""The name of the statistic that holds the t of each sample."""


class StatisticsMeter:
    """Averages the statistics of training steps, overall and per t, without waiting for the device.

    Args:
        num_bins: T, or the number of bins of t that the method uses.
        processes: the processes to average over.
    """

    def __init__(self, num_bins: int, processes: Processes | None = None) -> None:
        self._num_bins, self._processes = num_bins, processes
        self._sums: dict[str, Tensor] = {}  # (2, bins): sums and counts of each t, or (2, 1)

    def add(self, statistics: Statistics) -> None:
        """Add the statistics of one iteration: for each update, values per sample (B,), or ().

        If an update gives the `t` of its samples, in 1..num_bins, its values are also averaged per t.
        """
        for values_of_update in statistics.values():
            places = values_of_update.get(PLACES)
            for name, values in values_of_update.items():
                if name != PLACES:
                    self._add(name, values, places)

    def _add(self, name: str, values: Tensor, places: Tensor | None) -> None:
        if places is None or values.ndim == 0:
            places, size = torch.zeros(values.numel(), dtype=torch.int64, device=values.device), 1
            values = values.reshape(-1)
        else:
            places, size = places - 1, self._num_bins
        if name not in self._sums:
            self._sums[name] = torch.zeros(2, size, device=values.device)
        self._sums[name][0].index_add_(0, places, values.float())
        self._sums[name][1].index_add_(0, places, torch.ones_like(values, dtype=torch.float32))

    def read(self) -> dict[str, Any]:
        """Return the means since the last call, name -> mean and name_by_t -> [mean at t = 1..T], and reset.

        A mean that is not finite is None. Every process must call this.
        """
        if self._processes is not None:
            self._processes.sum_(self._sums[name] for name in sorted(self._sums))
        means: dict[str, Any] = {}
        for name, (total, count) in {name: sums.cpu() for name, sums in self._sums.items()}.items():
            means[name] = finite(total.sum() / count.sum())
            if len(total) > 1 or (self._num_bins == 1 and is_binned(name)):
                means[f"{name}_by_t"] = [finite(s / c) for s, c in zip(total, count, strict=True)]
        self._sums.clear()
        return means

    def unfinished(self, *, together: bool = True) -> dict[str, Tensor]:
        """Return the sums since the last `read`, of each process (processes, 2, bins), for a checkpoint.

        Args:
            together: gather those of every process, which must all call this; otherwise only this process's.
        """
        rank, count = (0, 1) if self._processes is None else (self._processes.rank, self._processes.count)
        found: dict[str, Tensor] = {}
        for place, (name, sums) in enumerate(self._sums.items()):  # a log line has them in this order
            found[f"{place:03}.{name}"] = rows = sums.new_zeros(count, *sums.shape)
            rows[rank] = sums
        if together and found and self._processes is not None:
            self._processes.sum_(found[name] for name in sorted(found, key=_name))
        return found

    def restore(self, unfinished: dict[str, Tensor]) -> None:
        """Go on from the sums that `unfinished` returned, on any number of processes.

        On as many as before, the means will be those of a run that was never interrupted.
        """
        rank, count = (0, 1) if self._processes is None else (self._processes.rank, self._processes.count)
        device = torch.device("cpu") if self._processes is None else self._processes.device
        for key in sorted(unfinished):
            rows = unfinished[key]
            if len(rows) != count:
                rows = torch.cat([rows.sum(dim=0, keepdim=True), rows.new_zeros(count - 1, *rows.shape[1:])])
            self._sums[_name(key)] = rows[rank].to(device, copy=True)


def _name(key: str) -> str:
    return key.partition(".")[2]


LOSS_SCALE = "loss_scale_"
"""Prefix of the name of the statistic with the loss scale of an update."""


def is_binned(name: str) -> bool:
    """Whether a statistic belongs to samples, each with its t, and not to a whole iteration."""
    return name != "skipped" and not name.startswith(LOSS_SCALE)


def finite(value: Tensor | float) -> float | None:
    """Return a number that JSON can represent, or None."""
    number = float(value)
    return number if math.isfinite(number) else None


class JsonLines:
    """A log file with one JSON object per line; an existing file is appended to."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Append one line and flush it, so that a killed run keeps its log."""
        self._file.write(json.dumps(sealed(record)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def rewind_log(path: Path, step: int) -> int:
    """Drop the records after iteration `step`, from which training resumes, and damaged lines.

    Returns:
        The number of damaged lines.
    """
    from ddgan.system.files import write_atomically

    damaged: list[str] = []
    kept = read_log(path, damaged.append) if path.is_file() else []
    lines = (json.dumps(sealed(record)) for record in kept if record["step"] <= step)
    write_atomically(path, "".join(f"{line}\n" for line in lines))
    return len(damaged)
