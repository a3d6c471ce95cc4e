"""`ddgan train`."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import Any

from ddgan.cli.options import Parser, add_license, whole
from ddgan.cli.run_settings import (
    add_minutes,
    add_sources,
    dotted_settings,
    known_settings,
    planned,
    source_of,
    without_source,
)
from ddgan.cli.settings_help import WIDTH, settings_help
from ddgan.config.overrides import parsed
from ddgan.config.presets import preset_names, preset_summary
from ddgan.config.run_config import RunConfig
from ddgan.system.text import printable
from ddgan.training.trainer import Run, configured, resume, train
from ddgan.training.workspace import check_folder

__all__ = ["run"]

DESCRIPTION = (
    "Train a model, then sample it, score it and write a report. Without --preset and --config, "
    "settings are chosen for the data, this machine and --minutes, as 'ddgan plan' prints them. "
    "Change any setting by its dotted name, as in --training.batch_size 32 or "
    "--method.penalties '[{kind: r1, gamma: 0.1}]'; "
    "'ddgan train --help --preset NAME' lists the settings."
)


def run(arguments: list[str]) -> int:
    """Train a model, or resume a run."""
    parser = _parser()
    helping = "-h" in arguments or "--help" in arguments
    own, dotted = parser.parse_known_args([one for one in arguments if one not in ("-h", "--help")])
    if helping:
        settings = settings_help(_config(own, dict(dotted_settings(dotted)), parser, helping=True))
        source = source_of(own)
        values = f"their values in {source}" if source else "their defaults"
        parser.print_help()
        print(f"\nSettings by dotted name, with {values}:\n\n{settings}")
        return 0
    if own.print_schema:
        from ddgan.config.schema import json_schema

        print(json.dumps(json_schema(), indent=1))
        return 0
    if own.resume is not None:
        return _exit_code(
            resume(own.resume, data=own.data, stop_when=own.stop_when, **_new_length(own, parser, dotted))
        )
    config = _config(own, dict(dotted_settings(dotted)), parser)
    if own.print_config:
        print(config.to_yaml(), end="")
        return 0
    _check_out(own)
    return _exit_code(train(config, own.out, init=own.init, license=own.license, overwrite=own.overwrite))


def _check_out(own: Any) -> None:
    """Check that a run can be made in --out, if one is wanted.

    Raises:
        ValueError: if not.
    """
    if own.print_config:
        return
    if own.out is None:
        raise ValueError("train needs --out RUN, the folder to make")
    check_folder(Path(own.out), own.overwrite)


def _new_length(own: Any, parser: Parser, dotted: list[str]) -> dict[str, Any]:
    """Return the length that `--resume` is given, by the names of the arguments of `resume`.

    Raises:
        ValueError: if other options are given, or a length has no valid form.
    """
    lengths = {f"training.{name}": name for name in ("num_iterations", "max_images")}
    given = dict(dotted_settings(dotted))
    others = {name for name, value in vars(own).items() if value != parser.get_default(name)}
    if others - {"resume", "data", "minutes", "stop_when"} or given.keys() - lengths:
        raise ValueError(
            "--resume RUN uses the settings of the run; leave out all others but --data, --stop_when and a "
            f"new length: --minutes M (to add), --{' N or --'.join(lengths)} N (in all)"
        )
    whole_number = whole(1)
    try:
        found: dict[str, Any] = {lengths[name]: whole_number(text) for name, text in given.items()}
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--{' or --'.join(given)} {error}") from None
    return found if own.minutes is None else found | {"minutes": own.minutes}


def _parser() -> Parser:
    parser = Parser("train", DESCRIPTION)
    add_sources(parser)
    add_minutes(
        parser,
        "train for M minutes, short for --training.max_minutes (60 if settings are chosen); with --resume, "
        "for M more",
    )
    parser.add_argument("--out", metavar="RUN", help="the run folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument(
        "--stop_when",
        metavar="WHEN",
        help="flat: stop once the scores no longer improve; short for --training.stop_when",
    )
    parser.add_argument(
        "--init",
        metavar="MODEL",
        help="start from the weights of this run, checkpoint, weights file or model by name",
    )
    add_license(parser)
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="resume this run; add --data NEW if its data has moved, or a new length to train for longer: "
        "--minutes M, --training.num_iterations N or --training.max_images N",
    )
    parser.add_argument(
        "--features", metavar="NAME", help="what scores compare; short for --training.features"
    )
    parser.add_argument(
        "--metrics", nargs="+", metavar="NAME", help="the scores; short for --training.metrics"
    )
    parser.add_argument(
        "--print_schema", action="store_true", help="print the JSON schema of configurations and stop"
    )
    presets = "\n".join(_listed(name) for name in preset_names())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description = textwrap.fill(DESCRIPTION, 79)
    parser.epilog = f"presets:\n{presets}\n\n{parser.epilog}"
    return parser


def _listed(name: str) -> str:
    """Format a preset and its summary, for --help."""
    return textwrap.fill(
        preset_summary(name), WIDTH, initial_indent=f"  {name:<20}", subsequent_indent=" " * 22
    )


def _short_forms(own: Any) -> dict[str, str]:
    """Return the settings that are given by a short form, by dotted name, as texts."""
    metrics = None if own.metrics is None else json.dumps(own.metrics)
    given = {"stop_when": own.stop_when, "features": own.features, "metrics": metrics}
    return {f"training.{name}": text for name, text in given.items() if text is not None}


def _config(own: Any, texts: dict[str, str], parser: Parser, *, helping: bool = False) -> RunConfig:
    """Load the preset or file and apply the overrides, or choose settings for the data.

    --help without any of them shows the defaults.
    """
    source, texts = source_of(own), texts | _short_forms(own)
    if source is None and not helping:
        if own.data is None:
            raise without_source("train")
        _check_out(own)  # before the seconds that a plan takes
        found = planned(own, texts, parser)
        print(printable(str(found)), file=sys.stderr, flush=True)
        return found.config
    base = RunConfig() if source is None else RunConfig.load(source)
    with known_settings(parser):
        changes = {name: parsed(text, name, base) for name, text in texts.items()}
        config = configured(base, own.data, None, changes)
    if own.minutes is not None:
        config = config.changed({"training.max_minutes": own.minutes})
    if own.size is None:
        return config
    if not hasattr(config.data, "size"):
        raise ValueError(
            f"--size sets the size of prepared images, but {config.data.kind} has a fixed shape; leave it out"
        )
    return config.changed({"data.size": parsed(own.size, "data.size", config)})


def _exit_code(run: Run) -> int:
    """Return 0, or 128 plus the number of the signal that stopped the run, as shells do."""
    return 128 + run.ended_by if run.interrupted else 0
