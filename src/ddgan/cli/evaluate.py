"""`ddgan evaluate`."""

from __future__ import annotations

from pathlib import Path

from ddgan.cli.options import open_model, verb_parser
from ddgan.metrics.evaluate import DEFAULT_SAMPLES, METRICS, evaluate
from ddgan.saving import check_output


def run(arguments: list[str]) -> int:
    """Score, print the table, write the JSON."""
    parser = verb_parser("evaluate", "Score samples of a trained model.")
    parser.add_argument("-n", type=int, default=DEFAULT_SAMPLES, help=f"samples (default: {DEFAULT_SAMPLES})")
    parser.add_argument("--data", help="what to compare with (default: what the model was trained on)")
    parser.add_argument(
        "--metrics", nargs="+", help=f"any of {' '.join(METRICS)} (default: all that the data has)"
    )
    parser.add_argument("--out", help="where to write the scores as JSON")
    options = parser.parse_args(arguments)
    out = None if options.out is None else check_output(Path(options.out), options.overwrite)
    report = evaluate(
        open_model(options), options.data, options.metrics, options.n, options.seed, progress=True
    )
    for name, value in report.table():
        print(f"{name:<40} {value}")
    if out is not None:
        report.save(out)
    return 0
