"""Folders and archives of image files."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import CLASSES, LABELS, make_folder, names, png
from forms import SOURCES, idx, parquet
from PIL import Image

from ddgan.data.preparation import Selection, prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import open_reader


def test_a_flat_folder_and_a_mixed_one_have_no_classes(tmp_path: Path, pixels: np.ndarray) -> None:
    make_folder(tmp_path / "x", pixels)
    (tmp_path / "x" / "alone.png").write_bytes(png(pixels[0]))
    assert open_reader(str(tmp_path / "x")).class_names is None
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "b.PNG").write_bytes(png(pixels[0]))
    (flat / "a.png").write_bytes(png(pixels[1]))
    (flat / ".hidden.png").write_bytes(b"")
    (flat / "notes.txt").write_text("not an image")
    items = list(open_reader(str(flat)))
    assert [Path(item.name).name for item in items] == ["a.png", "b.PNG"]
    assert [item.label for item in items] == [None, None]


def test_links_are_followed_and_loops_are_not(tmp_path: Path, pixels: np.ndarray) -> None:
    root = make_folder(tmp_path / "x", pixels)
    (root / "ape" / "back").symlink_to(root)
    (root / "bee" / "self").symlink_to(root / "bee")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "linked.png").write_bytes(png(pixels[0]))
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cow" / "broken.png").symlink_to(root / "nowhere.png")
    items = list(open_reader(str(root)))
    assert sum(item.name.endswith("linked.png") for item in items) == 1
    assert [item.problem for item in items if item.name.endswith("broken.png")] == [
        "No such file or directory"
    ]
    assert len(items) == 14
    assert sorted({item.label for item in items if item.label is not None}) == [0, 1, 2, 3]


@pytest.mark.parametrize("evil", ["../escape.png", "/absolute.png", "a/../../escape.png"])
def test_archive_members_that_lead_outside_are_refused(evil: str, tmp_path: Path, pixels: np.ndarray) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("fine.png", png(pixels[0]))
        archive.writestr(evil, png(pixels[1]))
    with pytest.raises(ValueError, match="leads out of the archive"):
        prepare(str(tmp_path / "x.zip"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    dataset = ImageDataset(prepare(str(tmp_path / "x.zip"), tmp_path / "out", skip_bad=True))
    assert len(dataset) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "out", "x.zip"]


@pytest.mark.parametrize("suffix", ["zip", "tar", "tar.gz"])
def test_truncated_archives_are_named(suffix: str, tmp_path: Path, pixels: np.ndarray) -> None:
    path = Path(SOURCES[suffix](tmp_path, pixels))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"x.{suffix}"):
        prepare(str(path), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_to_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("hello")
    zipfile.ZipFile(tmp_path / "x.zip", "w").close()
    for source, words in [
        (tmp_path / "empty", "has no images"),
        (tmp_path / "x.txt", "has an unknown form"),
        (tmp_path / "x.zip", "has no images"),
        (tmp_path / "nowhere", "does not exist"),
        ("stackedmnist:" + str(tmp_path / "nowhere"), "is not a folder; after stackedmnist: name the folder"),
    ]:
        with pytest.raises(ValueError, match=words):
            open_reader(str(source))
    with pytest.raises(ValueError, match="split is 'eval'"):
        open_reader(str(tmp_path), split="eval")


@pytest.mark.parametrize("around", ["", "root\\"])
def test_backslashes_in_a_zip_are_folders(around: str, tmp_path: Path, pixels: np.ndarray) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name, image in zip(names(pixels), pixels, strict=True):
            info = zipfile.ZipInfo("x")
            info.filename = around + name.replace("/", "\\")
            archive.writestr(info, png(image))
    dataset = ImageDataset(prepare(str(tmp_path / "x.zip")))
    np.testing.assert_array_equal(dataset.images, pixels.transpose(0, 3, 1, 2))
    assert (dataset.info["class_names"], dataset.labels.tolist()) == (list(CLASSES), LABELS.tolist())


def test_backslashes_that_lead_outside_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        info = zipfile.ZipInfo("x")
        info.filename = "..\\escape.png"
        archive.writestr(info, png(pixels[0]))
    (item,) = open_reader(str(tmp_path / "x.zip"))
    assert item.problem == "its path leads out of the archive"


def test_what_else_an_archive_has_is_counted(tmp_path: Path, pixels: np.ndarray) -> None:
    source = make_folder(tmp_path / "x", pixels)
    (source / "notes.txt").touch()
    (source / "labels.csv").touch()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in sorted(source.rglob("*")):
            archive.write(file, file.relative_to(source))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(source, "x")
    for form in ("x", "x.zip", "x.tar"):
        dataset = ImageDataset(prepare(str(tmp_path / form)))
        assert dataset.notes == ["ignored 2 files that are not supported images (1 .csv, 1 .txt)"]


def test_images_beside_another_form_are_noted(tmp_path: Path, pixels: np.ndarray) -> None:
    source = Path(parquet(tmp_path, pixels))
    (source / "a.png").write_bytes(png(pixels[0]))
    assert open_reader(str(source)).notes == (
        f"image files in '{source}' that were not read: 1; name their folder",
    )
    both = tmp_path / "both"
    both.mkdir()
    for name in ("train", "t10k"):
        (both / f"{name}-images-idx3-ubyte").write_bytes(idx(pixels[..., 0]))
    (both / "a.png").write_bytes(png(pixels[0]))
    reader = open_reader(str(both), "all")
    assert len(reader) == 24
    assert reader.notes == (f"image files in '{both}' that were not read: 1; name their folder",)


# --- pipes and devices ------------------------------------------------------------------------------

needs_pipes = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@needs_pipes
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_pipe_or_a_device_in_a_folder_is_not_opened(kind: str, tmp_path: Path, pixels: np.ndarray) -> None:
    source = make_folder(tmp_path / "x", pixels)
    if kind == "pipe":
        os.mkfifo(source / "ape" / "odd.png")
    else:
        (source / "ape" / "odd.png").symlink_to("/dev/zero")
    with pytest.raises(ValueError, match=r"odd.png' cannot be used: it is a pipe or a device, not a file"):
        prepare(str(source))
    dataset = ImageDataset(prepare(str(source), skip_bad=True))
    assert (len(dataset), dataset.info["num_skipped"]) == (12, 1)


@needs_pipes
def test_pipes_named_like_other_forms_are_not_opened(tmp_path: Path, pixels: np.ndarray) -> None:
    source = make_folder(tmp_path / "x", pixels)
    for name in ("train-images-idx3-ubyte", "a.parquet", "data_batch_1", "data_batch_1.bin", "x-000.tar"):
        os.mkfifo(source / name)
    for name in ("data.mdb", "state.json", "dataset_info.json", "dataset_dict.json", "images.bin"):
        os.mkfifo(source / name)
    assert len(ImageDataset(prepare(str(source)))) == 12


@needs_pipes
def test_a_pipe_a_device_and_nothing_are_not_sources(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    for source in (str(tmp_path / "x.png"), "/dev/zero"):
        with pytest.raises(ValueError, match="is a pipe or a device, not a file; data may be"):
            open_reader(source)
    for source in ("", "hf:", "stackedmnist:"):
        with pytest.raises(ValueError, match=f"the source of images is '{source}', which names none"):
            open_reader(source)


# --- WebDataset -------------------------------------------------------------------------------------


def shard(path: Path, pixels: np.ndarray, labels: np.ndarray, sidecar: str) -> None:
    """A tar in which the files of a sample follow one another and share their name up to its first dot."""
    with tarfile.open(path, "w") as archive:
        for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
            beside = {
                "cls": {"cls": str(label)},
                "json": {"json": f'{{"label": {label}, "id": 7}}'},
                "words": {"json": f'{{"label": "{CLASSES[label]}"}}'},
                "both": {"cls": str(label), "json": '{"label": 99}'},
            }[sidecar]
            for suffix, data in {"seg.png": png(image), "txt": b"a caption", **beside}.items():
                content = data if isinstance(data, bytes) else data.encode()
                info = tarfile.TarInfo(f"some.folder/{index:06d}.{suffix}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("sidecar", ["cls", "json", "words", "both"])
def test_shards_of_a_webdataset(sidecar: str, tmp_path: Path, pixels: np.ndarray) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    for index, part in enumerate((slice(0, 5), slice(5, 10))):
        shard(folder / f"train-{index:06d}.tar", pixels[part], LABELS[part], sidecar)
    shard(folder / "val-000000.tar", pixels[10:], LABELS[10:], sidecar)
    for split, part in (("", slice(0, 10)), ("validation", slice(10, 12)), ("all", slice(0, 12))):
        dataset = ImageDataset(prepare(str(folder), selection=Selection(split=split)))
        np.testing.assert_array_equal(dataset.images, pixels[part].transpose(0, 3, 1, 2))
        if sidecar == "words":
            assert dataset.info["class_names"] == sorted({CLASSES[label] for label in LABELS[part]})
        else:
            np.testing.assert_array_equal(dataset.labels, LABELS[part])
        assert dataset.notes == [
            f"ignored {len(dataset)} files that are not supported images ({len(dataset)} .txt)"
        ]
    np.testing.assert_array_equal(
        ImageDataset(prepare(str(folder / "train-000000.tar"))).images, pixels[:5].transpose(0, 3, 1, 2)
    )


def test_tars_that_are_classes_are_not_shards(tmp_path: Path, pixels: np.ndarray) -> None:
    (tmp_path / "x").mkdir()
    shard(tmp_path / "x" / "n01440764.tar", pixels, LABELS, "cls")
    with pytest.raises(ValueError, match=r"has no images .*, but 1 .tar"):
        open_reader(str(tmp_path / "x"))


# --- formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".jfif", ".PPM"])
def test_these_suffixes_are_images(suffix: str, tmp_path: Path, pixels: np.ndarray) -> None:
    form = {".gif": "GIF", ".jfif": "JPEG"}.get(suffix, "PPM")
    Image.fromarray(pixels[0]).save(tmp_path / f"x{suffix}", form)
    (item,) = open_reader(str(tmp_path))
    assert item.problem == ""
    assert len(ImageDataset(prepare(str(tmp_path)))) == 1
