"""What to expect: our measurements by kind of data, size and images seen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ddgan.planning.expectations import MEASURED, expectation

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    ("is_drawn", "size", "images", "expected", "other"),
    [
        (
            False,
            32,
            100_000,
            "colours and textures only, no objects; less than our runs, which drew: blobs",
            "6.8 million",
        ),
        (False, 32, 1_000_000, "colours and textures only, no objects; our runs drew: blobs", "larger"),
        (False, 32, 7_000_000, "our runs drew: horses, cars", "textures only"),
        (False, 256, 7_000_000, "256 px was not measured; larger images take more", "textures only"),
        (True, 32, 10_000, "4 % of the digits legible after 256,000 images", "60 %"),
        (True, 32, 500_000, "4 % of the digits legible after 256,000 images of stacked MNIST; 60 %", "8 x 8"),
        (True, 8, 10**7, "92 % of the digits legible, all modes after 2.3 million", "87 %"),
    ],
)
def test_the_runs_before_and_after_are_named(
    is_drawn: bool, size: int, images: int, expected: str, other: str
) -> None:
    said = expectation(is_drawn, size, images)
    assert expected in said
    if images < 200_000 or other in ("textures only", "60 %", "87 %", "8 x 8", "larger"):
        assert other not in said


def test_every_measurement_is_in_the_page() -> None:
    page = (DOCS / "planning.md").read_text(encoding="utf-8")
    for one in MEASURED:
        assert re.search(rf"\| {one.data} \| {one.size} \| {one.images:,} \| {one.outcome}", page), one
