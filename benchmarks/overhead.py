"""Overhead of checkpoints and logging: python -m benchmarks.overhead [--minutes 3] [--out X.json].

Trains a preset with its default intervals and times everything but training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import ddgan
from benchmarks.common import publish
from ddgan.training import trainer
from ddgan.training.callbacks import Session
from ddgan.training.loop import fit


def main() -> None:
    """Train for some minutes, then print the shares of the time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="digits")
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--out")
    options = parser.parse_args()
    spent, saved = {"on_step": 0.0, "on_log": 0.0}, [0]

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*arguments)
            finally:
                spent[name] += time.perf_counter() - start

        return run

    def timed_fit(*arguments: Any, on_step: Any, on_log: Any, **more: Any) -> None:
        fit(*arguments, on_step=timed("on_step", on_step), on_log=timed("on_log", on_log), **more)

    save = Session.save

    def counted(session: Session) -> bool:
        saved[0] += 1
        return save(session)

    overrides = {"training.max_minutes": options.minutes, "training.score_samples": 0}
    patches = mock.patch.object(trainer, "fit", timed_fit), mock.patch.object(Session, "save", counted)
    with tempfile.TemporaryDirectory() as folder, patches[0], patches[1]:
        start = time.perf_counter()
        ddgan.train(options.preset, Path(folder) / "run", **overrides)
        total = time.perf_counter() - start
    share = sum(spent.values()) / total
    rows = [
        ("checkpoints", f"{saved[0]} in {total:.0f} s"),
        ("after each iteration, checkpoints included", f"{spent['on_step'] / total:.2%}"),
        ("log lines", f"{spent['on_log'] / total:.2%}"),
        ("together", f"{share:.2%} of the wall time"),
    ]
    values = {"preset": options.preset, "seconds": total, "saves": saved[0], "spent": spent, "share": share}
    publish("overhead", rows, values, options.out)


if __name__ == "__main__":
    main()
