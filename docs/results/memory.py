"""Predicted against measured memory of training on a CPU; the output is memory.md.

    python docs/results/memory.py > docs/results/memory.md

Each case runs in a process of its own: the state is made, two iterations are run, the first with all
penalties, and a checkpoint is saved. The measured memory is the peak resident memory of that process above
what it takes before. Nothing else should run on the machine.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
import torch

from ddgan.config.run_config import RunConfig
from ddgan.models.weights_file import metadata_of
from ddgan.system.processes import Processes
from ddgan.training.estimate import estimate
from ddgan.training.iteration import iterate
from ddgan.training.setup import create_state, training_inputs
from ddgan.training.workspace import checkpoints_of

CONVOLUTIONAL = ("cifar10_small", (3, 32, 32))
NO_R1 = {"method.penalties": []}
BF16 = {"training.precision": "bf16"}
RECOMPUTED = {"training.activation_checkpointing": True}
CASES: list[tuple[str, tuple[int, ...], int, dict[str, Any]]] = [
    *((*CONVOLUTIONAL, size, {}) for size in (8, 16, 32)),
    (*CONVOLUTIONAL, 16, NO_R1),
    (*CONVOLUTIONAL, 16, BF16),
    (*CONVOLUTIONAL, 16, BF16 | NO_R1),
    (*CONVOLUTIONAL, 16, RECOMPUTED),
    (*CONVOLUTIONAL, 16, RECOMPUTED | NO_R1),
    (*CONVOLUTIONAL, 16, RECOMPUTED | BF16 | NO_R1),
    (*CONVOLUTIONAL, 32, {"training.accumulation": 4}),
    (*CONVOLUTIONAL, 16, {"training.channels_last": False}),
    ("cifar10_small", (3, 64, 64), 64, {}),
    ("cifar10_small", (3, 64, 64), 64, BF16),
    ("cifar10", (3, 32, 32), 4, {}),
    ("digits_quick", (3, 8, 8), 256, {}),
    ("digits_quick", (3, 8, 8), 8192, {}),
    ("digits_wgan_gp", (3, 8, 8), 16384, {}),
    ("digits_ddpm", (3, 8, 8), 16384, {}),
    ("gaussians", (2,), 16384, {}),
]


class Zeros:
    """A dataset of zeros."""

    checksum = ""

    def __init__(self, sample_shape: tuple[int, ...]) -> None:
        self.sample_shape = sample_shape

    def batch(self, step: int, size: int, rows: slice) -> Any:
        from ddgan.data.batch import Batch

        return Batch(torch.zeros(size, *self.sample_shape)[rows])


def configured(name: str, size: int, changes: dict[str, Any]) -> RunConfig:
    """Return the settings of a case."""
    settings = {"training.batch_size": size, "training.precision": "float32", "data": "digits"}
    config = RunConfig.load(name, settings | changes)
    return dataclasses.replace(config, augmentation=())


def measure(case: int) -> int:
    """Return the peak resident memory of a case in bytes, above what the process takes before."""
    import resource

    name, shape, size, changes = CASES[case]
    config, processes = configured(name, size, changes), Processes(torch.device("cpu"))
    before = psutil.Process().memory_info().rss
    state = create_state(config, shape, processes)
    inputs = training_inputs(config, Zeros(shape), processes)
    for step in range(2):
        iterate(state, *inputs(step))
    with tempfile.TemporaryDirectory() as folder:
        checkpoints_of(Path(folder), config.training).save(
            state, metadata_of(config, shape, "") | {"seconds": 0.0}
        )
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before


def main() -> None:
    """Print the table."""
    flags = Path("/proc/cpuinfo").read_text(encoding="ascii").partition("flags")[2].partition("\n")[0].split()
    vector = [flag for flag in flags if flag.startswith(("avx", "amx"))]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    words = (
        "# Predicted and measured memory of training\n",
        "`python docs/results/memory.py` runs two iterations of each case and saves a checkpoint, in a",
        "process of its own. Predicted is the total of `ddgan.training.estimate`; measured is the peak",
        "resident memory above what the process took before.\n",
        f"Commit {commit.stdout.strip()}, torch {torch.__version__}, {torch.get_num_threads()} thread(s),",
        f"{platform.machine()}: {' '.join(vector)}.\n",
        "| preset | sample | batch | changed | predicted MB | measured MB | ratio |",
        "|---|---|---|---|---|---|---|",
    )
    print("\n".join(words), flush=True)
    for index, (name, shape, size, changes) in enumerate(CASES):
        predicted = estimate(configured(name, size, changes), shape).total_bytes
        command = [sys.executable, __file__, str(index)]
        measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        changed = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in changes.items()) or "-"
        print(
            f"| {name} | {' x '.join(map(str, shape))} | {size} | {changed} | {predicted / 1e6:.0f} | "
            f"{measured / 1e6:.0f} | {predicted / measured:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    print(measure(int(sys.argv[1]))) if len(sys.argv) > 1 else main()
