"""The parser of the commands, and options shared by several of them."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from ddgan.cli.settings_help import allowed, hints
from ddgan.config.settings import SettingError, descriptions, shown
from ddgan.diffusion.ancestral import ChainConfig
from ddgan.models.ddgan import DDGAN, check_ddgan
from ddgan.models.gaussian import GaussianDiffusion
from ddgan.models.opening import load
from ddgan.models.precision import PRECISIONS
from ddgan.system.devices import choose_device

__all__ = [
    "Parser",
    "add_chain",
    "add_license",
    "add_model",
    "add_sampling",
    "chain_settings",
    "model_parser",
    "number",
    "one_of",
    "open_ddgan",
    "open_model",
    "settings_from",
    "whole",
]

IMPORT = "--import"
"""Option that names a package with components; every command has it, see `ddgan.cli.main`."""
CHAIN = ("num_steps", "eta")
"""Settings of a Gaussian diffusion model's chain that are command-line options."""
MOST = 2**63 - 1


class Parser(argparse.ArgumentParser):
    """A parser that raises one-line ValueErrors.

    Args:
        command: name of the command, after `ddgan`.
        description: what the command does, for --help.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"ddgan {command}",
            description=description,
            epilog=f"{IMPORT} PACKAGE, once or more, imports a package that registers components.",
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises:
            ValueError: always.
        """
        message = re.sub(r"^argument ([^:]+): expected.*", r"\1 has no value; write \1 VALUE", message)
        message = re.sub(r"^argument ([^:]+): ignored explicit.*", r"\1 takes no value", message)
        message = re.sub(r"^argument ([^:]+): ", r"\1 ", message)
        raise ValueError(f"{message}; see '{self.prog} --help'")

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> Any:
        """Parse the arguments; an unknown option raises an error that suggests a similar one."""
        options, unknown = self.parse_known_args(args, namespace)
        if unknown:
            near = difflib.get_close_matches(unknown[0].partition("=")[0], self.names, 1, 0.6)
            self.error(
                f"{unknown[0]} is not an option of '{self.prog}'"
                + (f"; did you mean {near[0]}?" if near else "")
            )
        return options

    @property
    def names(self) -> list[str]:
        """Names of the options, such as --out."""
        return [name for action in self._actions for name in action.option_strings]

    def add_settings(self, cls: type) -> None:
        """Add an option for each field of a settings class; `settings_from` builds the settings."""
        types, readers = hints(cls), {int: whole(), float: number}
        for field in dataclasses.fields(cls):
            words = descriptions(cls)[field.name].rstrip(".")
            is_pair = field.default == ()  # the only tuples are ranges
            among = "two numbers" if is_pair else allowed(types[field.name])
            default = (
                "" if field.default == "" else f" ({among}; default: {'none' if is_pair else field.default})"
            )
            self.add_argument(
                f"--{field.name}",
                type=number if is_pair else readers.get(typing.get_type_hints(cls)[field.name], str),
                default=field.default,
                nargs=2 if is_pair else None,
                metavar=("LOW", "HIGH") if is_pair else "N" if among.startswith("whole") else "X",
                help=f"{words}{default}".replace("%", "%%"),
            )


def settings_from(options: Any, cls: type) -> Any:
    """Build the settings from the options that `Parser.add_settings` added.

    Raises:
        ValueError: in one line, naming the option with an invalid value.
    """
    try:
        return cls(**{field.name: getattr(options, field.name) for field in dataclasses.fields(cls)})
    except SettingError as error:
        raise ValueError(f"--{error}") from None


