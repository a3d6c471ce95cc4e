"""Where a result comes from: the machine and the commit."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

import torch

__all__ = ["commit", "machine"]


@cache
def commit() -> str:
    """Return the commit of the running source, with "+changes" if files differ; "" outside a checkout."""
    folder = Path(__file__).resolve().parent
    try:
        known = _git(folder, "rev-parse", "--short=12", "HEAD")
        return known + ("+changes" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@cache
def machine() -> str:
    """Describe the machine: processor or GPU, cores, threads in use."""
    if torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads in use"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
