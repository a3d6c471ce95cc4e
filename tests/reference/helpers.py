"""Where the reference values are, and how their inputs are made again: the rules of values/README.md."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from ddgan.config.components import find
from ddgan.diffusion.process import DiffusionConfig

VARIABLE = "DDGAN_REFERENCE_DIR"
DEFAULT = Path(__file__).resolve().parent / "values"
PREFIXES = ("generator", "discriminator", "schedule", "sampling", "training")

Values = Mapping[str, np.ndarray]


def folder() -> Path:
    """The committed values, or the folder that DDGAN_REFERENCE_DIR names."""
    asked = os.environ.get(VARIABLE)
    return DEFAULT if asked is None else Path(asked)


def table() -> dict[str, Any]:
    """tables.json: entry -> settings, and a network's tensors; empty where there is no such file."""
    path = folder() / "tables.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def entries_with_values(prefix: str = "") -> list[str]:
    """The stems of the folder's .npz files."""
    return sorted(path.stem for path in folder().glob(f"{prefix}*.npz"))


def needs(*entries: str) -> pytest.MarkDecorator:
    """Skips a test where the folder that was asked for lacks one of these entries of tables.json."""
    missing = [entry for entry in entries if entry not in table()]
    return pytest.mark.skipif(bool(missing), reason=f"{folder()} has no {', '.join(missing)}")


def values(entry: str) -> dict[str, np.ndarray]:
    """Everything that an .npz file holds."""
    with np.load(folder() / f"{entry}.npz") as file:
        return dict(file)


def config_of(entry: str) -> dict[str, Any]:
    """The settings of an entry; a file without settings is a failure."""
    assert entry in table(), f"{folder() / entry}.npz has no entry in tables.json"
    return table()[entry]["config"]


def diffusion_config(config: Mapping[str, Any]) -> DiffusionConfig:
    """The schedule that an entry's settings name; the published defaults where they do not."""
    beta_min, beta_max = config.get("beta_min", 0.1), config.get("beta_max", 20.0)
    schedule = find("schedule", config.get("kind", "vp"))
    return DiffusionConfig(config["T"], schedule(beta_min=beta_min, beta_max=beta_max))


def weights(shapes: Mapping[str, Iterable[int]]) -> dict[str, Tensor]:
    """The weights that the rule gives to tensors of these names and shapes, in float32."""
    return {name: torch.from_numpy(_weight(name, tuple(shape))) for name, shape in shapes.items()}


def _weight(name: str, shape: tuple[int, ...]) -> np.ndarray:
    array = _random(name.removeprefix("module."), shape)
    if len(shape) >= 2:
        array /= np.sqrt(np.prod(shape[1:]))
    else:
        array *= 0.1
        if name.endswith("style.bias"):
            array[: len(array) // 2] += 1
        elif "GroupNorm" in name and name.endswith("weight"):
            array += 1
    return array.astype(np.float32)


def noise(tag: str, *shape: int) -> Tensor:
    """The standard normal numbers of a tag, rounded to float32."""
    return torch.from_numpy(_random(tag, shape).astype(np.float32))


def _random(tag: str, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(zlib.crc32(tag.encode()))).standard_normal(shape)


def error(ours: Tensor | np.ndarray | float, theirs: Tensor | np.ndarray | float) -> float:
    """max|a - b| / max|b|; where b is all zero, max|a - b|."""
    a, b = (np.asarray(x.detach() if isinstance(x, Tensor) else x, dtype=np.float64) for x in (ours, theirs))
    assert a.shape == b.shape, f"shape {a.shape} instead of {b.shape}"
    return float(np.abs(a - b).max() / (np.abs(b).max() or 1.0))


def relative(ours: Tensor, theirs: Tensor) -> float:
    """||a - b|| / ||b||, the relative L2 distance."""
    a, b = ours.detach().double(), theirs.detach().double()
    return float((a - b).norm() / b.norm())
