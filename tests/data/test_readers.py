"""Every form of source, read from small real files; the same images give the same arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_files import CLASSES, LABELS
from forms import SOURCES, WITHOUT_LABELS, WITHOUT_NAMES

from ddgan.data.preparation import prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import open_reader


@pytest.mark.parametrize("name", SOURCES)
def test_the_same_images_from_any_source_give_the_same_bytes(
    name: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    source = SOURCES[name](tmp_path, pixels)
    dataset = ImageDataset(prepare(source, tmp_path / "out"))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    assert (tmp_path / "out" / "images.bin").read_bytes() == pixels.transpose(0, 3, 1, 2).tobytes()
    if name in WITHOUT_LABELS:
        assert dataset.labels is None
    else:
        np.testing.assert_array_equal(dataset.labels, LABELS)
        assert dataset.info["per_class"] == [4, 4, 4]
    assert dataset.info["class_names"] == (None if name in WITHOUT_NAMES else list(CLASSES))
    assert dataset.checksum_now() == dataset.checksum == dataset.info["checksum"]


@pytest.mark.parametrize("name", SOURCES)
def test_readers_can_be_read_twice_and_know_their_length(
    name: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    reader = open_reader(SOURCES[name](tmp_path, pixels))
    first, second = list(reader), list(reader)
    assert [item.name for item in first] == [item.name for item in second]
    assert len({item.name for item in first}) == 12
    assert len(reader) in (12, 0 if name == "hub" else 12)
