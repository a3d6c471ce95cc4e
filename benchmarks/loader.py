"""Speed of preparing and loading images: python -m benchmarks.loader [SOURCE] [--out X.json].

SOURCE is anything that `ddgan prepare` takes, for example a folder with CIFAR-10's parquet files; by default
a zip of generated PNG files. It is prepared into a new folder each time; then batches are loaded in training
order.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks.common import publish, spread
from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset

BATCH = 256
BATCHES_PER_ROUND = 100
NUM_ROUNDS = 9
NUM_GENERATED = 20_000
SIZE = 32
"""Height and width of generated images, in pixels."""


def main() -> None:
    """Prepare once, then load for several rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", help="(default: a zip of generated PNG files of 32 pixels)")
    parser.add_argument("-n", type=int, default=NUM_GENERATED, help="generated images (default: %(default)s)")
    parser.add_argument("--split", default="all")
    parser.add_argument("--out")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = options.source or generated(Path(folder) / "generated.zip", options.n)
        start = time.perf_counter()
        path = prepare(source, Path(folder) / "data", selection=Selection(split=options.split))
        seconds = time.perf_counter() - start
        memory = psutil.Process().memory_info().rss / 1e6
        dataset = ImageDataset(path)
        rates = [rate(dataset, first * BATCHES_PER_ROUND) for first in range(NUM_ROUNDS)]
    count = len(dataset)
    rows = [
        ("images prepared", f"{count:,} of {dataset.sample_shape} in {seconds:.1f} s"),
        ("memory of the preparing process", f"{memory:,.0f} MB"),
        (f"images loaded per second, batch {BATCH}", spread(rates)),
    ]
    values = {
        "source": options.source or "generated",
        "count": count,
        "prepare_seconds": seconds,
        "prepare_rss_mb": memory,
        "images_per_second": rates,
    }
    publish("loader", rows, values, options.out)


def generated(path: Path, count: int) -> str:
    """Write a zip of noisy PNG files; returns its path."""
    rng = np.random.Generator(np.random.PCG64(0))
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            buffer = io.BytesIO()
            Image.fromarray(rng.integers(256, size=(SIZE, SIZE, 3), dtype=np.uint8)).save(buffer, "PNG")
            archive.writestr(f"{index:06d}.png", buffer.getvalue())
    return str(path)


def rate(dataset: ImageDataset, first: int) -> float:
    """Measure images per second over some batches."""
    start = time.perf_counter()
    for step in range(first, first + BATCHES_PER_ROUND):
        dataset.batch(step, BATCH)
    return BATCHES_PER_ROUND * BATCH / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
