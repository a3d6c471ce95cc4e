"""Train and score runs to compare on one GPU, one after the other, each for its minutes.

    python docs/results/gpu/train.py OUT --mnist FOLDER --cifar10 FOLDER stack:8 t4:6 t1:6 nolatent:6

`stack` is StackedMNIST with the reconstruction term; t4, t1 and nolatent are CIFAR-10 with the paper's
objective. All have the networks of `cifar10_small`, so compiled code is reused, except by the generator
without latent, which has other layers. Scoring starts when all are trained, so that nothing runs beside
training.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from curve import main as score_checkpoints

import ddgan
from ddgan import RunConfig

NAMES = ("stack", "t4", "t1", "nolatent")


def settings(name: str, minutes: float, given: argparse.Namespace) -> RunConfig:
    """Return the settings of the run with this name."""
    changes: dict[str, Any] = {
        "training.max_minutes": minutes,
        "training.batch_size": given.batch,
        "training.compile": given.compile,
        "training.cuda_graphs": given.cuda_graphs,
        "training.keep_every": given.keep_every,
        "training.checkpoint_minutes": 30.0,
        "data.path": given.cifar10,
    }
    own: dict[str, dict[str, Any]] = {
        "stack": {
            "method.reconstruction": {"kind": "l2", "weight": 25.0, "by_signal": True},
            "optimization.discriminator.lr": 4e-4,
            "augmentation": [],
            "data.path": f"stackedmnist:{given.mnist}",
        },
        "t4": {},
        "t1": {"diffusion.num_steps": 1},
        "nolatent": {"generator.latent_size": 0},
    }
    return RunConfig.load("cifar10_small", changes | own[name])


def main() -> None:
    """Train the given runs, then score their checkpoints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", nargs="+", metavar="NAME:MINUTES", help=f"names: {', '.join(NAMES)}")
    parser.add_argument("--mnist", default="", help="folder with the MNIST files")
    parser.add_argument("--cifar10", default="", help="any source of CIFAR-10")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--keep_every", type=int, default=1000, help="iterations between scored checkpoints")
    parser.add_argument("--n", type=int, default=0, help="samples per score (default: 26,000 and 10,000)")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--cuda_graphs", action="store_true")
    given = parser.parse_args()
    runs = [(name, float(minutes)) for name, minutes in (run.split(":") for run in given.runs)]
    if unknown := [name for name, _ in runs if name not in NAMES]:
        parser.error(f"unknown run '{unknown[0]}'; the runs are {', '.join(NAMES)}")
    for name, minutes in runs:
        ddgan.train(settings(name, minutes, given), given.out / name)
    for name, _ in runs:
        metrics = ["modes"] if name == "stack" else ["frechet", "precision_recall", "balance"]
        n = given.n or (26_000 if name == "stack" else 10_000)
        score_checkpoints(given.out / f"{name}-curve.json", n, metrics, [given.out / name])


if __name__ == "__main__":
    main()
