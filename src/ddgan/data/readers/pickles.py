"""Pickles of plain containers and numpy arrays, read without running any code from them."""

from __future__ import annotations

import pickle
from typing import IO, Any

__all__ = ["load_arrays_only"]


class _ArraysOnly(pickle.Unpickler):
    ALLOWED = frozenset(
        {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy", "ndarray"),
            ("numpy", "dtype"),
            ("_codecs", "encode"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it needs {module}.{name}, which plain data never does")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_arrays_only(file: IO[bytes]) -> Any:
    """Unpickle containers and arrays at the file's position; strings of Python 2 become bytes.

    Raises:
        Exception: of any kind if the pickle is damaged, or has anything but containers and arrays.
    """
    return _ArraysOnly(file, encoding="bytes").load()
