"""The `ddgan` command: parsing and printing only.

Each command is a module of this package with `run(arguments) -> exit code`, imported when it is used.
"""

from __future__ import annotations

import difflib
import os
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

from ddgan.system.text import one_line
from ddgan.system.version import __version__

__all__ = ["COMMANDS", "import_named", "main", "usage"]

INTERRUPTED = 130
BROKEN_PIPE = 141
BUG = 70
BAD_INPUT = 2
FAILED = 1
LONGEST = 2000
"""Characters of an error that are printed; a longer one repeats a long argument."""

COMMANDS = {
    "prepare": "prepare images for training, or check them",
    "plan": "say what training on some data would take, without training",
    "train": "train, sample and score a model",
    "models": "list the models that come with ddgan",
    "list": "list runs, their scores and the settings in which they differ",
    "sample": "generate images with a trained model",
    "edit": "edit images with a trained model",
    "average": "choose the length of the average of a run's weights",
    "evaluate": "score a trained model",
    "export": "export a model to diffusers or ONNX",
    "convert": "read and write the published checkpoints",
    "reproduce": "reproduce a table or figure of the paper",
}

MODULES = {"list": "list_runs"}
"""Modules of commands that are not called like the command: `list` would hide Python's own here."""


def usage() -> str:
    """Return the text of `ddgan --help`."""
    commands = "\n".join(f"  {command:<10} {text}" for command, text in COMMANDS.items())
    return (
        "usage: ddgan COMMAND ...\n\n"
        "Train, sample and score denoising diffusion GANs.\n\n"
        f"commands:\n{commands}\n\n"
        "'ddgan COMMAND --help' explains a command and its options; 'ddgan --version' prints the version.\n"
        "Every command takes --import PACKAGE, which imports a package that registers components.\n\n"
        "To begin: ddgan train --data PHOTOS --out runs/photos, or ddgan train --preset digits_quick --out "
        "runs/digits"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, 2 for bad input, 1 for failed training or files, 130 after Ctrl-C, 70 for a bug.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")  # not every terminal can print every character
        return _ended(arguments)
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    finally:
        if argv is None:  # the process ends: a late Ctrl-C must not interrupt its clearing up
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _ended(arguments: list[str]) -> int:
    """Run one command; return the exit code for whatever it raises, except KeyboardInterrupt."""
    try:
        code = _started(arguments)
        if sys.stdout is not None:
            sys.stdout.flush()  # raises here if the reader has closed the pipe
        return code
    except ValueError as error:
        return _refuse(str(error))
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return BROKEN_PIPE
        if _is_failure(error):
            _say(f"ddgan: {error}")
            return FAILED
        try:
            from ddgan.cli.internal_error import explain

            words = explain(error, arguments)
        except Exception as another:  # for want of memory, say
            words = f"internal error of ddgan {__version__} ({type(error).__name__}: {error}); "
            words += f"its details could not be written ({type(another).__name__}); please report this line"
        _say(f"ddgan: {words}")
        return BUG


def _started(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else BAD_INPUT
    command, *rest = arguments
    if command == "--version":
        print(__version__)
        return 0
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, 1, 0.7)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"unknown command '{command}'; {hint}the commands are {', '.join(COMMANDS)}")
    try:
        return int(import_module(f"ddgan.cli.{MODULES.get(command, command)}").run(import_named(rest)))
    except SystemExit as ended:  # after argparse has printed the help
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        raise ValueError(str(ended.code)) from None


def _is_failure(error: Exception) -> bool:
    """Whether training or the machine failed, which is not an error of ddgan."""
    processes = sys.modules.get("ddgan.system.processes")  # imported by whoever raises its error
    return isinstance(error, OSError) or (
        processes is not None and isinstance(error, processes.TrainingError)
    )


def import_named(arguments: list[str]) -> list[str]:
    """Import the packages given by `--import PACKAGE`, installed or in the current folder.

    Args:
        arguments: the arguments of a command.

    Returns:
        The other arguments.

    Raises:
        ValueError: if a package cannot be imported, with the reason.
    """
    others: list[str] = []
    remaining = iter(arguments)
    for argument in remaining:
        option, equals, name = argument.partition("=")
        if option != "--import":
            others.append(argument)
            continue
        name = name if equals else next(remaining, "")
        if not name:
            raise ValueError("--import has no value; give it the name of a package")
        if name.endswith(".py"):
            raise ValueError(f"--import is '{name}'; give the name of the module, without .py")
        if "" not in sys.path:
            sys.path.append("")  # for the ddgan script, whose path lacks the current folder
        try:
            import_module(name)
        except ValueError as error:  # the message suffices, such as a kind that is registered twice
            raise ValueError(f"--import {name} failed: {error}") from error
        except ModuleNotFoundError as error:
            where = (
                "; it must be in the current folder, installed, or on PYTHONPATH"
                if error.name == name
                else ""
            )
            raise ValueError(f"--import {name} failed: {error}{where}") from error
        except (Exception, SystemExit) as error:
            raise ValueError(f"--import {name} failed: {type(error).__name__}: {error}") from error
    return others


def _nobody_reads() -> bool:
    """Whether the reader of standard output has closed the pipe, as `head` does; if so, mute the output."""
    if not hasattr(select, "poll") or sys.stdout is None:  # on Windows; started without an output
        return False
    poll = select.poll()
    poll.register(number := sys.stdout.fileno(), select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True


def _refuse(message: str) -> int:
    _say(f"ddgan: {message}")
    return BAD_INPUT


def _say(line: str) -> None:
    """Print text in one line on standard error, which may be closed or full."""
    line = one_line(line)
    with suppress(OSError, ValueError):
        if sys.stderr is not None:
            shown = line if len(line) <= LONGEST else f"{line[: LONGEST - 3]}..."
            print(shown, file=sys.stderr, flush=True)
