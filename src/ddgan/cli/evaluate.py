"""`ddgan evaluate`."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from ddgan.cli.options import Parser, add_chain, chain_settings, model_parser, open_model, whole
from ddgan.metrics import evaluate, known_metrics
from ddgan.metrics.evaluation import DEFAULT_SAMPLES, check_metrics
from ddgan.metrics.features import known_features
from ddgan.metrics.samples import holds_samples
from ddgan.system.devices import choose_device
from ddgan.system.outputs import check_output
from ddgan.system.text import one_line

__all__ = ["run"]

COMPARE = "--compare"


def run(arguments: list[str]) -> int:
    """Score samples, print the table and write the JSON; or compare existing scores."""
    return _compare(arguments) if COMPARE in arguments else _evaluate(arguments)


def _evaluate(arguments: list[str]) -> int:
    parser = model_parser(
        "evaluate",
        "Score samples from a trained model, a folder of PNG files, or a .npz with uint8 images. "
        f"'ddgan evaluate {COMPARE} A.json B.json ... --out X.html' shows scores side by side.",
    )
    parser.add_argument(
        "-n",
        type=whole(1),
        metavar="N",
        help=f"samples (default: {DEFAULT_SAMPLES} from a model, all from a file; FID needs 50000)",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="real data: a kind of data, a path, or a published .npz or .npy with mu and sigma "
        "(default: the model's training data); prepared as that was, and of the shape of the samples",
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME",
        help=f"any of {', '.join(known_metrics())} (default: speed, and modes if possible, else frechet)",
    )
    parser.add_argument(
        "--features",
        default="auto",
        metavar="NAME",
        help=f"{', '.join(known_features())}, or X.pt with X.json beside it (default: auto: inception for "
        "colour images of at least 32 pixels, else classifier if there are labels, else pixels; offline: "
        "the best that needs no download)",
    )
    parser.add_argument("--split", metavar="NAME", help="split of the real data (default: train)")
    parser.add_argument(
        "--held_out",
        metavar="DATA",
        help="data not used in training, for memorisation (default: the run's own, or the split test)",
    )
    parser.add_argument("--out", metavar="X.json", help="JSON file for the scores; pictures go beside it")
    add_chain(parser)
    options = parser.parse_args(arguments)
    is_samples = holds_samples(options.model)
    if is_samples and (requested := chain_settings(options)):
        raise ValueError(
            f"--{next(iter(requested))} applies to models, but '{options.model}' holds samples; leave it out"
        )
    out = None if options.out is None else Path(options.out)
    if out is not None:
        check_output(out, options.overwrite, also=[out.with_suffix(".neighbours.png")])
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
        print(f"{one_line(name):<40} {one_line(value)}")
    if out is not None:
        report.save(out)
    return 0


def _compare(arguments: list[str]) -> int:
    from ddgan.reports.alike import score_alike
    from ddgan.reports.comparison import compare

    parser = Parser(
        f"evaluate {COMPARE}",
        "Show scores side by side: a table, and a page with a plot of quality, coverage and speed. What some "
        "models lack is computed with as many samples, features and metrics as the others have.",
    )
    parser.add_argument(
        COMPARE,
        nargs="+",
        metavar="RUN",
        help="two or more run folders or models, or JSON files written by 'ddgan evaluate'",
    )
    parser.add_argument("-n", type=whole(1), metavar="N", help="samples of each model (default: as scored)")
    parser.add_argument("--metrics", nargs="+", metavar="NAME", help="the scores (default: all that exist)")
    parser.add_argument(
        "--features", metavar="NAME", help="what they compare (default: as scored, or offline)"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="as for 'ddgan evaluate'")
    parser.add_argument("--out", metavar="X.html", help="the page to write; the plot is also saved as X.png")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    options = parser.parse_args(arguments)
    out = None if options.out is None else Path(options.out)
    if out is not None and out.suffix != ".html":
        raise ValueError(f"--out is '{out}'; {COMPARE} writes a page, so name it X.html")
    if out is not None:
        check_output(out, options.overwrite, also=[out.with_suffix(".png")])
    scores = score_alike(
        [Path(path) for path in options.compare],
        lambda line: print(one_line(line), file=sys.stderr, flush=True),
        n=options.n,
        features=options.features,
        metrics=options.metrics,
        device=choose_device(options.device),
        progress=True,
    )
    comparison = compare(scores, out)
    for row in comparison.lines():
        print(row)
    if out is not None:
        written = f"{out} and {out.with_suffix('.png')}" if comparison.measures else out
        print(f"comparison in {written}", file=sys.stderr)
    return 0
