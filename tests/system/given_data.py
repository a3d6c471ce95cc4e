"""What each process of a run on data from Python does."""

from __future__ import annotations

import os

import numpy as np

import ddgan


class Counted:
    """A dataset that knows how often it was read."""

    reads = 0

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        self.reads += 1
        return np.random.default_rng(index).integers(256, size=(8, 8, 3), dtype=np.uint8), index % 3


def train_on_counted(config: str, out: str) -> int:
    """Train on it, and say how often it was read."""
    data = Counted()
    ddgan.train(config, out, data=data)
    print(f"reads: {data.reads} of rank {os.environ.get('RANK', 0)}", flush=True)
    return 0
