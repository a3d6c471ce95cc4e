"""`ddgan train`."""

from __future__ import annotations

from typing import Any

from ddgan.config.run_config import (
    KINDS,
    RunConfig,
    config_parser,
    parse_settings,
    preset_names,
    read_settings,
)
from ddgan.training.trainer import Run, resume, train


def run(arguments: list[str]) -> int:
    """Train, or go on with a run."""
    if resumed := _peek(arguments, "--resume"):
        data = _peek(arguments, "--data")
        named = [argument for argument in arguments if argument.split("=")[0] in ("--resume", "--data")]
        if len(arguments) != len(named) + sum("=" not in argument for argument in named):
            raise ValueError("with --resume RUN go no settings but --data: the run's own are used")
        return _exit_code(resume(resumed, data=data))
    settings = _base_settings(arguments)
    parser = config_parser(
        settings,
        prog="ddgan train",
        description="Train a denoising diffusion GAN, then sample and score it. A setting of the preset or "
        "configuration file is overridden by its dotted name, as in --training.batch_size 32.",
    )
    parser.add_argument("--preset", help="settings by name; 'ddgan train --help --preset NAME' shows them")
    parser.add_argument("--config", help="settings from a YAML file (copy a preset, edit it)")
    parser.add_argument("--out", help="the run folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is in --out")
    parser.add_argument("--init", help="begin with the weights of this run, checkpoint or weights file")
    parser.add_argument("--resume", help="go on with this run, to the same end; --data NEW, if it has moved")
    parser.add_argument("--print_config", action="store_true", help="print all settings as YAML and stop")
    own: dict[str, Any] = {}

    def parse(parser: Any) -> Any:
        parser.set_defaults(_flat(settings))
        parsed = parser.parse_args(arguments)
        own.update({name: parsed[name] for name in ("out", "overwrite", "print_config", "init")})
        return parsed

    config = parse_settings(parser, parse)
    if own["print_config"]:
        print(config.to_yaml(), end="")
        return 0
    if own["out"] is None:
        raise ValueError("train needs --out RUN, the folder to make")
    return _exit_code(train(config, own["out"], init=own["init"], overwrite=own["overwrite"]))


def _exit_code(run: Run) -> int:
    """0, or as a shell says it: 128 and the signal that ended the run early."""
    return 128 + run.ended_by if run.interrupted else 0


def _base_settings(arguments: list[str]) -> dict[str, Any]:
    """The preset's or file's settings, with the kinds of network that dotted options choose."""
    chosen = {name: _peek(arguments, f"--{name}") for name in ("preset", "config")}
    if chosen["preset"] is not None and chosen["config"] is not None:
        raise ValueError("--preset and --config were both given; name one")
    source = chosen["preset"] if chosen["preset"] is not None else chosen["config"]
    helping = "-h" in arguments or "--help" in arguments
    if source is None:
        if not helping:
            presets = ", ".join(preset_names())
            raise ValueError(f"train needs --preset NAME ({presets}) or --config FILE.yaml")
        return {}
    settings = read_settings(source)
    for section in KINDS:
        kind, given = _peek(arguments, f"--{section}.kind"), settings.get(section) or {}
        if not isinstance(given, dict):
            continue  # which is said when the settings are read
        if kind is not None and kind != given.get("kind", next(iter(KINDS[section]))):
            settings[section] = {"kind": kind}
    if chosen["config"] is not None or not helping:
        settings = RunConfig.from_dict(settings).to_dict()
    return settings


def _peek(arguments: list[str], option: str) -> str | None:
    """The value of an option, before the parser that knows it is built."""
    value = None
    for index, argument in enumerate(arguments):
        if argument.startswith(option + "="):
            value = argument[len(option) + 1 :]
        elif argument == option and index + 1 < len(arguments):
            value = arguments[index + 1]
    return value


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted name."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
