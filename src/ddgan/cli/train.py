"""`ddgan train`."""

from __future__ import annotations

import argparse
import difflib
import json
import textwrap
from collections.abc import Iterator
from typing import Any

from ddgan.cli.options import Parser, number, whole
from ddgan.cli.settings_help import WIDTH, settings_help
from ddgan.config.overrides import UnknownSettingError, parsed
from ddgan.config.presets import preset_names, preset_summary
from ddgan.config.run_config import RunConfig
from ddgan.training.trainer import Run, configured, resume, train

__all__ = ["run"]

DESCRIPTION = (
    "Train a model, then sample it, and score it if training.score_samples is above 0. "
    "Change any setting of the preset or configuration file by "
    "its dotted name, as in --training.batch_size 32 or --method.penalties '[{kind: r1, gamma: 0.1}]'; "
    "'ddgan train --help --preset NAME' lists the settings."
)


def run(arguments: list[str]) -> int:
    """Train a model, or resume a run."""
    parser = _parser()
    helping = "-h" in arguments or "--help" in arguments
    own, dotted = parser.parse_known_args([one for one in arguments if one not in ("-h", "--help")])
    if helping:
        settings = settings_help(_config(own, dict(_overrides(dotted)), helping=True))
        values = f"their values in {_source(own)}" if _source(own) else "their defaults"
        parser.print_help()
        print(f"\nSettings by dotted name, with {values}:\n\n{settings}")
        return 0
    if own.print_schema:
        from ddgan.config.schema import json_schema

        print(json.dumps(json_schema(), indent=1))
        return 0
    if own.resume is not None:
        return _exit_code(resume(own.resume, data=own.data, **_new_length(own, parser, dotted)))
    config = _config(own, dict(_overrides(dotted)))
    if own.print_config:
        print(config.to_yaml(), end="")
        return 0
    if own.out is None:
        raise ValueError("train needs --out RUN, the folder to make")
    return _exit_code(train(config, own.out, init=own.init, overwrite=own.overwrite))


def _new_length(own: Any, parser: Parser, dotted: list[str]) -> dict[str, Any]:
    """Return the length that `--resume` is given, by the names of the arguments of `resume`.

    Raises:
        ValueError: if other options are given, or a length has no valid form.
    """
    lengths = {f"training.{name}": name for name in ("num_iterations", "max_images")}
    given = dict(_overrides(dotted))
    others = {name for name, value in vars(own).items() if value != parser.get_default(name)}
    if others - {"resume", "data", "minutes"} or given.keys() - lengths:
        raise ValueError(
            "--resume RUN uses the settings of the run; leave out all others but --data and a new length: "
            f"--minutes M (to add), --{' N or --'.join(lengths)} N (in all)"
        )
    whole_number = whole(1)
    try:
        found: dict[str, Any] = {lengths[name]: whole_number(text) for name, text in given.items()}
    except argparse.ArgumentTypeError as error:
        raise ValueError(f"--{' or --'.join(given)} {error}") from None
    return found if own.minutes is None else found | {"minutes": own.minutes}


def _parser() -> Parser:
    parser = Parser("train", DESCRIPTION)
    parser.add_argument("--preset", metavar="NAME", help="a named set of settings; see the list below")
    parser.add_argument("--config", metavar="FILE", help="a YAML file of settings, as --print_config writes")
    parser.add_argument("--out", metavar="RUN", help="the run folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    parser.add_argument(
        "--data", metavar="DATA", help="training data: a kind of data, or a folder, zip, array file, ..."
    )
    parser.add_argument(
        "--size", metavar="N", help="height and width of the prepared images; short for --data.size"
    )
    parser.add_argument(
        "--stop_when",
        metavar="WHEN",
        help="flat: stop once the scores no longer improve; short for --training.stop_when",
    )
    parser.add_argument(
        "--init", metavar="MODEL", help="start from the weights of this run, checkpoint or weights file"
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="resume this run; add --data NEW if its data has moved, or a new length to train for longer: "
        "--minutes M, --training.num_iterations N or --training.max_images N",
    )
    parser.add_argument(
        "--minutes",
        type=number,
        metavar="M",
        help="train for M minutes, short for --training.max_minutes; with --resume, for M more",
    )
    parser.add_argument("--print_config", action="store_true", help="print all settings as YAML and stop")
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


def _overrides(arguments: list[str]) -> Iterator[tuple[str, str]]:
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


def _source(own: Any) -> str | None:
    """Return the preset or file given by the options."""
    source: str | None = own.config if own.preset is None else own.preset
    return source


def _config(own: Any, texts: dict[str, str], *, helping: bool = False) -> RunConfig:
    """Load the preset or file and apply the overrides; --help without either shows the defaults."""
    if own.preset is not None and own.config is not None:
        raise ValueError("--preset and --config were both given; name one")
    source = _source(own)
    if source is None and not helping:
        raise ValueError(f"train needs --preset NAME ({', '.join(preset_names())}) or --config FILE.yaml")
    base = RunConfig() if source is None else RunConfig.load(source)
    try:
        changes = {name: parsed(text, name, base) for name, text in texts.items()}
        if own.stop_when is not None:
            changes["training.stop_when"] = own.stop_when
        config = configured(base, own.data, None, changes)
    except UnknownSettingError as error:
        near = difflib.get_close_matches(f"--{error.name}", _parser().names, 1, 0.8)
        if near and not error.meant:
            raise ValueError(f"--{error.name} is not an option; did you mean {near[0]}?") from None
        raise ValueError(error.said("--")) from None
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
