"""Packs a run as a model that comes with ddgan.

    python docs/results/models.py emoji runs/emoji
    python docs/results/models.py mnist runs/mnist --data mnist/ --commit 0123456789ab

models.yaml has the texts of the card, the command of the training and the scores to take. The weights are
rounded to bf16 and scored as they will be handed out. The folder is src/ddgan/models/shipped/NAME unless
--out names another; --overwrite replaces a folder that was packed before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import ddgan
from ddgan.models.model import TrainedModel
from ddgan.models.packing import Description, pack
from ddgan.models.shipped_models import FOLDER
from ddgan.paper.provenance import commit, machine
from ddgan.system.outputs import read_record

TEXTS = Path(__file__).with_suffix(".yaml")


def texts() -> dict[str, Any]:
    """Return what models.yaml says of each model, with the title and the licence of its data."""
    found = yaml.safe_load(TEXTS.read_text(encoding="utf-8"))
    return {name: about | {"data": found["data"][about["data"]]} for name, about in found["models"].items()}


def description_of(name: str, about: Mapping[str, Any], commit: str, machine: str) -> Description:
    """Return the description of a model."""
    return Description(
        name=name,
        title=about["title"],
        data=about["data"]["title"],
        data_license=about["data"]["license"],
        license=about["license"],
        command=about["command"],
        commit=commit,
        machine=machine,
        good_for=tuple(about["good_for"]),
        limits=tuple(about["limits"]),
    )


def main(arguments: list[str] | None = None) -> None:
    """Pack a run."""
    known = texts()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=list(known))
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--out", type=Path, help="the folder to make")
    parser.add_argument("--data", help="the training data, where it is now, for the scores")
    parser.add_argument(
        "--scores", type=Path, metavar="X.json", help="scores of the packed weights, from ddgan evaluate"
    )
    parser.add_argument("--commit", default=commit(), help="what trained the run (default: this checkout)")
    parser.add_argument("--machine", default=machine(), help="where it was trained (default: this machine)")
    parser.add_argument("--overwrite", action="store_true", help="replace a model that was packed before")
    options = parser.parse_args(arguments)
    about = known[options.name]

    def scores(model: TrainedModel) -> dict[str, Any]:
        if options.scores is not None:
            return read_record(options.scores)
        return ddgan.evaluate(model, options.data, progress=True, **about["scores"]).to_dict()

    out = options.out or FOLDER / options.name
    description = description_of(options.name, about, options.commit, options.machine)
    packed = pack(options.run, out, description, scores, overwrite=options.overwrite)
    print(f"{packed.name} in {out}: {packed.parameters:,} parameters, {packed.size / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:
        sys.exit(str(error))
