"""From any source to a dataset: options, cache, faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from data_files import make_folder, png
from PIL import Image

import ddgan
from ddgan import RunConfig
from ddgan.data import cache, preparation
from ddgan.data import writing as module
from ddgan.data.decode import Preparation
from ddgan.data.preparation import Selection, open_selected, prepare
from ddgan.data.prepared import ImageDataset


def test_the_dataset_says_what_it_is(tmp_path: Path, pixels: np.ndarray) -> None:
    source = str(make_folder(tmp_path / "x", pixels))
    path = prepare(source, tmp_path / "out", Preparation(size=4), workers=1)
    assert sorted(file.name for file in path.iterdir()) == ["dataset.json", "images.bin", "labels.npy"]
    info = json.loads((path / "dataset.json").read_text())
    assert info["shape"] == [12, 3, 4, 4]
    assert (info["source"], info["split"], info["num_skipped"]) == (source, "all", 0)
    assert info["options"]["filter"] == "lanczos"
    assert (info["num_classes"], info["per_class"]) == (3, [4, 4, 4])
    assert info["checksum"] == ImageDataset(path).checksum


def test_many_threads_give_the_same_bytes(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(256, size=(700, 10, 12, 3), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    paths = [
        prepare(str(tmp_path / "x.npy"), tmp_path / name, Preparation(size=8), workers=workers)
        for name, workers in (("one", 1), ("two", 2))
    ]
    assert (paths[0] / "images.bin").read_bytes() == (paths[1] / "images.bin").read_bytes()


def test_the_cache_is_keyed_by_contents_and_options(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = make_folder(tmp_path / "x", pixels)
    first = prepare(str(folder))
    made = (first / "dataset.json").stat().st_mtime_ns
    assert prepare(str(folder)) == first
    assert (first / "dataset.json").stat().st_mtime_ns == made
    assert prepare(str(folder), options=Preparation(size=4)) != first
    assert prepare(str(folder), selection=Selection(labels="none")) != first

    file = folder / "ape" / "00.png"
    times = file.stat()
    old = file.read_bytes()
    file.write_bytes(png(255 - pixels[0]).ljust(len(old), b"\0"))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))  # changed, with the old time
    second = prepare(str(folder))
    assert second != first
    np.testing.assert_array_equal(ImageDataset(second).images[0], (255 - pixels[0]).transpose(2, 0, 1))

    os.utime(file)  # touched, not changed
    assert prepare(str(folder)) == second
    elsewhere = folder.rename(tmp_path / "x2")
    os.utime(elsewhere / "ape" / "00.png")
    assert prepare(str(elsewhere)).name.split("-")[-1] == second.name.split("-")[-1]


def test_the_place_of_the_cache_is_one_setting(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(make_folder(tmp_path / "x", pixels))
    monkeypatch.setenv("DDGAN_CACHE", str(tmp_path / "elsewhere"))
    assert tmp_path / "elsewhere" in prepare(source).parents
    monkeypatch.delenv("DDGAN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "ddgan"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache.cache_folder() == tmp_path / "home" / ".cache" / "ddgan"


def test_a_crash_leaves_nothing_that_looks_whole(
    tmp_path: Path, pixels: np.ndarray, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(make_folder(tmp_path / "x", pixels))

    def crash(*arguments: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(module, "classes_of", crash)
        with pytest.raises(OSError, match="the disk is full"):
            prepare(source)
    assert list((own_cache / "datasets").iterdir()) == []
    assert len(ImageDataset(prepare(source))) == 12


def test_a_cache_cut_short_is_made_again_and_a_dataset_cut_short_is_refused(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    source = str(make_folder(tmp_path / "x", pixels))
    path = prepare(source)
    for damage in ("images.bin", "dataset.json", "labels.npy"):
        file = path / damage
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(ValueError, match="prepare"):
            ImageDataset(path)
        assert prepare(source) == path
        assert len(ImageDataset(path)) == 12


def test_two_at_once_agree(tmp_path: Path, pixels: np.ndarray, own_cache: Path) -> None:
    source = str(make_folder(tmp_path / "x", pixels))
    with ThreadPoolExecutor(6) as pool:
        paths = set(pool.map(lambda _: prepare(source, workers=1), range(12)))
    assert len(paths) == 1
    np.testing.assert_array_equal(ImageDataset(paths.pop()).images, pixels.transpose(0, 3, 1, 2))
    assert len(list((own_cache / "datasets").iterdir())) == 1


AT_ONCE = """
import os, sys
from ddgan.data.preparation import prepare

start, started = os.pipe()
for _ in range(3):
    if not os.fork():
        os.close(started)
        os.read(start, 1)
        os.write(1, (str(prepare(sys.argv[1])) + "\\n").encode())
        os._exit(0)
