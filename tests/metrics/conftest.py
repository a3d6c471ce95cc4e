"""Small data for scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bars import bars

from ddgan.metrics.classifier import MeasuredClassifier


@pytest.fixture(scope="session")
def classifier(judge: MeasuredClassifier) -> MeasuredClassifier:
    """The classifier of digits, trained once in the session."""
    return judge


@pytest.fixture(scope="session")
def labelled_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .npz of 400 grey images of 10 classes of unequal size, 12 x 12."""
    labels = np.random.default_rng(0).choice(10, size=400, p=np.arange(1, 11) / 55)
    path = tmp_path_factory.mktemp("labelled") / "bars.npz"
    np.savez(path, images=bars(labels, 12, 1), labels=labels)
    return path
