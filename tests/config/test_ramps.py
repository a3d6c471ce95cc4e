"""Ramps, against closed forms."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddgan.config.ramps import Ramp, at


def test_the_shapes_between_their_ends() -> None:
    for shape, middle in {"linear": 5.0, "cosine": 5.0, "geometric": math.sqrt(9.0)}.items():
        ramp = Ramp(1.0, 9.0, shape=shape)  # type: ignore[arg-type]
        assert ramp.at(0, 100) == pytest.approx(1.0)
        assert ramp.at(50, 100) == pytest.approx(middle)
        assert ramp.at(100, 100) == pytest.approx(9.0)
    assert Ramp(0.0, 1.0).at(25, 100) == pytest.approx((1 - math.sqrt(0.5)) / 2)


def test_it_stays_at_its_end_after_its_share() -> None:
    ramp = Ramp(2.0, 0.0, share=0.25, shape="linear")
    assert [ramp.at(step, 100) for step in (0, 5, 25, 26, 100, 10**6)] == [2.0, 1.6, 0.0, 0.0, 0.0, 0.0]
    assert (at(ramp, 5, 100), at(0.3, 5, 100)) == (1.6, 0.3)


@given(
    st.floats(1e-6, 1e6),
    st.floats(1e-6, 1e6),
    st.floats(1e-3, 1),
    st.sampled_from(["cosine", "linear", "geometric"]),
    st.integers(1, 10**9),
)
def test_it_goes_one_way(start: float, end: float, share: float, shape: str, count: int) -> None:
    ramp = Ramp(start, end, share, shape)  # type: ignore[arg-type]
    values = [ramp.at(step, count) for step in range(0, count + 1, max(1, count // 7))]
    tolerance = 1e-9 * max(start, end)
    sign = math.copysign(1, end - start)
    assert all((later - earlier) * sign >= -tolerance for earlier, later in pairwise(values))
    assert all(min(start, end) - tolerance <= value <= max(start, end) + tolerance for value in values)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"start": 1.0}, "end is missing"),
        ({"start": -1.0, "end": 1.0}, "start is -1.0; it must be at least 0"),
        ({"start": 1.0, "end": 0.0, "share": 0.0}, "share is 0.0; it must be above 0"),
        ({"start": 1.0, "end": 0.0, "shape": "geometric"}, "start and end must be above 0"),
        ({"start": 1.0, "end": 0.0, "shape": "step"}, "it must be one of"),
    ],
)
def test_wrong_ramps_are_refused(values: dict[str, object], rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        Ramp(**values)  # type: ignore[arg-type]
