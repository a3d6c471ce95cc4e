"""What to expect at a number of images seen: what came out of our own runs (docs/planning.md)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MEASURED", "Measured", "expectation"]

RECOGNISABLE = 5_000_000
"""Images seen, below which photographs give colours and textures."""


@dataclass(frozen=True)
class Measured:
    """What a run of ours drew.

    Attributes:
        is_drawn: whether the data are drawings (digits), or photographs.
        size: height and width in pixels.
        images: images seen.
        outcome: what it drew, in words.
        data: the data.
    """

    is_drawn: bool
    size: int
    images: int
    outcome: str
    data: str


MEASURED = (
    Measured(True, 8, 640_000, "100 % of the digits are of the requested class", "single digits of 8 x 8"),
    Measured(True, 8, 1_330_000, "87 % of the digits legible, nearly all modes", "stacked digits of 8 x 8"),
    Measured(True, 8, 2_300_000, "92 % of the digits legible, all modes", "stacked digits of 8 x 8"),
    Measured(True, 32, 256_000, "4 % of the digits legible", "stacked MNIST"),
    Measured(True, 32, 1_150_000, "60 % of the digits legible, blurred, all modes", "stacked MNIST"),
    Measured(False, 32, 200_000, "blobs of colour", "CIFAR-10"),
    Measured(
        False,
        32,
        6_800_000,
        "horses, cars, ships and trucks recognisable, cats and birds patches of fur and colour",
        "CIFAR-10 with classes",
    ),
)
"""From docs/results/learning.md and docs/results/gpu."""


def expectation(is_drawn: bool, size: int, images: float) -> str:
    """Say what to expect of images of this size after so many were seen.

    The nearest sizes that we measured decide; the runs before and after `images` are named.
    """
    known = [one for one in MEASURED if one.is_drawn == is_drawn]
    nearest = min({one.size for one in known}, key=lambda other: (abs(other - size), other))
    runs = sorted((one for one in known if one.size == nearest), key=lambda one: one.images)
    before = [one for one in runs if one.images <= images][-1:]
    after = [one for one in runs if one.images > images][:1]
    said = "; ".join(
        f"{one.outcome} after {_count(one.images)} images of {one.data}" for one in before + after
    )
    begin = "" if is_drawn or images >= RECOGNISABLE else "colours and textures only, no objects; "
    drew = "our runs drew" if before else "less than our runs, which drew"
    other = f" ({size} px was not measured; larger images take more)" if size > nearest else ""
    return f"{begin}{drew}: {said}{other}"


def _count(images: float) -> str:
    """Format a number of images for people, such as 6.8 million."""
    return f"{images / 1e6:.3g} million" if images >= 1e6 else f"{images:,.0f}"
