"""What a run says while it trains: losses per step t, gathered on the device, one JSON line at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

OF_THE_GENERATOR = {"loss_g", "reconstruction"}
"""Statistics that belong to the generator's t; all others belong to the discriminator's."""


class StatisticsMeter:
    """Averages the statistics of training steps, overall and per t, without waiting for the device."""

    def __init__(self, num_steps: int) -> None:
        self._num_steps = num_steps
        self._sums: dict[str, Tensor] = {}  # (2, T): sums and counts of each t

    def add(self, statistics: dict[str, Tensor]) -> None:
        """Take the statistics of one step: `t_d`, `t_g` and values per sample, all (B,)."""
        for name, values in statistics.items():
            if name in ("t_d", "t_g"):
                continue
            t = statistics["t_g" if name in OF_THE_GENERATOR else "t_d"] - 1
            if name not in self._sums:
                self._sums[name] = torch.zeros(2, self._num_steps, device=values.device)
            self._sums[name][0].index_add_(0, t, values.float())
            self._sums[name][1].index_add_(0, t, torch.ones_like(values, dtype=torch.float32))

    def read(self) -> dict[str, Any]:
        """Means since the last reading: name -> mean, and name_by_t -> [mean at t = 1..T]; resets."""
        means: dict[str, Any] = {}
        for name, (total, count) in {name: sums.cpu() for name, sums in self._sums.items()}.items():
            means[name] = float(total.sum() / count.sum())
            means[f"{name}_by_t"] = [float(s / c) if c else None for s, c in zip(total, count, strict=True)]
        self._sums.clear()
        return means


class JsonLines:
    """A log file with one JSON object per line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Append one line; it is on disk at once, so a killed run keeps its log."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
