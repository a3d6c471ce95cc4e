"""Data sources by name."""

from __future__ import annotations

import pytest

from ddgan.data import SOURCES, open_source


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_gives_batches_of_its_shape(name: str) -> None:
    source = open_source(name, seed=0)
    assert source.batch(0, 3).shape == (3, *source.state_shape)


@pytest.mark.parametrize(("name", "words"), [("cats", "data is 'cats'"), ("", "names no data")])
def test_other_names_are_answered_with_those_that_exist(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=rf"{words}; pass --data with one of: digits, gaussians"):
        open_source(name, seed=0)
