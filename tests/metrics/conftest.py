"""Small data for scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bars import bars

from ddgan.metrics import labelled, reference


@pytest.fixture(scope="session", autouse=True)
def quick_work() -> Iterator[None]:
    """Classifiers that learn for seconds, and fewer real samples of endless data."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled, "IMAGES_SEEN", 4000)
        patch.setattr(labelled, "BATCH_SIZE", 32)
        patch.setattr(reference, "FEWEST_ENDLESS", 1000)
        yield


@pytest.fixture(scope="session")
def labelled_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .npz of 400 grey images of 10 classes of unequal size, 12 x 12."""
    labels = np.random.default_rng(0).choice(10, size=400, p=np.arange(1, 11) / 55)
    path = tmp_path_factory.mktemp("labelled") / "bars.npz"
    np.savez(path, images=bars(labels, 12, 1), labels=labels)
    return path
