"""Checks of arguments of functions, which no settings class covers."""

from __future__ import annotations

from numbers import Integral
from typing import Any

__all__ = ["check_seed", "check_whole", "is_whole"]


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number, of Python or numpy; a bool is not."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_whole(name: str, value: Any) -> None:
    """Check that an argument is a whole number.

    Raises:
        ValueError: naming the argument, if it is not.
    """
    if not is_whole(value):
        raise ValueError(f"{name} is {str(value)[:40]!r}; it must be a whole number")


def check_seed(seed: int) -> None:
    """Check a seed.

    Raises:
        ValueError: if it is not a whole number, or negative.
    """
    if not is_whole(seed) or seed < 0:
        raise ValueError(f"seed is {str(seed)[:40]}; it must be a whole number, 0 or more")
