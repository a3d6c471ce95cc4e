"""Time and memory of the scores of 50,000 x 2,048 features: a table and a JSON.

    python -m benchmarks.metrics [--out X.json]

The features are random, with a spectrum like Inception's; the time does not depend on their values. The peak
memory is that of the whole process, including the features.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.common import publish
from ddgan.metrics.frechet import frechet_score
from ddgan.metrics.inception_score import inception_score
from ddgan.metrics.kernel import kernel_score
from ddgan.metrics.moments import statistics_of
from ddgan.metrics.precision_recall import neighbour_scores


def make_features(count: int, dimensions: int, shift: float, seed: int) -> torch.Tensor:
    """Draw normal features (count, dimensions) whose variances follow a power law."""
    rng = torch.Generator().manual_seed(seed)
    scale = torch.arange(1, dimensions + 1).float() ** -0.5
    return torch.randn(count, dimensions, generator=rng).mul_(scale).add_(shift * scale)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "-n", type=int, default=50_000, help="real and generated features each (default: 50000)"
    )
    parser.add_argument("--dimensions", type=int, default=2048, help="size of a feature (default: 2048)")
    parser.add_argument("--out", help="where to write the JSON")
    options = parser.parse_args()
    real = make_features(options.n, options.dimensions, 0.0, 0)
    samples = make_features(options.n, options.dimensions, 0.1, 1)
    rows: dict[str, Any] = {}

    def measure(name: str, work: Callable[[], object]) -> None:
        start = time.perf_counter()
        work()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        rows[name] = {"seconds": time.perf_counter() - start, "peak_gib": peak}

    measure(
        "Fréchet with both statistics and interval",
        lambda: frechet_score("", samples, statistics_of(samples), statistics_of(real)),
    )
    measure("kernel distance, 100 subsets of 1,000", lambda: kernel_score("", real, samples))
    probabilities = samples[:, :1008].softmax(dim=1)
    measure("Inception score, 1 and 10 splits", lambda: inception_score("", probabilities))
    measure("precision, recall, density, coverage", lambda: neighbour_scores(real, samples))
    table = [
        (name, f"{row['seconds']:.1f} s, {row['peak_gib']:.2f} GiB peak so far") for name, row in rows.items()
    ]
    sizes = {"n": options.n, "dimensions": options.dimensions}
    publish(f"metrics, {options.n:,} x {options.dimensions:,}", table, {**sizes, "scores": rows}, options.out)


if __name__ == "__main__":
    main()
