"""The settings of a run on the command line: options and dotted names that `train` and `plan` share."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ddgan.cli.options import Parser, number
from ddgan.config.overrides import UnknownSettingError, parsed
from ddgan.config.presets import preset_names
from ddgan.config.run_config import RunConfig
from ddgan.system.text import printable

if TYPE_CHECKING:
    from ddgan.planning.planner import Plan

__all__ = ["add_sources", "dotted_settings", "known_settings", "planned", "source_of", "without_source"]


def add_sources(parser: Parser) -> None:
    """Add the options that say where settings and data come from, and how long to train."""
    parser.add_argument("--preset", metavar="NAME", help="a named set of settings; see the list below")
    parser.add_argument("--config", metavar="FILE", help="a YAML file of settings, as --print_config writes")
    parser.add_argument(
        "--data", metavar="DATA", help="training data: a kind of data, or a folder, zip, array file, ..."
    )
    parser.add_argument(
        "--size", metavar="N", help="height and width of the prepared images; short for --data.size"
    )
    parser.add_argument("--print_config", action="store_true", help="print all settings as YAML and stop")


def add_minutes(parser: Parser, words: str) -> None:
    """Add the option for the length in minutes."""
    parser.add_argument("--minutes", type=number, metavar="M", help=words)


def dotted_settings(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """Yield (dotted name, text) for the arguments `--name value` and `--name=value`."""
    remaining = iter(arguments)
    for argument in remaining:
        if not argument.startswith("--"):
            raise ValueError(f"'{argument}' belongs to no option; write --NAME VALUE")
        name, equals, value = argument[2:].partition("=")
        if not equals:
            value = next(remaining, "")
            if value == "" or (value.startswith("--") and value[2:3].isalpha()):
                raise ValueError(f"--{name} has no value; write --{name} VALUE")
        yield name, value


def source_of(options: Any) -> str | None:
    """Return the preset or file given by the options.

    Raises:
        ValueError: if both are given.
    """
    if options.preset is not None and options.config is not None:
        raise ValueError("--preset and --config were both given; name one")
    source: str | None = options.config if options.preset is None else options.preset
    return source


def without_source(command: str) -> ValueError:
    """Return the error of a command that got neither data nor settings."""
    return ValueError(
        f"{command} needs --data DATA, for which settings are chosen, --preset NAME "
        f"({', '.join(preset_names())}) or --config FILE.yaml"
    )


@contextmanager
def known_settings(parser: Parser) -> Iterator[None]:
    """Say in terms of the command line that a dotted name is not a setting."""
    try:
        yield
    except UnknownSettingError as error:
        near = difflib.get_close_matches(f"--{error.name}", parser.names, 1, 0.8)
        if near and not error.meant:
            raise ValueError(f"--{error.name} is not an option; did you mean {near[0]}?") from None
        raise ValueError(error.said("--")) from None


def planned(
    options: Any,
    texts: Mapping[str, str],
    parser: Parser,
    *,
    device: str | None = None,
    memory: str | None = None,
) -> Plan:
    """Make the plan that the options ask for.

    Args:
        options: those of `add_sources` and `--minutes`.
        texts: settings by dotted name, as texts.
        parser: the parser of the command.
        device: the device to plan for.
        memory: the memory to plan for.

    Raises:
        ValueError: in one line, if an option or the data is wrong.
    """
    from ddgan.planning.planner import plan

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "settings are chosen for one process; write them to a file by ddgan plan --print_config, and "
            "start the processes with --config FILE"
        )
    source = source_of(options)
    base = RunConfig() if source is None else RunConfig.load(source)
    if options.size is not None:
        texts = {**texts, "data.size": options.size}
    with known_settings(parser):
        return plan(
            options.data,
            minutes=options.minutes,
            device=device,
            memory=memory,
            config=None if source is None else base,
            progress=True,
            log=lambda line: print(printable(line), file=sys.stderr, flush=True),
            **{name: parsed(text, name, base) for name, text in texts.items()},
        )
