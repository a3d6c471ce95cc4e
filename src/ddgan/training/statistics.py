"""What a run says while it trains: statistics gathered on the device, one JSON line at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddgan.system.processes import Processes

OF_THE_GENERATOR = {"loss_g", "reconstruction", "variance_fake", "variance_real"}
"""Statistics that belong to the generator's t; the others of a sample belong to the discriminator's."""
OF_THE_ITERATION = {"skipped"}
"""Statistics that belong to no t: one number per iteration."""


class StatisticsMeter:
    """Averages the statistics of training steps, overall and per t, without waiting for the device.

    Args:
        num_steps: T.
        processes: whose samples are averaged over.
    """

    def __init__(self, num_steps: int, processes: Processes | None = None) -> None:
        self._num_steps, self._processes = num_steps, processes
        self._sums: dict[str, Tensor] = {}  # (2, T): sums and counts of each t, or (2, 1)

    def add(self, statistics: dict[str, Tensor]) -> None:
        """Take the statistics of one step: `t_d`, `t_g`, values per sample (B,) and of the step ()."""
        for name, values in statistics.items():
            if name in ("t_d", "t_g"):
                continue
            if name in OF_THE_ITERATION:
                values = values.reshape(1)
                places, size = torch.zeros_like(values, dtype=torch.int64), 1
            else:
                places = statistics["t_g" if name in OF_THE_GENERATOR else "t_d"] - 1
                size = self._num_steps
            if name not in self._sums:
                self._sums[name] = torch.zeros(2, size, device=values.device)
            self._sums[name][0].index_add_(0, places, values.float())
            self._sums[name][1].index_add_(0, places, torch.ones_like(values, dtype=torch.float32))

    def read(self) -> dict[str, Any]:
        """Means since the last reading: name -> mean, and name_by_t -> [mean at t = 1..T]; resets.

        Where there is no finite mean, it is None. Every process must call it.
        """
        if self._processes is not None:
            self._processes.sum_(self._sums[name] for name in sorted(self._sums))
        means: dict[str, Any] = {}
        for name, (total, count) in {name: sums.cpu() for name, sums in self._sums.items()}.items():
            means[name] = finite(total.sum() / count.sum())
            if name not in OF_THE_ITERATION:
                means[f"{name}_by_t"] = [finite(s / c) for s, c in zip(total, count, strict=True)]
        self._sums.clear()
        return means


def finite(value: Tensor | float) -> float | None:
    """A number that JSON has, or None."""
    number = float(value)
    return number if math.isfinite(number) else None


class JsonLines:
    """A log file with one JSON object per line; a log that is there already is gone on with."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Append one line; it is on disk at once, so a killed run keeps its log."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log file; a last line that a kill cut short is left out."""
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def rewind_log(path: Path, step: int) -> None:
    """Forget the records after iteration `step`, which training goes on from."""
    from ddgan.system.files import write_atomically

    kept = [record for record in read_log(path) if record["step"] <= step] if path.is_file() else []
    write_atomically(path, "".join(json.dumps(record) + "\n" for record in kept))
