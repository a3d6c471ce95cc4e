"""How long the scores of 50,000 x 2,048 features take, and how much memory: a table and a JSON.

    python benchmarks/metrics.py --out benchmarks/metrics.json

Features are random, of a spectrum like Inception's; the time does not depend on them. The peak is of the
whole process, features included.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ddgan.metrics.frechet import frechet_score, statistics_of
from ddgan.metrics.inception_score import inception_score
from ddgan.metrics.kernel import kernel_score
from ddgan.metrics.precision_recall import neighbour_scores


def make_features(count: int, dimensions: int, shift: float, seed: int) -> torch.Tensor:
    """Normal features (count, dimensions) whose variances fall as a power law."""
    rng = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, dimensions + 1).float() ** -0.5
    return torch.randn(count, dimensions, generator=rng).mul_(scale).add_(shift * scale)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=50_000, help="features of each kind (default: 50000)")
    parser.add_argument("--dimensions", type=int, default=2048, help="of each (default: 2048)")
    parser.add_argument("--out", type=Path, help="where to write the JSON")
    options = parser.parse_args()
    real = make_features(options.n, options.dimensions, 0.0, 0)
    samples = make_features(options.n, options.dimensions, 0.1, 1)
    rows: dict[str, Any] = {}

    def measure(name: str, work: Callable[[], object]) -> None:
        start = time.perf_counter()
        work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows[name] = {"seconds": time.perf_counter() - start, "peak_gib": peak}
        print(f"{name:<44} {rows[name]['seconds']:8.1f} s   {peak:5.2f} GiB peak so far", flush=True)

    measure(
        "Fréchet with both statistics and interval",
        lambda: frechet_score("", samples, statistics_of(samples), statistics_of(real)),
    )
    measure("kernel distance, 100 subsets of 1,000", lambda: kernel_score("", real, samples))
    probabilities = samples[:, :1008].softmax(dim=1)
    measure("Inception score, 1 and 10 splits", lambda: inception_score("", probabilities))
    measure("precision, recall, density, coverage", lambda: neighbour_scores(real, samples))
    record = {
        "n": options.n,
        "dimensions": options.dimensions,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.machine()}, {platform.system()}",
        "torch": torch.__version__,
        "command": " ".join(["python", *sys.argv]),
        "scores": rows,
    }
    if options.out:
        options.out.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