def whole(least: int = -MOST, most: int = MOST) -> Callable[[str], int]:
    """Return the type of an option that is an integer in a range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,19}", text) or abs(int(text)) > MOST:
            raise argparse.ArgumentTypeError(f"is {shown(text)}; it must be a whole number")
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"is {value}; it must be at least {least}")
        if value > most:
            raise argparse.ArgumentTypeError(f"is {value}; it must be at most {most}")
        return value

    return read


def number(text: str) -> float:
    """Parse an option that is a finite number."""
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) and math.isfinite(
        float(text)
    ):
        return float(text)
    raise argparse.ArgumentTypeError(f"is {shown(text)}; it must be a number")


def one_of(*choices: str) -> Callable[[str], str]:
    """Return the type of an option that is one of some words."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"is {shown(text)}; it must be one of {', '.join(choices)}")
        return text

    return read


def add_model(parser: Parser) -> None:
    """Add the options that select a model and its EMA."""
    text = (
        "a run folder or a checkpoint in it, a .safetensors file, the name of a model that comes with ddgan "
        "(ddgan models lists them), or user/name on the Hub"
    )
    parser.add_argument("model", help=text)
    text = "the EMA to use, by its half-life in thousands of images (default: the one set by ema.decay)"
    parser.add_argument("--ema", type=number, metavar="KIMG", help=text)


def add_license(parser: Parser) -> None:
    """Add the option for the licence of weights that have none."""
    parser.add_argument(
        "--license",
        metavar="TEXT",
        help="licence of the weights, such as apache-2.0 or words, kept in every copy of them",
    )


def model_parser(command: str, description: str) -> Parser:
    """Build a parser with the options of a command that opens a model and writes files."""
    parser = Parser(command, description)
    add_model(parser)
    add_sampling(parser)
    text = "precision of the networks: float32, bf16, fp16, or auto: what the device is fast in"
    parser.add_argument(
        "--precision",
        type=one_of(*PRECISIONS),
        default="float32",
        metavar="NAME",
        help=f"{text} (default: float32)",
    )
    return parser


def add_sampling(parser: Parser) -> None:
    """Add the options of what samples from a model and writes the result."""
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="seed of the samples (default: 0)"
    )
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")


def add_chain(parser: Parser) -> None:
    """Add the options that choose how a Gaussian diffusion model is sampled."""
    about, of = descriptions(ChainConfig), "for Gaussian diffusion models:"
    default = "default: as in the model's settings"
    parser.add_argument(
        "--num_steps", type=whole(), metavar="N", help=f"{of} {about['num_steps'].rstrip('.')} ({default})"
    )
    parser.add_argument(
        "--eta", type=number, metavar="X", help=f"{of} {about['eta'].rstrip('.')} ({default})"
    )


def chain_settings(options: Any) -> dict[str, Any]:
    """Return the settings of the chain that the options give, by name."""
    given = {name: getattr(options, name, None) for name in CHAIN}
    return {name: value for name, value in given.items() if value is not None}


def open_model(options: Any) -> Any:
    """Open the model given by the options on their device: a `DDGAN` or a model of another method.

    Raises:
        ValueError: if there is no such model, or it cannot be sampled with `--num_steps` and `--eta`.
    """
    model = load(options.model, choose_device(options.device), ema=options.ema, precision=options.precision)
    requested = chain_settings(options)
    if not requested:
        return model
    names = " and ".join(f"--{name}" for name in requested)
    if not isinstance(model, GaussianDiffusion):
        raise ValueError(
            f"{names} can be chosen for models of the method gaussian_diffusion, but '{options.model}' was "
            f"trained by the method {model.config.method.kind}; leave out {names}"
        )
    if requested.get("eta", 1) != 1:
        requested["variance"] = "posterior"  # "forward" requires eta 1
    try:
        return model.sampled_by(dataclasses.replace(model.chain, **requested))
    except ValueError as error:  # the message begins with the name of the setting
        raise ValueError(f"--{error}") from None


def open_ddgan(options: Any, purpose: str) -> DDGAN:
    """Open the denoising diffusion GAN given by the options on their device.

    Args:
        options: the options of `model_parser`.
        purpose: what needs the model, for the error message.

    Raises:
        ValueError: as `open_model`, or if it is a model of another method.
    """
    model = open_model(options)
    check_ddgan(model, purpose)
    assert isinstance(model, DDGAN)
    return model
