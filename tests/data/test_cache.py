"""The cache: what cannot be kept is refused before any work for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ddgan.data.cache import check_cached
from ddgan.data.preparation import prepare


def test_a_place_that_can_be_made_is_accepted_and_left_empty(tmp_path: Path) -> None:
    check_cached(tmp_path / "new" / "file", "x")
    assert list((tmp_path / "new").iterdir()) == []
    check_cached(tmp_path / "new", "x")


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    said = "would be kept in '.*', which cannot be written .*; set DDGAN_CACHE to a folder that can$"
    with pytest.raises(ValueError, match=f"^the answer {said}"):
        check_cached(tmp_path / "file" / "cache" / "x", "the answer")
    np.save(tmp_path / "x.npy", np.zeros((3, 4, 4), np.uint8))
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ValueError, match=said):
        prepare(str(tmp_path / "x.npy"), tmp_path / "out")
