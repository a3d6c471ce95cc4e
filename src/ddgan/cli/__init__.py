"""The `ddgan` command: parsing and printing only.

Each command is a module of this package with `run(arguments) -> exit code`, imported when it is used.
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
    "prepare": "prepare images for training, or check them",
    "train": "train, sample and score a model",
    "sample": "generate images with a trained model",
    "edit": "edit images with a trained model",
    "evaluate": "score a trained model",
    "export": "export a model to diffusers or ONNX",
    "convert": "read and write the published checkpoints",
    "reproduce": "reproduce a table or figure of the paper",
}


def usage() -> str:
    """Return the text of `ddgan --help`."""
    commands = "\n".join(f"  {command:<10} {text}" for command, text in COMMANDS.items())
    return (
        "usage: ddgan COMMAND ...\n\n"
        "Train, sample and score denoising diffusion GANs.\n\n"
        f"commands:\n{commands}\n\n"
        "'ddgan COMMAND --help' explains a command and its options; 'ddgan --version' prints the version.\n"
        "Every command takes --import PACKAGE, which imports a package that registers components.\n\n"
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
        sys.stdout.flush()  # raises here if the reader has closed the pipe
        return code
    except ValueError as error:
        return _refuse(str(error))
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
    if not hasattr(select, "poll"):  # on Windows
        return False
    poll = select.poll()
    poll.register(number := sys.stdout.fileno(), select.POLLOUT)
    if not any(event & select.POLLERR for _, event in poll.poll(0)):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), number)
    return True


def _refuse(message: str) -> int:
    print(f"ddgan: {one_line(message)}", file=sys.stderr)
    return BAD_INPUT