os.close(started)
sys.exit(max(os.waitstatus_to_exitcode(os.wait()[1]) for _ in range(3)))
"""


def test_processes_at_once_agree(tmp_path: Path, pixels: np.ndarray) -> None:
    """All three begin when the pipe is closed."""
    command = [sys.executable, "-c", AT_ONCE, str(make_folder(tmp_path / "x", pixels))]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    assert len(said) == 3
    assert len(set(said)) == 1


def test_a_limit_takes_the_first_images_and_is_in_the_key(tmp_path: Path, pixels: np.ndarray) -> None:
    source = str(make_folder(tmp_path / "x", pixels))
    some = ImageDataset(prepare(source, selection=Selection(limit=5)))
    np.testing.assert_array_equal(some.images, pixels[:5].transpose(0, 3, 1, 2))
    assert some.info["options"]["limit"] == 5
    assert (some.num_classes, some.info["per_class"]) == (3, [4, 1, 0])
    assert len({prepare(source, selection=Selection(limit=limit)) for limit in (0, 4, 5)}) == 3
    assert len(ImageDataset(prepare(source, selection=Selection(limit=100)))) == 12
    with pytest.raises(ValueError, match="limit is -1; it must be at least 0"):
        Selection(limit=-1)


# --- bad images -------------------------------------------------------------------------------------


def spoil(folder: Path) -> dict[str, str]:
    """Put four bad files into a folder of images; returns what is wrong with each."""
    whole = (folder / "ape" / "00.png").read_bytes()
    bad = {
        "a.png": (b"", "empty"),
        "b.png": (b"some text", "not an image"),
        "c.png": (whole[:60], "damaged|not an image"),
    }
    for name, (content, _) in bad.items():
        (folder / "bee" / name).write_bytes(content)
    return {name: words for name, (_, words) in bad.items()}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_image_stops_everything_and_is_named(
    workers: int, tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ddgan.data.preparation.CHUNK", 1)  # so that 15 images are worth starting threads
    folder = make_folder(tmp_path / "x", pixels)
    spoil(folder)
    with pytest.raises(
        ValueError, match=r"bee/a.png' cannot be used: it is empty \(.*prepare .*x --skip-bad"
    ):
        prepare(str(folder), tmp_path / "out", workers=workers)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_or_is_left_out_counted_and_listed(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = make_folder(tmp_path / "x", pixels)
    problems = spoil(folder)
    dataset = ImageDataset(prepare(str(folder), tmp_path / "out", skip_bad=True))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    assert dataset.info["num_skipped"] == 3
    assert [Path(bad["name"]).name for bad in dataset.info["skipped"]] == sorted(problems)
    assert dataset.info["per_class"] == [4, 4, 4]


def test_nothing_usable_is_an_error_that_says_why(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "a.png").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"no usable image \('.*a.png': it is not an image\)"):
        prepare(str(tmp_path / "x"), tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


def test_mixed_sizes_need_a_size(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = make_folder(tmp_path / "x", pixels)
    (folder / "cow" / "odd.png").write_bytes(png(pixels[0][:5]))
    with pytest.raises(
        ValueError, match=r"odd.png' cannot be used: it is 9 x 5 .* is 9 x 9 .*x --size N"
    ) as told:
        prepare(str(folder), tmp_path / "out")
    assert "\n" not in str(told.value)
    assert ImageDataset(prepare(str(folder), tmp_path / "out", Preparation(size=6))).sample_shape == (3, 6, 6)


def test_sizes_that_the_network_cannot_halve_are_told_in_one_line(
    tmp_path: Path, pixels: np.ndarray, tiny_config: RunConfig
) -> None:
    data = str(make_folder(tmp_path / "x", pixels))
    with pytest.raises(
        ValueError,
        match=r"^generator\.channel_multipliers is \[1, 1\], which halves the size 1 times, but the samples "
        r"have size 9 x 9; use sizes that are multiples of 2, or fewer multipliers$",
    ):
        ddgan.train(tiny_config, tmp_path / "run", data=data, verbose=False)
    run = ddgan.train(
        tiny_config.changed(
            {"data": {"kind": "images", "path": data, "size": 8}, "training.num_iterations": 1}
        ),
        tmp_path / "mended",
        verbose=False,
    )
    assert run.model.sample_shape == (3, 8, 8)


def test_colour_after_grey_needs_a_decision(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = make_folder(tmp_path / "x", pixels)
    (folder / "ape" / "00.png").write_bytes(png(pixels[0][..., :1]))
    with pytest.raises(
        ValueError, match=r"01.png' cannot be used: it has colour, but the first image is grey"
    ):
        prepare(str(folder), tmp_path / "out")
    for channels in (1, 3, 4):
        path = prepare(str(folder), tmp_path / str(channels), Preparation(channels=channels))
        assert ImageDataset(path).sample_shape == (channels, 9, 9)


def test_transparency_of_the_first_image_does_not_count(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = make_folder(tmp_path / "x", pixels)
    opaque = np.full((9, 9, 1), 255, np.uint8)
    (folder / "ape" / "00.png").write_bytes(png(np.concatenate([pixels[0], opaque], axis=2)))
    assert ImageDataset(prepare(str(folder))).sample_shape == (3, 9, 9)


def test_labels_beyond_the_named_classes(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez(tmp_path / "x.npz", images=pixels, labels=np.arange(12))
    reader = open_selected(str(tmp_path / "x.npz"), Selection())
    reader.class_names = ("a", "b")
    monkeypatch.setattr(preparation, "open_selected", lambda *asked: reader)
    with pytest.raises(ValueError, match="a label 11, but names only 2 classes"):
        prepare(str(tmp_path / "x.npz"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- outputs ----------------------------------------------------------------------------------------


def test_outputs_that_exist_are_only_replaced_when_asked(tmp_path: Path, pixels: np.ndarray) -> None:
    source = str(make_folder(tmp_path / "x", pixels))
    out = prepare(source, tmp_path / "out")
    with pytest.raises(ValueError, match="exists; choose another name or pass --overwrite"):
        prepare(source, out)
    prepare(source, out, Preparation(size=4), overwrite=True)
    assert ImageDataset(out).sample_shape == (3, 4, 4)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="also has other files"):
        prepare(source, out, overwrite=True)
    with pytest.raises(ValueError, match="is not a prepared dataset"):
        prepare(source, tmp_path / "x", overwrite=True)
    assert len(list((tmp_path / "x").rglob("*.png"))) == 12
    with pytest.raises(ValueError, match="is a file"):
        prepare(source, out / "notes.txt", overwrite=True)
    (tmp_path / "empty").mkdir()
    assert prepare(source, tmp_path / "empty") == tmp_path / "empty"


@pytest.mark.parametrize(("mistake", "words"), [({"workers": -1}, "workers is -1")])
def test_mistakes_in_the_arguments(
    tmp_path: Path, pixels: np.ndarray, mistake: dict[str, int], words: str
) -> None:
    source = str(make_folder(tmp_path / "x", pixels))
    with pytest.raises(ValueError, match=words):
        prepare(source, **mistake)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="labels is 'some'"):
        Selection(labels="some")  # type: ignore[arg-type]


# --- notes ------------------------------------------------------------------------------------------


def write_all(folder: Path, images: list[np.ndarray]) -> str:
    folder.mkdir()
    for index, image in enumerate(images):
        (folder / f"{index}.png").write_bytes(png(image))
    return str(folder)


def test_images_that_are_not_square_are_counted(tmp_path: Path) -> None:
    source = write_all(
        tmp_path / "x", [np.zeros((20, 40, 3), np.uint8)] * 3 + [np.zeros((20, 20, 3), np.uint8)]
    )
    (note,) = ImageDataset(prepare(source, options=Preparation(size=16))).notes
    assert note.startswith("3 of 4 images are not square and were cropped to their centred square (up to 50%")
    assert note.endswith(f"ddgan prepare {source} --size 16 --resize fit --out DATA")
    fitted = ImageDataset(prepare(source, options=Preparation(size=16, resize="fit")))
    assert fitted.notes == ["3 of 4 images are not square and have black margins (--resize fit)"]
    enlarged = ImageDataset(prepare(source, options=Preparation(size=32))).notes
    assert "4 of 4 images are smaller than 32 x 32 and were enlarged" in enlarged


def test_equal_images_that_keep_their_size_are_not_cropped(tmp_path: Path) -> None:
    assert ImageDataset(prepare(write_all(tmp_path / "x", [np.zeros((5, 9), np.uint8)] * 2))).notes == []


@pytest.mark.parametrize("white", [255, 1023, 4095, 16383, 32767, 65535])
def test_dark_images_of_16_bits_name_the_range_that_would_fit(white: int, tmp_path: Path) -> None:
    values = np.linspace(0, white, 48).astype(np.uint16).reshape(3, 4, 4)
    source = write_all(tmp_path / "x", list(values))
    dataset = ImageDataset(prepare(source))
    if white == 65535:
        assert dataset.notes == []
        return
    (note,) = dataset.notes
    assert note.startswith("3 of 3 images are stored in 16 or more bits, but their brightest value is")
    assert note.endswith(f"if white is {white:,}: ddgan prepare {source} --range 0 {white} --out DATA")
    stated = ImageDataset(prepare(source, options=Preparation(range=(0, white))))
    np.testing.assert_array_equal(stated.images[:, 0], np.rint(values / white * 255))
    assert stated.notes == []


def test_arrays_of_0_and_1_name_the_range_that_would_fit(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(50).reshape(2, 5, 5).astype(np.uint8) % 2)
    (note,) = ImageDataset(prepare(str(tmp_path / "x.npy"))).notes
    assert note.endswith("--range 0 1 --out DATA")


def test_frames_are_counted(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((6, 5), value, np.uint8)) for value in (10, 90)]
    (tmp_path / "x").mkdir()
    frames[0].save(tmp_path / "x" / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "x" / "b.gif")
    (note,) = ImageDataset(prepare(str(tmp_path / "x"))).notes
    assert note == "1 of 2 images have several frames, of which the first was read"
