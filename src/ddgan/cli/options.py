"""The parser of the commands, and the options that several of them share."""

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
    "add_model",
    "asked_chain",
    "model_parser",
    "number",
    "one_of",
    "open_ddgan",
    "open_model",
    "settings_from",
    "whole",
]

IMPORT = "--import"
"""Names a package whose components are used; every command has it, see `ddgan.cli.main`."""
CHAIN = ("num_steps", "eta")
"""Settings of the chain of a Gaussian diffusion model that are options of the commands."""
MOST = 2**63 - 1


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are ValueErrors of one line.

    Args:
        command: what stands after `ddgan`.
        description: what the command does, for --help.
    """

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"ddgan {command}",
            description=description,
            epilog=f"{IMPORT} PACKAGE, once or more, imports a package that registers components of its own.",
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
        """The options of these arguments, or a complaint that names what may have been meant."""
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
        """The options by name, such as --out."""
        return [name for action in self._actions for name in action.option_strings]

    def add_settings(self, cls: type) -> None:
        """An option for each field of a class of settings; `settings_from` makes the class of them."""
        types = hints(cls)
        for field in dataclasses.fields(cls):
            words = descriptions(cls)[field.name].rstrip(".")
            among = allowed(types[field.name])
            default = "" if field.default == "" else f" ({among}; default: {field.default})"
            self.add_argument(
                f"--{field.name}",
                type=whole() if typing.get_type_hints(cls)[field.name] is int else str,
                default=field.default,
                metavar="N" if among.startswith("whole") else "X",
                help=f"{words}{default}".replace("%", "%%"),
            )


def settings_from(options: Any, cls: type) -> Any:
    """The settings that `Parser.add_settings` asked for.

    Raises:
        ValueError: in one line, naming the option whose value cannot be.
    """
    try:
        return cls(**{field.name: getattr(options, field.name) for field in dataclasses.fields(cls)})
    except SettingError as error:
        raise ValueError(f"--{error}") from None


def whole(least: int = -MOST, most: int = MOST) -> Callable[[str], int]:
    """The type of an option that is a whole number in a range, written with digits."""

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
    """The type of an option that is a finite number."""
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text) and math.isfinite(
        float(text)
    ):
        return float(text)
    raise argparse.ArgumentTypeError(f"is {shown(text)}; it must be a number")


def one_of(*choices: str) -> Callable[[str], str]:
    """The type of an option that is one of some words."""

    def read(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"is {shown(text)}; it must be one of {', '.join(choices)}")
        return text

    return read


def add_model(parser: Parser) -> None:
    """Let a parser take a model, and which of its EMAs."""
    text = "a run folder or a checkpoint in it, a .safetensors file, or user/name on the Hub"
    parser.add_argument("model", help=text)
    text = "the EMA to take, by its half-life in thousands of images (default: that of the decay)"
    parser.add_argument("--ema", type=number, metavar="KIMG", help=text)


def model_parser(command: str, description: str) -> Parser:
    """A parser with the options of a command that opens a model and writes something."""
    parser = Parser(command, description)
    add_model(parser)
    parser.add_argument(
        "--seed", type=whole(0), default=0, metavar="N", help="seed of the samples (default: 0)"
    )
    parser.add_argument(
        "--device", default="auto", metavar="NAME", help="auto, cpu, cuda or mps (default: auto)"
    )
    text = "what the networks compute in: float32, bf16, or auto: bf16 where the device has it"
    parser.add_argument(
        "--precision",
        type=one_of(*PRECISIONS),
        default="float32",
        metavar="NAME",
        help=f"{text} (default: float32)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    return parser


def add_chain(parser: Parser) -> None:
    """Let a parser take how a Gaussian diffusion model is sampled."""
    about, of = descriptions(ChainConfig), "of Gaussian diffusion models:"
    default = "default: as the model was trained to be sampled"
    parser.add_argument(
        "--num_steps", type=whole(), metavar="N", help=f"{of} {about['num_steps'].rstrip('.')} ({default})"
    )
    parser.add_argument(
        "--eta", type=number, metavar="X", help=f"{of} {about['eta'].rstrip('.')} ({default})"
    )


def asked_chain(options: Any) -> dict[str, Any]:
    """What the options ask of the chain, by the name of the setting."""
    given = {name: getattr(options, name, None) for name in CHAIN}
    return {name: value for name, value in given.items() if value is not None}


def open_model(options: Any) -> Any:
    """The model that the options name, on their device: a `DDGAN`, or what else was trained.

    Raises:
        ValueError: if there is none, or it cannot be sampled as `--num_steps` and `--eta` ask.
    """
    model = load(options.model, choose_device(options.device), ema=options.ema, precision=options.precision)
    asked = asked_chain(options)
    if not asked:
        return model
    names = " and ".join(f"--{name}" for name in asked)
    if not isinstance(model, GaussianDiffusion):
        raise ValueError(
            f"{names} can be chosen for models of the method gaussian_diffusion, but '{options.model}' was "
            f"trained by the method {model.config.method.kind}; leave out {names}"
        )
    if asked.get("eta", 1) != 1:
        asked["variance"] = "posterior"  # the other is for eta 1
    try:
        return model.sampled_by(dataclasses.replace(model.chain, **asked))
    except ValueError as error:  # which begins with the name of the setting
        raise ValueError(f"--{error}") from None


def open_ddgan(options: Any, purpose: str) -> DDGAN:
    """The denoising diffusion GAN that the options name, on their device.

    Args:
        options: of `model_parser`.
        purpose: what needs it.

    Raises:
        ValueError: as `open_model`, and if it is a model of another method.
    """
    model = open_model(options)
    check_ddgan(model, purpose)
    assert isinstance(model, DDGAN)
    return model
