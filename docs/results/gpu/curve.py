"""Score the kept checkpoints of runs: python docs/results/gpu/curve.py OUT.json N METRIC,... RUN ...

Compares with the real test split, with the features `classifier`, on a GPU if there is one.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import ddgan
from ddgan import DDGAN
from ddgan.models.checkpoint_file import METADATA_NAME
from ddgan.system.devices import choose_device
from ddgan.training.checkpoint import Checkpoints


def main(out: Path, n: int, metrics: list[str], runs: list[Path]) -> None:
    """Score the checkpoints; the file is rewritten after each."""
    warnings.simplefilter("ignore", UserWarning)  # they are in the scores
    device = choose_device("auto")
    scores: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        rows = scores.setdefault(run.name, [])
        for path in Checkpoints(run / "checkpoints").paths():
            metadata = json.loads((path / METADATA_NAME).read_text())
            every = metadata["config"]["training"]["keep_every"]
            is_kept = (
                not every or metadata["step"] % every == 0 or metadata["step"] == metadata["num_iterations"]
            )
            if not metadata["step"] or not is_kept:
                continue  # a temporary checkpoint
            model = DDGAN.from_pretrained(path, device, precision="auto")
            report = ddgan.evaluate(model, metrics=metrics, n=n, features="classifier", split="test")
            row = {"step": metadata["step"], "images": metadata["step"] * model.config.training.batch_size}
            rows.append(row | {"seconds": metadata["seconds"], "scores": report.to_dict()})
            out.write_text(json.dumps(scores, indent=1) + "\n")
            summary = "; ".join(f"{name} {value}" for name, value in report.table()[:6])
            print(f"{run.name} {metadata['step']} {metadata['seconds']:.0f} s: {summary}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(","), list(map(Path, sys.argv[4:])))
