"""`ddgan reproduce`."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

from ddgan.cli.options import Parser, one_of, whole
from ddgan.paper.experiment import DEFAULT_SEEDS, SCALES, Request
from ddgan.paper.outcome import reproduce
from ddgan.paper.registry import (
    ALL,
    EXPERIMENTS,
    MODELS,
    check_data,
    check_machine,
    chosen,
    listing,
    models_of,
)
from ddgan.paper.store import is_main
from ddgan.system.text import printable

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """List the experiments, run some, or train their shared models."""
    options = reproduce_parser().parse_args(arguments)
    if options.list:
        print("\n".join(listing()))
        return 0
    if options.scale is None or options.out is None or not options.what:
        raise ValueError(
            f"reproduce needs NAME, --scale {'|'.join(SCALES)} and --out DIR; --list shows the names"
        )
    request = Request(options.scale, Path(options.out), options.data, seeds_of(options), _say)
    if request.out.is_file():
        raise ValueError(f"out is '{request.out}', which is a file; name a folder")
    if options.what == [MODELS]:
        return train_models(request, options.names)
    if options.names is not None:
        raise ValueError(f"--names needs {MODELS}: ddgan reproduce {MODELS} --names ...")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(f"torchrun can only train {MODELS}; run the experiments in one process")
    experiments = chosen(options.what, options.scale)
    check_machine(experiments, options.scale, options.out)
    check_data(experiments, options.scale, options.data)
    for experiment in experiments:
        _say(f"{experiment.name}: {experiment.about}")
        folder = reproduce(experiment, request, shlex.join(["ddgan", "reproduce", *arguments]))
        print(folder / "report.md")
    return 0


def train_models(request: Request, names: list[str] | None) -> int:
    """Train only the shared models, which several processes can divide among them."""
    if request.scale not in SCALES:
        raise ValueError(f"scale is '{request.scale}'; it must be one of {', '.join(SCALES)}")
    using = [
        one for one in EXPERIMENTS.values() if names is None or set(one.models_at(request.scale)) & set(names)
    ]
    check_machine(using, request.scale, str(request.out))
    specs = models_of(names, request.scale, request.data)
    request.store.train_all(specs, request.seeds)
    for spec in specs if is_main() else []:
        for seed in request.seeds:
            print(
                f"{request.store.path(spec, seed)}  {request.store.metadata(spec, seed)['minutes']:.1f} min"
            )
    return 0


def seeds_of(options: Any) -> tuple[int, ...]:
    """Return the requested seeds, or the default ones of the scale.

    Raises:
        ValueError: if a seed is negative or given twice.
    """
    seeds = tuple(options.seeds or DEFAULT_SEEDS.get(options.scale, (0,)))
    if min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds are {' '.join(map(str, seeds))}; each must be 0 or more, and given once")
    return seeds


def reproduce_parser() -> Parser:
    """Build the parser of the command."""
    parser = Parser(
        "reproduce",
        "Reproduce a table or figure of the paper: train its models in OUT/models (shared ones are reused, "
        "and resumed after an interruption), measure, and write report.md, result.json, figure.png and "
        "figure.svg to OUT/NAME.",
    )
    parser.add_argument(
        "what",
        nargs="*",
        default=[],
        help=f"names from --list; {ALL}: all experiments of the scale; {MODELS}: only train the shared "
        "models, in as many processes as you start",
    )
    parser.add_argument("--list", action="store_true", help="list names, scales, costs and models, and stop")
    parser.add_argument(
        "--scale",
        type=one_of(*SCALES),
        metavar="SCALE",
        help="smoke: seconds, generated data; cpu: small real data, two cores; paper: the paper's data, GPUs",
    )
    parser.add_argument("--out", help="the folder of all experiments of a scale")
    parser.add_argument("--data", help="the dataset, for scale paper")
    parser.add_argument(
        "--seeds",
        type=whole(),
        nargs="+",
        metavar="N",
        help="seeds of the models (default: 0 1 2 for cpu, else 0)",
    )
    parser.add_argument(
        "--names", nargs="+", help=f"with {MODELS}: the models to train (default: all shared ones)"
    )
    return parser


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)
