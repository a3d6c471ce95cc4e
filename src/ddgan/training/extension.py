"""Another length for a run that has begun, and how its schedules go on.

A schedule f(k, N) is the learning rate, or a ramp, at iteration k of N. When the length changes from N to N'
after s iterations, the value moves from v, where it was, to the schedule of the new length, and follows that
to the end:

    value(k) = (1 - w) v + w f(k, N'),    w = min((k - s) / W, 1),    W = (N' - s) / 20, rounded up

So it has no jump and ends where the schedule ends. A run that goes on for a time stays at v until the number
of iterations is known; s is then counted from there. Everything follows from the iteration and the changes so
far, which checkpoints record, so a resumed run continues it exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

__all__ = ["Extension", "rates_after", "scheduled", "transition"]

SHARE = 20
"""The move to the schedule of the new length takes one part in SHARE of the iterations that are left."""
Schedule = Callable[[int, int], float]
"""(iteration, number of iterations) -> value."""


@dataclass(frozen=True)
class Extension:
    """A change of the length of a run, to more iterations or, before the end, to fewer.

    Attributes:
        step: finished iterations at the change.
        num_iterations: the length before.
        known_at: finished iterations when the new length was known; None while a time budget is measured.
    """

    step: int
    num_iterations: int
    known_at: int | None


def transition(known_at: int, num_iterations: int) -> int:
    """Return W, the iterations from `known_at` in which values move to the schedule of `num_iterations`."""
    return max(-(-(num_iterations - known_at) // SHARE), 1)


def scheduled(
    schedule: Schedule, step: int, num_iterations: int, extensions: Sequence[Extension] = ()
) -> float:
    """Return the value of a schedule at iteration `step` of a run of now `num_iterations`.

    Args:
        schedule: the schedule of a run whose length never changes.
        step: the iteration.
        num_iterations: the length after the last change.
        extensions: the changes so far, in order.
    """
    if not extensions:
        return schedule(step, num_iterations)
    *earlier, last = extensions
    before = scheduled(schedule, min(step, last.step), last.num_iterations, earlier)
    if last.known_at is None or step <= last.known_at:
        return before
    share = min((step - last.known_at) / transition(last.known_at, num_iterations), 1.0)
    return (1 - share) * before + share * schedule(step, num_iterations)


def rates_after(known_at: int, num_iterations: int) -> str:
    """Say how learning rates and ramps go on, for the log."""
    within = transition(known_at, num_iterations)
    return (
        f"learning rates and ramps move from where they are to the schedule of {num_iterations:,} iterations "
        f"within {within:,}"
    )
