"""Seals: every change of a sealed object is found."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddgan.system.seal import SEAL, digest_of, sealed, unsealed

VALUES: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.text().filter(lambda name: name != SEAL),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


@given(VALUES)
def test_sealed_values_come_back_through_json(values: dict[str, Any]) -> None:
    assert unsealed(json.loads(json.dumps(sealed(values)))) == values


@given(VALUES, st.data())
def test_a_flipped_bit_is_found(values: dict[str, Any], data: st.DataObject) -> None:
    text = bytearray(json.dumps(sealed(values)).encode())
    text[int(data.draw(st.floats(0, 1, exclude_max=True)) * len(text))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = unsealed(json.loads(text.decode()))
    except ValueError:
        return
    found = {name: value for name, value in found.items() if name in values}  # a seal of another name
    assert found == values


def test_the_order_of_names_and_their_type_do_not_matter() -> None:
    assert digest_of({"a": 1, "b": {10: 0, 9: (1, 2)}}) == digest_of({"b": {"9": [1, 2], "10": 0}, "a": 1})


def test_values_that_were_never_sealed_are_taken_as_they_are() -> None:
    assert unsealed({"a": 1}) == {"a": 1}
    with pytest.raises(ValueError, match="its checksum is wrong"):
        unsealed({"a": 1, SEAL: digest_of({"a": 2})[:16]})
