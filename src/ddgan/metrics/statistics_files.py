"""Published statistics of real features: mu and sigma in a .npz or .npy file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddgan.data.readers.pickles import load_arrays_only
from ddgan.data.readers.stored import npy_header
from ddgan.metrics.moments import Statistics

__all__ = ["published_statistics", "read_statistics"]


def published_statistics(data: Any) -> Statistics | None:
    """Read a published .npz or .npy file with mu and sigma; return None for other data.

    Args:
        data: a value of `--data`, or the settings of data.

    Raises:
        ValueError: if mu and sigma are not finite or have invalid shapes, or the file is damaged.
    """
    if not isinstance(data, str):
        return None
    path = Path(data).expanduser()
    if path.suffix not in (".npz", ".npy") or not path.is_file():
        return None
    found = read_statistics(path)
    if found is None:
        return None
    mean, covariance = (torch.from_numpy(np.array(array, dtype=np.float64)) for array in found)
    square = mean.ndim == 1 and covariance.shape == (len(mean), len(mean))
    if not square or not mean.isfinite().all() or not covariance.isfinite().all():
        raise ValueError(
            f"'{path}' has mu of shape {tuple(mean.shape)} and sigma of shape {tuple(covariance.shape)}; "
            "they must be finite, (D,) and (D, D)"
        )
    return Statistics(mean, (covariance + covariance.T) / 2, None)


def read_statistics(path: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Read mu and sigma from a .npz, or from a dictionary in a .npy; return None for other files.

    The dictionary in a .npy is a pickle; it is read without running any code from it.

    Raises:
        ValueError: if the file is damaged.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                found = {name: file[name] for name in ("mu", "sigma") if name in file}
        else:
            found = _dictionary_of(path)
        return (found["mu"], found["sigma"]) if found.keys() >= {"mu", "sigma"} else None
    except Exception as error:  # damaged files can raise any exception
        raise ValueError(f"'{path}' cannot be read: {error}") from None


def _dictionary_of(path: Path) -> dict[str, Any]:
    """Return the dictionary that np.save wrote, with str keys; empty for other arrays."""
    with path.open("rb") as file:
        shape, _, dtype = npy_header(file)
        if shape != () or dtype != np.dtype(object):
            return {}
        content = load_arrays_only(file).item()
    if not isinstance(content, dict):
        return {}
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in content.items()}
