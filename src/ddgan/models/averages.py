"""Averages of a generator's weights whose length is chosen after training.

Training saves averages of two lengths now and then (`optimization.ema.snapshot_every`). Any other is nearly a
sum of them, with coefficients that fit its profile by least squares (Karras et al., arXiv 2312.02696).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ddgan.config.power_average import LONGEST, exponent_of
from ddgan.models.opening import model_of, open_weights
from ddgan.models.run_folder import AVERAGES_NAME
from ddgan.system.files import read_tensors
from ddgan.system.text import one_line

__all__ = ["Snapshot", "averaged", "snapshot_name", "snapshots_of", "sum_of"]

LARGEST_MISFIT = 0.1
"""An average is refused if the best sum misses its profile by more, relative to the profile."""


class Snapshot(NamedTuple):
    """A saved average: its file, its iteration, its relative length."""

    path: Path
    step: int
    length: float


def snapshot_name(step: int, length: float) -> str:
    """Return the file name of the average of this relative length after `step` iterations."""
    return f"{step:08d}-{length:g}.safetensors"


def snapshots_of(run: Path) -> list[Snapshot]:
    """Return the saved averages of a run, in order of their iterations."""
    found = []
    for path in sorted((run / AVERAGES_NAME).glob("*.safetensors")):
        if match := re.fullmatch(r"([0-9]{8,})-([0-9.]+)\.safetensors", path.name):
            found.append(Snapshot(path, int(match[1]), float(match[2])))
    return found


def averaged(
    run: str | Path, length: float, *, step: int | None = None, device: torch.device | str = "cpu"
) -> Any:
    """Open the model of a run with another average of its weights.

    Args:
        run: the run folder, of a run with `optimization.ema.lengths` and `optimization.ema.snapshot_every`.
        length: the relative length, in (0, 0.28].
        step: the iteration at which the average ends; that of the newest snapshot by default.
        device: device of the weights.

    Returns:
        A model as `ddgan.load` opens it.

    Raises:
        ValueError: if the run has no snapshots, they do not give an average of this length, or a file is
            damaged.
    """
    terms = sum_of(run, length, step)
    weights, path = open_weights(run)
    total: dict[str, Tensor] = {}
    for snapshot, coefficient in terms:
        for name, tensor in tensors_of(snapshot.path).items():
            term = coefficient * tensor.double()
            total[name] = total[name] + term if name in total else term
    tensors = {
        name: total[name].to(tensor.dtype) if name in total else tensor
        for name, tensor in weights.tensors.items()
    }
    return model_of(weights._replace(tensors=tensors), path, device)


def sum_of(run: str | Path, length: float, step: int | None = None) -> list[tuple[Snapshot, float]]:
    """Return the saved averages whose sum has a length, each with its coefficient; see `averaged`.

    Raises:
        ValueError: if the run has no snapshots, or they do not give an average of this length.
    """
    if not 0 < length <= LONGEST:
        raise ValueError(f"length is {length:g}; it must be above 0, at most {LONGEST}")
    snapshots = snapshots_of(Path(run))
    if not snapshots:
        raise ValueError(
            f"'{run}' has no saved averages; train with --optimization.ema.lengths '[0.05, 0.1]' "
            "--optimization.ema.snapshot_every 1000"
        )
    end = snapshots[-1].step if step is None else step
    used = [snapshot for snapshot in snapshots if snapshot.step <= end]
    if not used:
        raise ValueError(f"step is {end}, but the first average of '{run}' is of step {snapshots[0].step}")
    coefficients, misfit = fitted([(s.step, s.length) for s in used], end, length)
    if misfit > LARGEST_MISFIT:
        raise ValueError(
            f"no sum of the {len(used)} averages of '{run}' has the length {length:g} at iteration {end}: "
            f"the best misses it by {misfit:.0%}; use a length closer to those saved, or save more often"
        )
    return list(zip(used, coefficients, strict=True))


def fitted(saved: Sequence[tuple[int, float]], end: int, length: float) -> tuple[list[float], float]:
    """Fit a profile by a sum of others.

    Args:
        saved: the iteration and the relative length of each profile of the sum.
        end: the iteration at which the wanted profile ends.
        length: its relative length.

    Returns:
        The coefficient of each profile, and how far the sum is from the wanted profile, relative to its norm.
    """
    steps = np.array([step for step, _ in saved] + [end], dtype=np.float64)
    exponents = np.array([exponent_of(one) for _, one in saved] + [exponent_of(length)])
    products = inner_products(steps, exponents)
    matrix, right, whole = products[:-1, :-1], products[:-1, -1], products[-1, -1]
    scale = 1 / np.sqrt(np.diag(matrix))
    coefficients = scale * np.linalg.lstsq(scale[:, None] * matrix * scale, scale * right, rcond=None)[0]
    coefficients /= coefficients.sum()  # a mean of weights stays one
    squared = whole - 2 * coefficients @ right + coefficients @ matrix @ coefficients
    return coefficients.tolist(), float(np.sqrt(max(squared, 0.0) / whole))


def inner_products(steps: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Return the inner products (N, N) of N profiles (gamma + 1) s^gamma / end^(gamma + 1) on (0, end]."""
    a, b = exponents[:, None], exponents[None, :]
    first, second = steps[:, None], steps[None, :]
    shorter = np.minimum(first, second)
    ratios = (shorter / first) ** (a + 1) * (shorter / second) ** (b + 1)
    return np.asarray((a + 1) * (b + 1) / (a + b + 1) * ratios / shorter)


def tensors_of(path: Path) -> dict[str, Tensor]:
    """Read the weights of a saved average.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        return read_tensors(path)[0]
    except (ValueError, OSError) as error:
        raise ValueError(
            f"'{path}' is not a valid .safetensors file ({one_line(error)}); remove it to use the others"
        ) from None
