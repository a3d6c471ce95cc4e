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
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data never needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_arrays_only(file: IO[bytes]) -> Any:
    """What is pickled at the file's place; text of Python 2 becomes bytes.

    Raises:
        Exception: of any kind if it is damaged, or holds anything but containers and arrays.
    """
    return _ArraysOnly(file, encoding="bytes").load()
