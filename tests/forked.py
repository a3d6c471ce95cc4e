"""Processes of their own that need not import torch again: they are forked from one that has."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

SERVER = get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "ddgan.cli.train",
        "ddgan.training.trainer",
        "torch._dynamo",
    ]
)


@dataclass(frozen=True)
class Forked:
    """A process, and the file that has what it says."""

    process: BaseProcess
    file: Path

    @property
    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self.process.exitcode

    def ended(self, seconds: float = 120) -> str:
        """All that it said, once it has ended by itself."""
        self.process.join(seconds)
        assert self.code is not None, f"it still runs after {seconds} s: {self.file.read_text()}"
        return self.file.read_text()

    def kill(self) -> None:
        """End it at once, wherever it is."""
        self.process.kill()
        self.process.join()


def forked(file: Path, run: Callable[..., int | None], *arguments: object, **environment: str) -> Forked:
    """Start `run(*arguments)`, whose result is the exit code, with one thread; it speaks into `file`."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"} | environment
    process = SERVER.Process(target=_inside, args=(file, variables, run, arguments), daemon=True)
    process.start()
    return Forked(process, file)


def _inside(
    file: Path, variables: dict[str, str], run: Callable[..., int | None], arguments: tuple[object, ...]
) -> None:
    with file.open("w") as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    os.environ.clear()
    os.environ.update(variables)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the tests run in the background
    torch.set_num_threads(1)
    sys.exit(run(*arguments))
