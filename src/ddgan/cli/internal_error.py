"""Reports of internal errors: one line for the user, and a file with the details."""

from __future__ import annotations

import platform
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from ddgan.system.text import one_line
from ddgan.system.version import __version__

__all__ = ["explain"]

PREFIX = "ddgan-error-"
LONGEST = 200
"""Characters of the error shown in the line; the file has the whole text."""
NO_MEMORY = (MemoryError, torch.OutOfMemoryError)


def explain(error: BaseException, arguments: Sequence[str]) -> str:
    """Describe an internal error in one line: what it is, where the details are, how to report it.

    Args:
        error: the uncaught exception.
        arguments: the arguments of the command line.
    """
    words = one_line(f"{type(error).__name__}: {error}").removesuffix(":")
    words = words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."
    hint = "there is not enough memory: try a smaller batch size; " if isinstance(error, NO_MEMORY) else ""
    try:
        path = write_details(error, arguments)
    except OSError as problem:
        place = f"its details could not be written ({problem}); please report this line"
    else:
        place = f"its details are in {path}; please report it with that file"
    return f"internal error of ddgan {__version__} ({words}): {hint}{place}"


def write_details(error: BaseException, arguments: Sequence[str]) -> Path:
    """Write the details of an error to a text file in the temporary folder; returns its path."""
    details = [
        f"command: {shlex.join(['ddgan', *arguments])}",
        f"ddgan {__version__}, Python {platform.python_version()}, torch {torch.__version__}",
        f"{platform.platform()}, CUDA {'available' if torch.cuda.is_available() else 'not available'}",
        "",
        *traceback.format_exception(error),
    ]
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", errors="replace", prefix=PREFIX, suffix=".txt", delete=False
    ) as file:
        file.write("\n".join(details))
    return Path(file.name)
