"""The `ddgan` command: parsing and printing only.

Each verb is a module of this package with `run(arguments) -> exit code`, imported when it is asked for.
"""

from __future__ import annotations

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from importlib import import_module

from ddgan.system.processes import TrainingError

INTERRUPTED = 130
BAD_INPUT = 2
FAILED = 1

VERBS = {
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
    verbs = "\n".join(f"  {verb:<10} {text}" for verb, text in VERBS.items())
    return f"usage: ddgan VERB ...\n\n{verbs}\n\n'ddgan VERB --help' lists the options of a verb."


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit code: 0, 2 for bad input, 1 for failed training or files, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else BAD_INPUT
    verb, *rest = arguments
    if verb == "--version":
        from ddgan import __version__

        print(__version__)
        return 0
    if verb not in VERBS:
        return _refuse(f"'{verb}' is no verb; choose from {', '.join(VERBS)}")
    try:
        return import_module(f"ddgan.cli.{verb}").run(rest)
    except (ValueError, ArgumentError) as error:
        from ddgan.config.run_config import one_line

        return _refuse(one_line(error))
    except OSError as error:
        print(f"ddgan: {error}", file=sys.stderr)
        return FAILED
    except TrainingError as error:
        print(f"ddgan: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _refuse(message: str) -> int:
    print(f"ddgan: {message}", file=sys.stderr)
    return BAD_INPUT
