"""Time of an iteration with gradient penalties, against one without.

    python -m benchmarks.penalties [--preset cifar10] [--batch 16] [--share 0.125] [--out X.json]

Finite differences are taken at real and at fake samples in every iteration, on a share of the batch; the
exact penalties of the paper (R1 alone, every k-th iteration) and exact R1 and R2 in every iteration stand
beside them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.common import batch_for, interleaved, publish, ratios, settings_of, spread, the_device
from ddgan.data.batch import Batch
from ddgan.models.precision import choose_precision
from ddgan.networks.conditions import Condition
from ddgan.system.processes import join_processes
from ddgan.training.iteration import iterate
from ddgan.training.setup import create_state

NONE = "no penalties"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="cifar10")
    parser.add_argument("--batch", type=int, help="images per iteration (default: 16; on a GPU 256)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--share", type=float, default=0.125, help="of the batch, for finite differences")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out")
    options = parser.parse_args()
    device = the_device()
    batch = batch_for(device, options.batch)
    precision = choose_precision(options.precision, device)
    both = ("r1", "r2")
    differences = {"gamma": 0.002, "epsilon": 0.01, "share": options.share}
    penalties: dict[str, list[dict[str, Any]]] = {
        NONE: [],
        "R1 + R2, finite differences": [{"kind": kind} | differences for kind in both],
        "R1, exact": [{"kind": "r1", "gamma": 0.02}],
        "R1 + R2, exact": [{"kind": kind, "gamma": 0.02} for kind in both],
    }
    works = {name: stepper(options.preset, found, precision, batch) for name, found in penalties.items()}
    times = interleaved(works, device, options.rounds)
    slower = {name: ratios(times, NONE, name) for name in penalties if name != NONE}
    every = settings_of(options.preset)[0].method.period
    lazy = [1 + (ratio - 1) / every for ratio in slower["R1, exact"]]
    rows = [
        ("network, images per iteration, precision", f"{options.preset}, {batch}, {precision}"),
        ("share of the batch for finite differences", f"{options.share:g}"),
        ("seconds without penalties", spread(times[NONE])),
        *((f"times as long, {name}, every iteration", spread(found)) for name, found in slower.items()),
        (f"times as long, R1, exact, every {every}th", spread(lazy)),
    ]
    values = {"batch": batch, "precision": precision, "share": options.share, "seconds": times}
    publish("penalties", rows, values | {"ratios": slower, "lazy_r1": lazy}, options.out)


def stepper(preset: str, penalties: list[dict[str, Any]], precision: str, batch: int) -> Callable[[], object]:
    """Return step(), which runs one iteration with all penalties on the same random images each time."""
    config, shape = settings_of(preset)
    config = config.changed({"method.penalties": penalties})
    settings: dict[str, Any] = {"precision": precision, "channels_last": True, "batch_size": batch}
    config = replace(config, training=replace(config.training, **settings))
    processes = join_processes("auto")
    state = create_state(config, shape, processes)
    x = torch.rand(batch, *shape, device=processes.device) * 2 - 1
    x = x.contiguous(memory_format=torch.channels_last if x.ndim == 4 else torch.contiguous_format)
    labels = torch.zeros(batch, dtype=torch.int64, device=processes.device)
    condition = Condition(label=labels) if config.num_classes else None

    def step() -> None:
        state.step = config.method.first_usual
        iterate(state, Batch(x, condition), config.method.draw(config, 0, x))

    return step


if __name__ == "__main__":
    main()
