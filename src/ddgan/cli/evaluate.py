"""`ddgan evaluate`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from ddgan.cli.options import Parser, add_chain, asked_chain, model_parser, open_model, whole
from ddgan.metrics import evaluate, known_metrics
from ddgan.metrics.evaluation import DEFAULT_SAMPLES, check_metrics
from ddgan.metrics.features import known_features
from ddgan.metrics.samples import holds_samples
from ddgan.models.sample_files import check_output
from ddgan.system.devices import choose_device

__all__ = ["run"]

COMPARE = "--compare"


def run(arguments: list[str]) -> int:
    """Score, print the table, write the JSON; or compare what was written before."""
    return _compare(arguments) if COMPARE in arguments else _evaluate(arguments)


def _evaluate(arguments: list[str]) -> int:
    parser = model_parser(
        "evaluate",
        "Score samples: of a trained model, of a folder of PNG files, or of a .npz with uint8 images. "
        f"'ddgan evaluate {COMPARE} A.json B.json ... --out X.html' sets scores side by side.",
    )
    parser.add_argument(
        "-n",
        type=whole(1),
        metavar="N",
        help=f"samples (default: {DEFAULT_SAMPLES} of a model, all of a file; FID needs 50000)",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="what to compare with: a kind of data or a path, or a published .npz or .npy with mu and sigma "
        "(default: what the model was trained on)",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help=f"any of {', '.join(known_metrics())} (default: modes, or else frechet; and speed)",
    )
    parser.add_argument(
        "--features",
        default="auto",
        metavar="NAME",
        help=f"{', '.join(known_features())}, or X.pt with X.json beside it (default: auto: inception for "
        "colour images of 32 pixels and more, else classifier where there are labels, else pixels)",
    )
    parser.add_argument("--split", metavar="NAME", help="of the data to compare with (default: train)")
    parser.add_argument(
        "--held_out",
        metavar="DATA",
        help="data that the model has not seen, for memorisation (default: the split test)",
    )
    parser.add_argument(
        "--out", metavar="X.json", help="where to write the scores as JSON, and pictures beside it"
    )
    add_chain(parser)
    options = parser.parse_args(arguments)
    is_samples = holds_samples(options.model)
    if is_samples and (asked := asked_chain(options)):
        raise ValueError(
            f"--{next(iter(asked))} says how a model is sampled, but '{options.model}' holds samples; leave "
            "it out"
        )
    out = None if options.out is None else check_output(Path(options.out), options.overwrite)
    check_metrics(options.metrics)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are in the table
        report = evaluate(
            options.model if is_samples else open_model(options),
            options.data,
            options.metrics,
            options.n,
            options.seed,
            features=options.features,
            split=options.split,
            held_out=options.held_out,
            progress=True,
            device=choose_device(options.device),
        )
    for name, value in report.table():
        print(f"{name:<40} {value}")
    if out is not None:
        report.save(out)
    return 0


def _compare(arguments: list[str]) -> int:
    from ddgan.reports.comparison import compare

    parser = Parser(
        f"evaluate {COMPARE}",
        "Set scores side by side: a table, and the plot of quality, coverage and speed.",
    )
    parser.add_argument(
        COMPARE,
        nargs="+",
        metavar="X.json",
        help="two or more JSON files that 'ddgan evaluate' wrote, or runs",
    )
    parser.add_argument("--out", metavar="X.html", help="X.html to write; the plot also becomes X.png")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    options = parser.parse_args(arguments)
    if options.out is None or Path(options.out).suffix != ".html":
        raise ValueError(f"{COMPARE} needs --out X.html")
    out = check_output(Path(options.out), options.overwrite)
    comparison = compare([Path(path) for path in options.compare], out)
    for row in comparison.lines():
        print(row)
    print(f"comparison in {out} and {out.with_suffix('.png')}", file=sys.stderr)
    return 0
