"""`ddgan models`."""

from __future__ import annotations

import json
import sys

from ddgan.cli.options import Parser
from ddgan.metrics.headline import headlines, without_features
from ddgan.models.shipped_models import NONE, ShippedModel, shipped_model, shipped_models
from ddgan.system.text import aligned, one_line, printable

__all__ = ["run"]

MOST_SCORES = 2
"""Scores of a model in the table."""


def run(arguments: list[str]) -> int:
    """Print a table of the models that come with the package, their JSON, or the card of one."""
    parser = Parser(
        "models",
        "List the models that come with ddgan: what they make, shape of a sample, classes, steps T, "
        "parameters, size of the file, licence of the weights, scores. Use a name wherever a command takes a "
        "model, as in 'ddgan sample NAME -n 64 --out samples.png'.",
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="print the card of this model")
    parser.add_argument("--json", action="store_true", help="print JSON, with all scores")
    options = parser.parse_args(arguments)
    models = shipped_models() if options.name is None else [shipped_model(options.name)]
    if options.json:
        print(json.dumps([_plain(model) for model in models], indent=2))
    elif options.name is not None:
        print(printable(models[0].card), end="")
    elif models:
        head = ["name", "makes", "shape", "classes", "T", "parameters", "size", "licence", "scores"]
        for line in aligned([head, *map(_row, models)]):
            print(line)
    else:
        print(NONE, file=sys.stderr)
    return 0


def _row(model: ShippedModel) -> list[str]:
    scores = list(headlines(model.scores))[:MOST_SCORES]
    cells = [
        model.name,
        model.title,
        "x".join(map(str, model.sample_shape)),
        str(model.num_classes or "-"),
        str(model.num_steps),
        f"{model.parameters:,}",
        f"{model.size / 1e6:.1f} MB",
        model.license,
        ", ".join(f"{without_features(score.name)} {score.value:.3g}" for score in scores) or "-",
    ]
    return [one_line(cell) for cell in cells]


def _plain(model: ShippedModel) -> dict[str, object]:
    return model.description() | {"size": model.size, "path": str(model.path), "scores": model.scores}
