"""Samples as files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ddgan import DDGAN, RunConfig
from ddgan.models.sample_files import RECORD_NAME, check_pictures, save_samples
from ddgan.system.images import to_uint8
from ddgan.system.outputs import read_record


def test_npz_holds_uint8_images(model: DDGAN, tmp_path: Path) -> None:
    out = tmp_path / "new" / "x.npz"
    record = save_samples(model, 5, 3, out, batch_size=2)
    with np.load(out) as file:
        assert list(file) == ["images"]
        assert file["images"].dtype == np.uint8
        np.testing.assert_array_equal(file["images"], to_uint8(model.sample(5, seed=3)))
    assert read_record(tmp_path / "new" / "x.npz.json") == json.loads(json.dumps(record))
    assert (record["n"], record["seed"], record["nfe"]) == (5, 3, 3)
    assert RunConfig.from_dict(record["config"]) == model.config


def test_a_folder_holds_one_png_per_image(model: DDGAN, tmp_path: Path) -> None:
    save_samples(model, 3, 0, tmp_path / "out")
    names = [f"{i:06d}.png" for i in range(3)]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [*names, "samples.json"]
    expected = to_uint8(model.sample(3))
    for name, image in zip(names, expected, strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / name)), image)


def test_a_folder_of_fewer_samples_keeps_none_of_the_old(model: DDGAN, tmp_path: Path) -> None:
    save_samples(model, 4, 0, tmp_path / "out")
    save_samples(model, 2, 1, tmp_path / "out")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    assert names == {"000000.png", "000001.png", "samples.json"}
    first = np.asarray(Image.open(tmp_path / "out" / "000000.png"))
    np.testing.assert_array_equal(first, to_uint8(model.sample(2, seed=1))[0])


def test_a_grid_that_no_viewer_opens_is_refused(model: DDGAN, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"a grid of 100,000 images, which would have .* pixels; choose X.npz"
    ):
        save_samples(model, 100_000, 0, tmp_path / "x.png")


def test_png_is_one_grid_of_enlarged_images(model: DDGAN, tmp_path: Path) -> None:
    save_samples(model, 3, 0, tmp_path / "grid.png")
    picture = np.asarray(Image.open(tmp_path / "grid.png"))
    assert picture.shape == (2 * 64 + 1, 2 * 64 + 1, 3)
    first = to_uint8(model.sample(1))[0]
    np.testing.assert_array_equal(picture[:64:8, :64:8], first)


def test_points_are_saved_as_numbers(points_model: DDGAN, tmp_path: Path) -> None:
    save_samples(points_model, 4, 0, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_array_equal(file["points"], points_model.sample(4).numpy())
    for name in ("x.png", "folder"):
        with pytest.raises(ValueError, match=r"cannot be saved as PNG; give --out X.npz"):
            save_samples(points_model, 4, 0, tmp_path / name)
    assert not (tmp_path / "folder").exists()


@pytest.mark.parametrize("shape", [(1, 6), (1, 2, 3, 2)], ids=str)
def test_signals_and_volumes_are_saved_as_numbers(
    tiny_points_config: RunConfig, make_model: Callable[..., DDGAN], tmp_path: Path, shape: tuple[int, ...]
) -> None:
    model = make_model(tiny_points_config, shape)
    save_samples(model, 4, 0, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        assert list(file) == ["samples"]
        np.testing.assert_array_equal(file["samples"], model.sample(4).numpy())
    with pytest.raises(ValueError, match=r"cannot be saved as PNG; give --out X.npz"):
        save_samples(model, 4, 0, tmp_path / "x.png")


def test_five_channels_have_no_png(
    tiny_config: RunConfig, make_model: Callable[..., DDGAN], tmp_path: Path
) -> None:
    model = make_model(tiny_config, (5, 8, 8))
    with pytest.raises(
        ValueError, match=r"samples of shape \(5, 8, 8\) cannot be saved as PNG; give --out X.npz"
    ):
        save_samples(model, 1, 0, tmp_path / "x.png")
    save_samples(model, 1, 0, tmp_path / "x.npz")


@pytest.mark.parametrize("name", ["x.jpg", "x.PNG", "paths.gif", "file"])
def test_samples_have_a_form_that_their_name_tells(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"it must be X.png, X.npz or a folder without a suffix"):
        check_pictures(tmp_path / name, overwrite=True)
    for good in ("x.png", "x.npz", "folder", "new/folder"):
        assert check_pictures(tmp_path / good, overwrite=False) == tmp_path / good


def test_pictures_that_are_no_samples_are_never_replaced(model: DDGAN, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    save_samples(model, 3, 0, folder)
    assert check_pictures(folder, overwrite=True) == folder
    (folder / "holiday.png").touch()
    for refuses in (
        lambda: check_pictures(folder, overwrite=True),
        lambda: save_samples(model, 3, 0, folder),
    ):
        with pytest.raises(ValueError, match=r"is not a folder of samples: it has a file 'holiday.png'"):
            refuses()
    (folder / "holiday.png").rename(folder / "000003-holiday.png")  # nearly one of ours
    with pytest.raises(ValueError, match=r"it has a file '000003-holiday.png'"):
        check_pictures(folder, overwrite=True)
    (folder / "000003-holiday.png").unlink()
    (folder / RECORD_NAME).unlink()
    with pytest.raises(ValueError, match=r"is not a folder of samples: it has no samples.json of ddgan"):
        check_pictures(folder, overwrite=True)


def test_samples_that_are_no_numbers_are_refused(
    tiny_config: RunConfig, make_model: Callable[[RunConfig], DDGAN], tmp_path: Path
) -> None:
    broken = make_model(tiny_config)
    next(broken.generator.parameters()).fill_(float("nan"))
    with pytest.raises(ValueError, match="4 of 4 samples have NaN or infinite values"):
        save_samples(broken, 4, 0, tmp_path / "x.png")
    assert not list(tmp_path.iterdir())
