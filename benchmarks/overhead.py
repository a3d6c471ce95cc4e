"""What checkpoints and logging cost a run: python -m benchmarks.overhead [--minutes 3] [--out X.json].

Trains the preset `digits` with its default intervals and times what is not training.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ddgan
from benchmarks.common import publish
from ddgan.training.callbacks import Supervisor

spent = {"on_step": 0.0, "on_log": 0.0}
saves = [0]


def timed(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, its time added up."""

    def run(*arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return method(*arguments)
        finally:
            spent[name] += time.perf_counter() - start

    return run


def counted(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, its calls counted."""

    def run(*arguments: Any) -> Any:
        saves[0] += 1
        return method(*arguments)

    return run


def main() -> None:
    """Train for some minutes, then tell the shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--out")
    options = parser.parse_args()
    for name in spent:
        setattr(Supervisor, name, timed(name, getattr(Supervisor, name)))
    Supervisor.save = counted(Supervisor.save)  # type: ignore[method-assign]
    config = ddgan.RunConfig.load("digits")
    training = replace(config.training, max_minutes=options.minutes, score_samples=0)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        ddgan.train(replace(config, training=training), Path(folder) / "run")
        total = time.perf_counter() - start
    share = sum(spent.values()) / total
    rows = [
        ("checkpoints", f"{saves[0]} in {total:.0f} s"),
        ("after each iteration, checkpoints included", f"{spent['on_step'] / total:.2%}"),
        ("log lines", f"{spent['on_log'] / total:.2%}"),
        ("together", f"{share:.2%} of the wall time"),
    ]
    publish(
        "overhead", rows, {"seconds": total, "saves": saves[0], "spent": spent, "share": share}, options.out
    )


if __name__ == "__main__":
    main()
