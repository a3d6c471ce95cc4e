"""Reports of internal errors: one line for the user, and a file with the details."""

from __future__ import annotations

import os
import platform
import re
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
PACKAGE = Path(__file__).resolve().parents[1]
LONGEST = 200
"""Characters of the error shown in the line; the file has the whole text."""
NO_MEMORY = re.compile(r"allocate memory|out of memory|ALLOC_FAILED", re.IGNORECASE)
"""What libraries say in a RuntimeError if there is not enough memory."""


def explain(error: BaseException, arguments: Sequence[str]) -> str:
    """Describe an internal error in one line: what it is, where the details are, how to report it.

    Args:
        error: the uncaught exception.
        arguments: the arguments of the command line.
    """
    words = one_line(f"{type(error).__name__}: {error}").removesuffix(":")
    words = words if len(words) <= LONGEST else f"{words[: LONGEST - 3]}..."
    hint = "there is not enough memory: try a smaller batch size; " if lacks_memory(error) else ""
    try:
        path = write_details(error, arguments)
    except Exception as problem:  # a full disk, or too little memory or too many processes to gather them
        place = (
            f"its details could not be written ({one_line(problem)}); please report this line: raised in "
            f"{raised_in(error)}"
        )
    else:
        place = f"its details are in {path}; please report it with that file"
    return f"internal error of ddgan {__version__} ({words}): {hint}{place}"


def lacks_memory(error: BaseException) -> bool:
    """Whether the error says that there is not enough memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and NO_MEMORY.search(str(error)) is not None


def raised_in(error: BaseException) -> str:
    """Return where an error was raised: the innermost function of ddgan, and the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if PACKAGE in Path(frame.filename).parents]
    places = [
        f"{Path(frame.filename).name}:{frame.lineno} ({frame.name})" for frame in ours[-1:] + frames[-1:]
    ]
    return ", ".join(dict.fromkeys(places)) or "no known place"


def write_details(error: BaseException, arguments: Sequence[str]) -> Path:
    """Write the details of an error to a text file in the temporary folder; returns its path."""
    details = [
        f"command: {shlex.join(['ddgan', *arguments])}",
        f"ddgan {__version__}, Python {platform.python_version()}, torch {torch.__version__}",
        f"{platform.platform()}, CUDA {'available' if torch.cuda.is_available() else 'not available'}",
        "",
        *traceback.format_exception(error),
    ]
    handle, name = tempfile.mkstemp(prefix=PREFIX, suffix=".txt")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write("\n".join(details))
    except OSError:  # the disk is full
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
