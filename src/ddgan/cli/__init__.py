"""The `ddgan` command: parsing and printing only.

Each command is a module of this package with `run(arguments) -> exit code`, imported when it is asked for.
"""

from __future__ import annotations

import difflib
import os
import select
import sys
from collections.abc import Sequence
from importlib import import_module

from ddgan.system.processes import TrainingError
from ddgan.system.text import one_line
from ddgan.system.version import __version__

__all__ = ["COMMANDS", "import_named", "main", "usage"]

INTERRUPTED = 130
BROKEN_PIPE = 141
BUG = 70
BAD_INPUT = 2
FAILED = 1

COMMANDS = {
    "prepare": "make a dataset of images ready for training, or check one",
    "train": "train a model, sample it and score it",
    "sample": "make images with a trained model",
    "edit": "change images with a trained model",
    "evaluate": "score a trained model",
    "export": "write a model for diffusers or ONNX",
    "convert": "read and write the published checkpoints",
    "reproduce": "make a table or figure of the paper",
}


def usage() -> str:
    """What `ddgan --help` prints."""
    commands = "\n".join(f"  {command:<10} {text}" for command, text in COMMANDS.items())
    return (
        "usage: ddgan COMMAND ...\n\n"
        "Denoising diffusion GANs: train them, sample them, score them.\n\n"
        f"commands:\n{commands}\n\n"
        "'ddgan COMMAND --help' explains a command and its options; 'ddgan --version' prints the version.\n"
        "Every command takes --import PACKAGE, which imports a package with components of its own.\n\n"
        "To begin: ddgan train --preset digits_quick --out runs/digits"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code: 0, 2 for bad input, 1 for failed training or files, 130 after Ctrl-C, 70 for a bug.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
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
        return _refuse(f"unknown command '{command}'; {hint}the commands are {', '.join(COMMANDS)}")
    try:
        rest = import_named(rest)
        code = int(import_module(f"ddgan.cli.{command}").run(rest))
        sys.stdout.flush()  # here a pipe that nobody reads is noticed
        return code
    except ValueError as error:
        return _refuse(one_line(error))
    except (OSError, TrainingError) as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return BROKEN_PIPE
        print(f"ddgan: {one_line(error)}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        from ddgan.cli.internal_error import explain

        print(f"ddgan: {explain(error, arguments)}", file=sys.stderr)
        return BUG


def import_named(arguments: list[str]) -> list[str]:
    """Import the packages that `--import PACKAGE` names, here or in the current folder.

    Args:
        arguments: those of a command.

    Returns:
        The other arguments.

    Raises:
        ValueError: if a package cannot be imported, with what stopped it.
    """
    left: list[str] = []
    waiting = iter(arguments)
    for argument in waiting:
        option, equals, name = argument.partition("=")
        if option != "--import":
            left.append(argument)
            continue
        name = name if equals else next(waiting, "")
        if not name:
            raise ValueError("--import has no value; give it the name of a package")
        if "" not in sys.path:
            sys.path.append("")  # the ddgan script alone does not look in the current folder
        try:
            import_module(name)
        except ValueError as error:  # says itself what is wrong, such as a kind that is registered twice
            raise ValueError(f"--import {name} failed: {error}") from error
        except (Exception, SystemExit) as error:
            raise ValueError(f"--import {name} failed: {type(error).__name__}: {error}") from error
    return left


def _nobody_reads() -> bool:
    """Whether standard output is a pipe whose other end is closed, as by `head`; then it is left alone."""
    if not hasattr(select, "poll"):  # on Windows
        return False
    waiting = select.poll()
    waiting.register(number := sys.stdout.fileno(), select.POLLOUT)
    if not any(event & select.POLLERR for _, event in waiting.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True


def _refuse(message: str) -> int:
    print(f"ddgan: {message}", file=sys.stderr)
    return BAD_INPUT
