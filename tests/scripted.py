"""Scores during training that follow a script, for tests of what is done with them."""

from __future__ import annotations

from typing import Any

from ddgan.metrics import Report
from ddgan.metrics.frechet import FrechetScore
from ddgan.training import callbacks, run_scores

FLAT_AT_10 = dict(enumerate([90.0, 60, 40, 30, 30.5, 29.5, 30, 30.5, 29.5, 30, 30, 30, 30, 30], 1))
"""Scores by iteration, which are flat since the fourth, to be seen with the tenth."""


class Scripted:
    """Takes the place of `evaluate_in_training`: the score of iteration k is the k-th of the script."""

    def __init__(self, script: dict[int, float]) -> None:
        self.script, self.step = script, 0

    def __call__(self, model: Any, n: int, **options: Any) -> Report:
        score = FrechetScore("FID", self.script[self.step], None, 4, 4, 100)
        return Report("gaussians", n, 0, 3, 0.1, "here", scores={"frechet": score})

    def install(self, patch: Any) -> Scripted:
        """Patch the scoring, which then knows the iteration."""
        score = callbacks.ScoresAndCheckpoints._score

        def scored(callback: Any, session: Any) -> None:
            self.step = session.state.step
            score(callback, session)

        patch.setattr(callbacks.ScoresAndCheckpoints, "_score", scored)
        patch.setattr(run_scores, "evaluate_in_training", self)
        return self
