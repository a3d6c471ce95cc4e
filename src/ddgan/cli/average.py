"""`ddgan average`."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import Any

from ddgan.cli.options import Parser, add_sampling, number, whole
from ddgan.metrics import Report, evaluate
from ddgan.metrics.evaluation import DEFAULT_SAMPLES
from ddgan.models.averages import averaged, sum_of
from ddgan.system.devices import choose_device
from ddgan.system.outputs import check_output
from ddgan.training.run_scores import best_by

__all__ = ["run"]


def run(arguments: list[str]) -> int:
    """Make the models of other averages, score them if there are several, and save the best."""
    parser = Parser(
        "average",
        "Make the model of a run with another average of its weights, from those that it saved "
        "(optimization.ema.lengths). Several lengths are scored, and the best model is saved.",
    )
    parser.add_argument("run", help="a run folder")
    parser.add_argument(
        "--lengths",
        type=number,
        nargs="+",
        metavar="X",
        help="relative lengths, in (0, 0.28]: 0.1 averages over about the last third of the training",
    )
    parser.add_argument(
        "--step", type=whole(1), metavar="N", help="where the average ends (default: the end)"
    )
    parser.add_argument(
        "-n",
        type=whole(1),
        default=DEFAULT_SAMPLES,
        metavar="N",
        help=f"samples (default: {DEFAULT_SAMPLES})",
    )
    parser.add_argument("--out", metavar="X.safetensors", help="the weights file to write")
    add_sampling(parser)
    options = parser.parse_args(arguments)
    if options.lengths is None or options.out is None:
        raise ValueError("average needs --lengths X ... and --out X.safetensors")
    out = Path(options.out)
    if out.suffix != ".safetensors":
        raise ValueError(f"--out is '{out}'; it must end in .safetensors")
    check_output(out, options.overwrite)
    device = choose_device(options.device)
    best, least = None, math.inf
    for length in options.lengths:
        sum_of(options.run, length, options.step)  # refuses before any of them is scored
    for length in options.lengths:
        model = averaged(options.run, length, step=options.step, device=device)
        if len(options.lengths) == 1:
            best = model
            continue
        report = scores_of(model, options)
        score = best_by(report, model.config.training)
        print(f"{length:<8g} " + "; ".join(" ".join(row) for row in report.table()[:3]))
        if score is not None and score < least:
            best, least = model, score
    if best is None:
        raise ValueError(f"'{options.run}' has no score to choose by: neither modes nor a Fréchet distance")
    best.save(out)
    print(f"weights in {out}", file=sys.stderr)
    return 0


def scores_of(model: Any, options: Any) -> Report:
    """Score a model as training does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return evaluate(model, n=options.n, seed=options.seed, progress=True)
