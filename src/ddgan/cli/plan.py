"""`ddgan plan`."""

from __future__ import annotations

from ddgan.cli.options import Parser
from ddgan.cli.run_settings import (
    add_minutes,
    add_sources,
    dotted_settings,
    planned,
    source_of,
    without_source,
)
from ddgan.system.text import printable

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Print a plan without training."""
    parser = Parser(
        "plan",
        "Say what 'ddgan train' with the same options would do, without training: what the data is, the "
        "settings that are chosen for it, the memory and the time that they take, measured for some seconds "
        "on this machine, and what to expect. With --device cuda and --memory the plan is for another "
        "machine; its time is then an estimate. Change any setting by its dotted name, as in "
        "--training.batch_size 32.",
    )
    add_sources(parser)
    add_minutes(parser, "minutes of training (default: 60, or as the settings say)")
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="auto, cpu, cuda or mps; with --memory, cuda is a GPU of another machine (default: auto)",
    )
    parser.add_argument(
        "--memory",
        metavar="SIZE",
        help="memory of that GPU, as in 24GB; for a device of this machine, the most to plan with",
    )
    options, dotted = parser.parse_known_args(arguments)
    texts = dict(dotted_settings(dotted))
    if source_of(options) is None and options.data is None:
        raise without_source("plan")
    found = planned(options, texts, parser, device=options.device, memory=options.memory)
    print(found.config.to_yaml() if options.print_config else f"{printable(str(found))}\n", end="")
    return 0
