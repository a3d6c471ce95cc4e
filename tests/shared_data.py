"""Real images beside the project, for tests that are skipped where they are missing."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[1].parent / "shared" / "data"


def shared(name: str) -> Path:
    """Real data beside the project; the test is skipped where it is missing."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"the folder shared/data/{name} is not there")
    return SHARED / name
