"""Timing, device and output code shared by the benchmarks."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ddgan import RunConfig
from ddgan.data.embedded import is_embedded
from ddgan.system.devices import choose_device, wait_for
from ddgan.training.setup import resolved


def spread(values: list[float]) -> str:
    """Format the median and the interquartile range."""
    if len(values) < 2:
        return f"{values[0]:,.4g}"
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:,.4g} ({low:,.4g} to {high:,.4g})"


def interleaved(
    works: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Time each work in turn, in seconds, so that a slow moment of the machine affects all equally.

    One warm-up round is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            wait_for(device)
            start = clock()
            work()
            wait_for(device)
            if number:
                times[name].append(clock() - start)
    return times


def ratios(times: dict[str, list[float]], of: str, to: str) -> list[float]:
    """Return the speedup of `of` over `to` in each round."""
    return [slow / fast for fast, slow in zip(times[of], times[to], strict=True)]


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the FLOP/s of a large matrix product, a practical peak of the machine."""
    size = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    times = interleaved({"matmul": lambda: a @ b}, device, 7)["matmul"]
    return 2 * size**3 / min(times)


def the_device() -> torch.device:
    """Return a GPU if there is one."""
    return choose_device("auto")


def settings_of(preset: str) -> tuple[RunConfig, tuple[int, ...]]:
    """Return a preset and the shape of its samples; sizes set only by the data default to 3 x 32 x 32."""
    config = RunConfig.load(preset)
    if is_embedded(config.data):
        dataset = config.data.open()
        return resolved(config, dataset), dataset.sample_shape
    size = config.data.size or 32
    return config, (config.data.channels or 3, size, size)


def batch_for(device: torch.device, given: int | None) -> int:
    """Return the given batch size, or the default for the device."""
    return given or (256 if device.type == "cuda" else 16)


def machine() -> dict[str, Any]:
    """Return the device, software, commit and command line of a measurement."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": commit.stdout.strip(),
        "command": " ".join(["python -m", *_command(sys.argv)]),
    }


def _command(arguments: list[str]) -> list[str]:
    return [f"benchmarks.{Path(arguments[0]).stem}", *arguments[1:]]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    known = torch.backends.cpu.get_cpu_capability()
    return f"{names[0] if names else platform.processor() or platform.machine()}, {known}"


def publish(name: str, rows: list[tuple[str, str]], values: dict[str, Any], out: str | None) -> None:
    """Print a table, and write JSON to `out` if it is given."""
    about = machine()
    where = f"{about['device']}, {about['threads']} threads, torch {about['torch']}, commit {about['commit']}"
    print(f"{name}: {where}")
    width = max(len(row[0]) for row in rows)
    for label, value in rows:
        print(f"  {label:<{width}}  {value}")
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps({"benchmark": name, **about, **values}, indent=2) + "\n")
