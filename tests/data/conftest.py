"""Small images in every form in which people keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test touches the user's cache."""
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pixels() -> np.ndarray:
    """Twelve images, uint8 (12, 9, 9, 3), of three classes with four each, in the order of their names."""
    return np.random.default_rng(0).integers(256, size=(12, 9, 9, 3), dtype=np.uint8)
