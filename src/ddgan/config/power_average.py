"""Power-function averages of the weights, from which others are made after training (arXiv 2312.02696).

The weights of iteration s count in proportion to s^gamma; the average is updated by

    average <- b average + (1 - b) weights ,   b = (1 - 1/s)^(gamma + 1)

Its relative length is the standard deviation of its profile, as a share of the training so far:
sqrt((gamma + 1) / ((gamma + 2)^2 (gamma + 3))), below .289, that of a plain mean.
"""

from __future__ import annotations

from functools import cache

import numpy as np

__all__ = ["LONGEST", "exponent_of", "power_decay"]

LONGEST = 0.28
"""The largest relative length."""


@cache  # asked in every iteration
def exponent_of(length: float) -> float:
    """Return gamma, the exponent of the profile of a relative length in (0, LONGEST]."""
    # length^2 (g + 2)^2 (g + 3) = g + 1 has one root above -1.
    inverse = length**-2
    roots = np.roots([1, 7, 16 - inverse, 12 - inverse])
    return float(roots[np.abs(roots.imag) < 1e-9].real.max())


def power_decay(length: float, step: int) -> float:
    """Return the decay b of an average with this relative length, at iteration `step`, counted from 0."""
    return float((1 - 1 / (step + 1)) ** (exponent_of(length) + 1))
