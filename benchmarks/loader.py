"""How fast images are prepared and loaded: python -m benchmarks.loader SOURCE [--out X.json].

SOURCE is anything that `ddgan prepare` takes, for example a folder with CIFAR-10's parquet files. It is
prepared into a new place each time; then batches are loaded in the order of training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.common import publish, spread
from ddgan.data.dataset import ImageDataset
from ddgan.data.prepare import Selection, prepare

BATCH = 256
BATCHES_PER_ROUND = 100
NUM_ROUNDS = 9


def main() -> None:
    """Prepare once, load several rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source")
    parser.add_argument("--split", default="all")
    parser.add_argument("--out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        path = prepare(options.source, Path(folder) / "data", selection=Selection(split=options.split))
        seconds = time.perf_counter() - start
        memory = psutil.Process().memory_info().rss / 1e6
        dataset = ImageDataset(path)
        rates = [rate(dataset, first * BATCHES_PER_ROUND) for first in range(NUM_ROUNDS)]
    count = len(dataset)
    rows = [
        ("images prepared", f"{count:,} of {dataset.state_shape} in {seconds:.1f} s"),
        ("memory of the preparing process", f"{memory:,.0f} MB"),
        (f"images loaded per second, batch {BATCH}", spread(rates)),
    ]
    values = {
        "count": count,
        "prepare_seconds": seconds,
        "prepare_rss_mb": memory,
        "images_per_second": rates,
    }
    publish("loader", rows, values, options.out)


def rate(dataset: ImageDataset, first: int) -> float:
    """Images per second over some batches."""
    start = time.perf_counter()
    for step in range(first, first + BATCHES_PER_ROUND):
        dataset.batch(step, BATCH)
    return BATCHES_PER_ROUND * BATCH / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
