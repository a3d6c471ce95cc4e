"""What sampling takes: memory for a batch, and room on the disk for the output; checked before it begins."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from ddgan.config.run_config import RunConfig
from ddgan.models.sample_store import unfinished
from ddgan.system.files import nearest_folder
from ddgan.system.memory import LIBRARIES, MemoryMeter, available_memory, in_bytes, taken_on

__all__ = ["batch_bytes", "check_room", "check_sampling"]

SMALL = 1 / 8
"""Share of the available memory below which a batch is not looked at further."""
ROUGHLY = 64
"""Values that a network takes per value of a sample and base channel, at most."""
PNG_BLOCK = 4096
"""Bytes that a small file takes on a disk."""
PNG_SHARE = 0.25
"""Bytes of a PNG file per byte of its pixels, if they compress well."""


def batch_bytes(
    config: RunConfig, sample_shape: Sequence[int], size: int, device: torch.device | None = None
) -> int:
    """Return the bytes that a call of the generator with `size` samples takes, without its weights.

    Args:
        config: the settings, with a known number of classes.
        sample_shape: the shape of a sample.
        size: samples at once.
        device: where it is called, which need not be there; by default a CPU.
    """
    conditions, device = config.conditions.shapes, device or torch.device("cpu")
    with torch.device("meta"):
        generator = config.generator.build(tuple(sample_shape), conditions)
    existing = [*generator.parameters(), *generator.buffers()]
    with torch.no_grad(), MemoryMeter(existing, taken_on(device)) as meter:
        x_t = torch.empty(size, *sample_shape, device="meta")
        t = torch.ones(size, dtype=torch.int64, device="meta")
        z = torch.empty(size, config.generator.latent_size, device="meta")
        generator(x_t, t, z, conditions.null(size, sample_shape, "meta"))
    return int(meter.peak) + LIBRARIES


def check_sampling(config: RunConfig, sample_shape: Sequence[int], size: int, device: torch.device) -> None:
    """Check that there is memory for a batch of `size` samples.

    Raises:
        ValueError: in one line, with a batch size that fits, if there is not.
    """
    available = available_memory(device)
    width = getattr(config.generator, "base_channels", 1)
    if available is None or 4 * ROUGHLY * width * math.prod(sample_shape) * size < SMALL * available:
        return
    try:
        taken = batch_bytes(config, sample_shape, size, device)
        asked, wanted = size, taken
        if taken <= available:
            return
        while size > 1:
            size = max(min(int(size * available / taken), size - 1), 1)
            taken = batch_bytes(config, sample_shape, size, device)
            if taken <= available:
                break
    except (RuntimeError, NotImplementedError):  # networks of others need not work without data
        return
    fits = taken <= available
    remedy = f"use at most {size} ({in_bytes(taken)})" if fits else "use a model of smaller samples"
    raise ValueError(
        f"batch_size is {asked}, with which sampling takes about {in_bytes(wanted)}, more than the "
        f"{in_bytes(available)} of {device.type} memory that is available; {remedy}"
    )


def check_room(n: int, sample_shape: Sequence[int], out: Path, *, stored: bool = False) -> None:
    """Check that the disk has room for n samples.

    Args:
        n: their number.
        sample_shape: the shape of a sample.
        out: X.npz, X.png or a folder, as for `save_samples`.
        stored: whether all samples are also kept on the disk until the output is written.

    Raises:
        ValueError: in one line, if it has not.
    """
    values = math.prod(sample_shape) * (1 if len(sample_shape) == 3 else 4)
    size = values if out.suffix == ".npz" else max(int(PNG_SHARE * values), 1)
    if not out.suffix:
        size = max(size, PNG_BLOCK)
    needed = n * (size + values * stored)
    free = shutil.disk_usage(nearest_folder(out)).free
    if stored and unfinished(out).is_dir():
        free += sum(file.stat().st_size for file in unfinished(out).iterdir())
    if needed > free:
        raise ValueError(
            f"n is {n:,}: so many samples take at least {in_bytes(needed)}, but the disk of '{out}' has "
            f"{in_bytes(free)} left; use fewer, or another disk"
        )
