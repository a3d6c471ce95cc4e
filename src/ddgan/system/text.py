"""Text of other programs, made fit for one line of ours."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: object) -> str:
    """The text of an error, say, without line breaks."""
    return " ".join(str(text).split())
