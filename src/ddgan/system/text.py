"""Text from other programs, reduced to one line."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: object) -> str:
    """Return text, such as an error message, without line breaks."""
    return " ".join(str(text).split())
