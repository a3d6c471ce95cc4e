"""Whether training still pays, judged from the scores during a run: one sentence, and whether to stop.

Scores have noise: a score of N samples has an interval, and the weights fluctuate from one scoring to the
next. So the means of the newest scores and of those before are compared, and a difference counts only beyond
the noise of both,

    | mean of the WINDOW before - mean of the newest WINDOW |  >  LEVEL sigma sqrt(1 / n + 1 / m) ,

where sigma is the larger of the intervals' deviation and of the scatter of the series. The scatter is taken
from second differences, v_{i-1} - 2 v_i + v_{i+1}, which are 0 along a straight line, so that steady progress
is not called noise; for independent errors their deviation is sigma sqrt(6).

Memorising is judged first: a model that copies its training images has ever better scores.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from ddgan.metrics import Report
from ddgan.metrics.headline import headline
from ddgan.metrics.resampling import Interval

__all__ = ["InterimScore", "Verdict", "interim_score", "verdict"]

WINDOW = 4
"""Scores in each of the two means."""
LEAST = WINDOW + 2
"""Scores from which a run is judged."""
LEVEL = 2.0
"""Deviations beyond which a difference is not noise."""
DEVIATIONS = 2 * 1.96
"""Width of a 95 % interval in deviations."""
MEMORISING = 0.5
"""A model memorises if held-out images are the nearest to its samples less than this share of the times that
they would be by chance."""
CONFIRMED = 2
"""Scorings in a row that must show it."""


@dataclass(frozen=True)
class InterimScore:
    """A score during training, as a line of scores.jsonl has it.

    Attributes:
        step: the iteration.
        name: name of the score; lower is better.
        value: its value.
        interval: its 95 % interval, None if unknown.
        held_out_nearest: how often held-out images are the nearest to samples, relative to chance; see
            `MemorisationScore`. None if there are no held-out images.
        held_out_interval: its 95 % interval.
    """

    step: int
    name: str
    value: float
    interval: Interval | None = None
    held_out_nearest: float | None = None
    held_out_interval: Interval | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> InterimScore:
        """Return the score with the values of `to_dict`; others, such as the verdict, are left out."""
        known = {name: values.get(name) for name in cls.__dataclass_fields__}
        for name in ("interval", "held_out_interval"):
            if (ends := known[name]) is not None:
                known[name] = tuple(ends)
        return cls(**known)  # type: ignore[arg-type]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @property
    def memorises(self) -> bool:
        """Whether samples are training images too often for it to be chance."""
        return self.held_out_interval is not None and self.held_out_interval[1] < MEMORISING


@dataclass(frozen=True)
class Verdict:
    """What the scores say of a run.

    Attributes:
        kind: "early" (too few scores), "improving", "flat", "worsening" or "memorising".
        sentence: the same in one sentence.
        since: the iteration since which it is so; for "improving" that of the best score.
    """

    kind: Literal["early", "improving", "flat", "worsening", "memorising"]
    sentence: str
    since: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether more training of this kind brings nothing."""
        return self.kind in ("flat", "worsening", "memorising")


def interim_score(step: int, report: Report, metrics: Sequence[str] = ()) -> InterimScore | None:
    """Return what a report says for `verdict`: its headline, see `ddgan.metrics.headline`; None without one.

    Args:
        step: the iteration.
        report: the report.
        metrics: kinds of metrics to look at first, in this order.
    """
    found = headline(report.to_dict(), metrics)
    if found is None:
        return None
    name, value, interval = found.name, found.value, found.interval
    if report.modes is not None and value == report.modes.kl:
        half = DEVIATIONS / 2 * report.modes.deviation
        interval = (max(value - half, 0.0), value + half)
    if found.better == "higher":
        name, value = f"negative {name}", -value
        interval = None if interval is None else (-interval[1], -interval[0])
    memory = report.memorisation
    if memory is None:
        return InterimScore(step, name, value, interval)
    return InterimScore(
        step, name, value, interval, memory.held_out_nearest, memory.held_out_nearest_interval
    )


def verdict(scores: Sequence[InterimScore]) -> Verdict:
    """Judge a run from its scores so far, in the order of iterations."""
    memorising = _memorising(scores)
    if memorising is not None:
        return memorising
    if len(scores) < LEAST:
        return Verdict("early", f"too early to judge: {len(scores)} of {LEAST} scores")
    values = [score.value for score in scores]
    newest = values[-WINDOW:]
    before = values[-2 * WINDOW : -WINDOW]
    sigma = noise(scores)
    gain = statistics.fmean(before) - statistics.fmean(newest)
    margin = LEVEL * sigma * math.sqrt(1 / len(newest) + 1 / len(before))
    name, best = scores[-1].name, min(scores, key=lambda score: score.value)
    if gain > margin:
        return Verdict(
            "improving",
            f"improving: {name} {best.value:.4g} at iteration {best.step:,} is the best",
            best.step,
        )
    if gain < -margin:
        return Verdict(
            "worsening",
            f"worsening since iteration {best.step:,}, which has the best {name}, {best.value:.4g}",
            best.step,
        )
    level = statistics.fmean(newest)
    since = len(values) - WINDOW
    while since > 0 and values[since - 1] <= level + LEVEL * sigma:
        since -= 1
    return Verdict(
        "flat", f"flat since iteration {scores[since].step:,}: {name} about {level:.4g}", scores[since].step
    )


def noise(scores: Sequence[InterimScore]) -> float:
    """Return the deviation of one score from the trend of the newest scores, at least two windows of them."""
    recent = scores[-2 * WINDOW :]
    widths = [score.interval[1] - score.interval[0] for score in recent if score.interval is not None]
    of_intervals = statistics.median(widths) / DEVIATIONS if widths else 0.0
    values = [score.value for score in recent]
    bends = [a - 2 * b + c for a, b, c in zip(values, values[1:], values[2:], strict=False)]
    scatter = math.sqrt(statistics.fmean(bend * bend for bend in bends) / 6) if bends else 0.0
    return max(of_intervals, scatter)


def _memorising(scores: Sequence[InterimScore]) -> Verdict | None:
    count = 0
    while count < len(scores) and scores[-1 - count].memorises:
        count += 1
    if count < CONFIRMED:
        return None
    since, share = scores[-count].step, scores[-1].held_out_nearest
    return Verdict(
        "memorising",
        f"memorising since iteration {since:,}: held-out images are the nearest to samples only {share:.2f} "
        "times as often as by chance, training images all the more",
        since,
    )
