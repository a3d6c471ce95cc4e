"""What every benchmark prints and writes."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
from pathlib import Path
from typing import Any

import torch


def spread(values: list[float]) -> str:
    """Median, and the range of the middle half."""
    if len(values) < 2:
        return f"{values[0]:,.4g}"
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:,.4g} ({low:,.4g} to {high:,.4g})"


def machine() -> dict[str, Any]:
    """Where and on which code a figure was measured."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    return {
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "commit": commit.stdout.strip(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def publish(name: str, rows: list[tuple[str, str]], values: dict[str, Any], out: str | None) -> None:
    """Print a table, and write JSON if asked."""
    facts = machine()
    where = f"{facts['device']}, {facts['threads']} threads, torch {facts['torch']}, commit {facts['commit']}"
    print(f"{name}: {where}")
    width = max(len(row[0]) for row in rows)
    for label, value in rows:
        print(f"  {label:<{width}}  {value}")
    if out:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        Path(out).write_text(json.dumps({"benchmark": name, **facts, **values}, indent=2) + "\n")
