"""What a plan knows of data: mixed sizes and modes, copies, broken files, classes, drawings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddgan.data import inspection
from ddgan.data.decode import Preparation
from ddgan.data.inspection import check_dataset
from ddgan.data.preparation import prepare
from ddgan.data.sources import data_named
from ddgan.planning.survey import survey


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "cache"))


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Photographs of several sizes and modes, a copy, and a broken file."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    Image.fromarray(noise(40, 60)).save(folder / "a.png")
    Image.fromarray(noise(90, 50)).save(folder / "b.jpg")
    Image.fromarray(noise(33, 33)[..., 0]).save(folder / "grey.png")
    Image.fromarray(noise(33, 34, 4)).save(folder / "alpha.png")
    Image.fromarray(noise(33, 35)).convert("P").save(folder / "palette.png")
    Image.fromarray(noise(33, 36)[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    (folder / "copy.png").write_bytes((folder / "a.png").read_bytes())
    (folder / "broken.jpg").write_bytes((folder / "b.jpg").read_bytes()[:200])
    return folder


def test_photographs_of_every_mode_are_counted_and_broken_ones_named(mixed: Path) -> None:
    found = survey(data_named(str(mixed)))
    assert (found.count, found.channels, found.copies, found.deep) == (7, 3, 1, 1)
    assert [Path(name).name for name, _ in found.bad] == ["broken.jpg"]
    assert found.sizes[40, 60] == 2
    assert found.sizes[90, 50] == 1
    assert (found.is_drawn, found.per_class, found.shape, found.unchecked) == (False, {}, None, 0)


def test_grey_images_alone_are_grey_and_class_folders_are_classes(tmp_path: Path) -> None:
    for label, number in (("cat", 2), ("dog", 1)):
        (tmp_path / "x" / label).mkdir(parents=True)
        for i in range(number):
            Image.fromarray(noise(9, 9, seed=i)[..., 0]).save(tmp_path / "x" / label / f"{i}.png")
    found = survey(data_named(str(tmp_path / "x")))
    assert found.channels == 1
    assert found.per_class == {"cat": 2, "dog": 1}


def test_drawings_have_a_plain_background(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    for i in range(3):
        picture = np.full((32, 32, 3), 255, dtype=np.uint8)
        picture[8:20, 8 + i : 20] = noise(12, 12 - i, seed=i)
        Image.fromarray(picture).save(tmp_path / "x" / f"{i}.png")
    assert survey(data_named(str(tmp_path / "x"))).is_drawn
    assert survey(data_named("emoji")).is_drawn


def test_prepared_images_have_their_shape_and_held_out_images(mixed: Path, tmp_path: Path) -> None:
    (mixed / "broken.jpg").unlink()
    path = prepare(str(mixed), tmp_path / "ready", Preparation(size=16, channels=3))
    found = survey(data_named(str(path)))
    assert (found.shape, found.count, found.holds_out) == ((3, 16, 16), 7, False)


def test_embedded_images_are_known_and_points_refused() -> None:
    found = survey(data_named("emoji"))
    assert (found.count, found.shape, len(found.per_class), found.holds_out) == (1678, (3, 32, 32), 9, True)
    assert survey(data_named("digits")).count == 0
    with pytest.raises(ValueError, match=r"^data is gaussians, whose samples have shape \(2,\); a plan is"):
        survey(data_named("gaussians"))


def test_data_without_a_usable_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_text("no image")
    with pytest.raises(ValueError, match=r"which has no usable image: '.*a\.png', it is not an image$"):
        survey(data_named(str(tmp_path / "x")))


def test_of_a_large_source_only_some_images_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = np.stack([noise(8, 8, seed=i) for i in range(40)])
    np.save(tmp_path / "x.npy", images)
    monkeypatch.setattr(inspection, "LOOKED_AT", 5)
    monkeypatch.setattr(inspection, "LOOKED_AT_PIXELS", 10 * 64)
    report = check_dataset(str(tmp_path / "x.npy"), every=False)
    assert report.count == 40
    assert report.unchecked == 40 - 10 - 4  # the first ten for their pixels; four of the five lie beyond
    assert report.sizes.total() == 14
    assert check_dataset(str(tmp_path / "x.npy")).unchecked == 0
    assert ("not decoded", "26") in report.table()
