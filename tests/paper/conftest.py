"""What the tests of the experiments share: one folder of smoke models, so that each is trained once."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def smoke_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the smoke runs of a session go."""
    return tmp_path_factory.mktemp("reproduce")
