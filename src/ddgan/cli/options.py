"""What the verbs that open a model share."""

from __future__ import annotations

from typing import Any

from jsonargparse import ArgumentParser

from ddgan.models.ddgan import DDGAN
from ddgan.system.devices import choose_device


def add_model(parser: ArgumentParser) -> None:
    """Let a parser take a model, and which of its averages."""
    text = "a run folder or a checkpoint in it, a .safetensors file, or user/name on the Hub"
    parser.add_argument("model", help=text)
    text = "the average to take, by its half-life in thousands of images (default: that of ema_decay)"
    parser.add_argument("--ema", type=float, help=text)


def verb_parser(verb: str, description: str) -> ArgumentParser:
    """A parser with the options of a verb that opens a model and writes something."""
    parser = ArgumentParser(
        prog=f"ddgan {verb}", description=description, exit_on_error=False, allow_abbrev=False
    )
    add_model(parser)
    parser.add_argument("--seed", type=int, default=0, help="seed of the samples (default: 0)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    text = "what the generator computes in: float32, bf16, or auto: bf16 where the device knows it"
    parser.add_argument("--precision", default="float32", help=f"{text} (default: float32)")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    return parser


def open_model(options: Any) -> DDGAN:
    """The model that the options name, on their device."""
    if options.seed < 0:
        raise ValueError(f"--seed is {options.seed}; it must be 0 or more")
    return DDGAN.from_pretrained(
        options.model, choose_device(options.device), ema=options.ema, precision=options.precision
    )
