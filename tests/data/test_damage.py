"""Sources that turn out to be damaged or hostile while they are read: an error names the file."""

from __future__ import annotations

import gzip
import io
import random
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import LABELS, make_folder, png
from forms import SOURCES, idx, lmdb_of

from ddgan.data.dataset import ImageDataset
from ddgan.data.prepare import prepare
from ddgan.data.readers import files, open_reader, stored


def incompressible(count: int = 40, side: int = 60) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, side, side, 3), dtype=np.uint8)


def large_lmdb(path: Path) -> str:
    images = incompressible()
    return lmdb_of(path / "x.lmdb", {b"%03d" % i: png(image) for i, image in enumerate(images)})


def spoil(path: Path, place: float = 0.5, length: int = 3000) -> None:
    """Overwrite a part of a file."""
    data = bytearray(path.read_bytes())
    start = int(len(data) * place)
    data[start : start + length] = random.Random(0).randbytes(min(length, len(data) - start))
    path.write_bytes(data)


def test_parquet_damaged_in_the_middle_is_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = {"image": [png(image) for image in incompressible()], "label": [0] * 40}
    (tmp_path / "x").mkdir()
    for part in (0, 1):
        pq.write_table(
            pyarrow.table(rows), tmp_path / "x" / f"train-{part}.parquet", row_group_size=10,
            use_dictionary=False, write_page_checksum=False,
        )  # fmt: skip
    damaged = tmp_path / "x" / "train-1.parquet"
    data = bytearray(damaged.read_bytes())
    offset = pq.ParquetFile(damaged).metadata.row_group(2).column(0).data_page_offset
    data[offset : offset + 200] = b"\xff" * 200
    damaged.write_bytes(data)
    reader = open_reader(str(tmp_path / "x"))  # its footer is whole
    with pytest.raises(ValueError, match=r"train-1.parquet' is no whole parquet file: "):
        list(reader)
    with pytest.raises(ValueError, match="train-1"):
        prepare(str(tmp_path / "x"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"picture": [b"x"], "label": [0]}, "x1.parquet' has other columns or classes than '.*x0.parquet'"),
        ({"pixels": [b"x"]}, "x1.parquet' has the columns pixels; name the images"),
        ({"image": [b"x"]}, "x1.parquet' has other columns"),
    ],
    ids=["renamed", "none", "no labels"],
)
def test_columns_of_further_parquet_files_are_checked(
    rows: dict[str, list[object]], words: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pyarrow.table({"image": [png(pixels[0])], "label": [1]}), tmp_path / "x0.parquet")
    pq.write_table(pyarrow.table(rows), tmp_path / "x1.parquet")
    with pytest.raises(ValueError, match=words):
        open_reader(str(tmp_path))


def test_an_lmdb_cut_short_is_named_before_reading_it_can_end_the_process(tmp_path: Path) -> None:
    source = large_lmdb(tmp_path)
    file = Path(source) / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"x.lmdb' is no whole LMDB: it has [\d,]+ of [\d,]+ bytes"):
        open_reader(source)


def test_an_lmdb_that_is_damaged_after_it_was_opened_is_named(tmp_path: Path) -> None:
    source = large_lmdb(tmp_path)
    reader = open_reader(source)
    (Path(source) / "data.mdb").write_bytes(b"x" * 100_000)
    with pytest.raises(ValueError, match=r"x.lmdb' is no whole LMDB: "):
        list(reader)


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_compressed_tars_with_a_changed_byte_are_named(
    suffix: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    path = tmp_path / f"x.tar.{suffix}"
    with tarfile.open(path, f"w:{suffix}") as archive:  # type: ignore[call-overload]
        archive.add(make_folder(tmp_path / "x", pixels), "x")
    whole = path.read_bytes()
    for place in (0.3, 0.6, 0.9):
        data = bytearray(whole)
        data[int(len(data) * place)] ^= 0x55
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"x.tar.{suffix}' is no whole zip or tar archive"):
            list(open_reader(str(path)))


def test_a_checksum_at_the_end_of_a_tar_gz_is_looked_at(tmp_path: Path, pixels: np.ndarray) -> None:
    path = Path(SOURCES["tar.gz"](tmp_path, pixels))
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x.tar.gz' is no whole .*CRC"):
        open_reader(str(path))


def test_a_damaged_member_of_a_zip_is_one_bad_image(tmp_path: Path, pixels: np.ndarray) -> None:
    path = Path(SOURCES["zip"](tmp_path, pixels))
    with zipfile.ZipFile(path) as archive:
        info = archive.infolist()[3]
    data = bytearray(path.read_bytes())
    data[info.header_offset + 80] ^= 0x55
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x.zip:everything/.*png' cannot be used: it is damaged"):
        prepare(str(path), tmp_path / "out")
    dataset = ImageDataset(prepare(str(path), tmp_path / "out", skip_bad=True))
    assert len(dataset) == 11
    assert dataset.info["skipped"][0]["name"].endswith(info.filename)


def test_an_archive_that_changes_while_it_is_read_is_named(tmp_path: Path, pixels: np.ndarray) -> None:
    for form in ("zip", "tar"):
        path = Path(SOURCES[form](tmp_path, pixels))
        reader = open_reader(str(path))
        path.write_bytes(b"something else" * 100)
        with pytest.raises(ValueError, match=rf"x.{form}' is no whole zip or tar archive"):
            list(reader)


# --- members that lead elsewhere --------------------------------------------------------------------


def tar_of(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> str:
    with tarfile.open(path, "w") as archive:
        for member, content in members:
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return str(path)


def linked(kind: bytes, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo("link.png")
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("name", ["../escape.png", "/absolute.png", "a/../../escape.png"])
def test_tar_members_that_lead_outside_are_refused(name: str, tmp_path: Path, pixels: np.ndarray) -> None:
    source = tar_of(
        tmp_path / "x.tar",
        [(tarfile.TarInfo("fine.png"), png(pixels[0])), (tarfile.TarInfo(name), png(pixels[1]))],
    )
    with pytest.raises(ValueError, match="leads out of the archive"):
        prepare(source, tmp_path / "out")
    assert len(ImageDataset(prepare(source, tmp_path / "out", skip_bad=True))) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "out", "x.tar"]


@pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.SYMTYPE], ids=["hard", "symbolic"])
@pytest.mark.parametrize("target", ["fine.png", "/etc/hostname", "../secret.png"])
def test_links_in_a_tar_are_refused_and_never_followed(
    kind: bytes, target: str, tmp_path: Path, pixels: np.ndarray
) -> None:
    (tmp_path / "secret.png").write_bytes(png(pixels[1]))
    (tmp_path / "in").mkdir()
    members = [(tarfile.TarInfo("fine.png"), png(pixels[0])), (linked(kind, target), b"")]
    source = tar_of(tmp_path / "in" / "x.tar", members)
    items = {item.name.rpartition(":")[2]: item for item in open_reader(source)}
    assert items["link.png"].content == b""
    assert "it is a link, which is not followed" in items["link.png"].problem
    assert items["fine.png"].problem == ""


def test_links_in_a_zip_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("fine.png", png(pixels[0]))
        info = zipfile.ZipInfo("link.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/hostname")
    assert [item.problem[:12] for item in open_reader(str(tmp_path / "x.zip"))] == ["", "it is a link"]


# --- bombs ------------------------------------------------------------------------------------------


def test_gzip_bombs_are_refused_by_what_an_idx_header_says(tmp_path: Path) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    with gzip.open(path, "wb") as file:
        file.write(idx(np.zeros((5, 28, 28), np.uint8)))
        for _ in range(50):
            file.write(bytes(1 << 20))
    with pytest.raises(
        ValueError, match=r"idx3-ubyte.gz' is cut short or damaged: it has more than the 5 rows"
    ):
        list(open_reader(str(path)))
    path.write_bytes(gzip.compress(idx(np.zeros((5, 28, 28), np.uint8))[:-10]))
    with pytest.raises(ValueError, match=r"idx3-ubyte.gz' is cut short or damaged: it ends in row 4 of 5"):
        list(open_reader(str(path)))
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (1, 1 << 30, 1 << 30))
    path.write_bytes(gzip.compress(header))
    with pytest.raises(ValueError, match="with 1 to 400,000,000 values per image"):
        open_reader(str(path))


def test_labels_that_are_no_labels_are_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros((5, 28, 28))))
    header = bytes([0, 0, 8, 1]) + (1 << 31).to_bytes(4, "big")
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header))
    with pytest.raises(ValueError, match="there must be 5 integers"):
        open_reader(str(tmp_path))


def test_arrays_larger_than_the_disk_are_refused_at_their_first_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    np.savez_compressed(tmp_path / "x.npz", images=np.zeros((1000, 32, 32), np.uint8))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(ValueError, match=r"has 0.0 GB left, and 1,000 images of 32 x 32 .* take 0.0 GB"):
        prepare(str(tmp_path / "x.npz"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_members_and_files_above_the_limit_are_no_images(
    tmp_path: Path, pixels: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_BYTES", 500)
    for form in ("folder", "zip", "tar.gz"):
        source = Path(SOURCES[form](tmp_path, pixels))
        if form == "folder":
            (source / "ape" / "00.png").write_bytes(bytes(501))
            problems = [item.problem for item in open_reader(str(source))]
            assert problems[0].startswith("it has more than")
            assert not any(problems[1:])
    with zipfile.ZipFile(tmp_path / "y.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(10_000_000))
    (item,) = open_reader(str(tmp_path / "y.zip"))
    assert item.problem.startswith("it has more than")


def test_a_tar_header_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = tarfile.XHDTYPE, files.MAX_HEADER + 1
    (tmp_path / "x.tar").write_bytes(member.tobuf(tarfile.USTAR_FORMAT) + bytes(20_000))
    with pytest.raises(ValueError, match=re.escape("it has a header of 1,048,577 bytes")):
        open_reader(str(tmp_path / "x.tar"))


# --- arrays -----------------------------------------------------------------------------------------


def test_a_npz_whose_values_are_damaged_is_named_on_the_way(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=incompressible(), labels=np.arange(40))
    spoil(tmp_path / "x.npz", 0.4)
    reader = open_reader(str(tmp_path / "x.npz"))
    with pytest.raises(ValueError, match=r"x.npz:images.npy' is cut short or damaged: Bad CRC"):
        list(reader)


def test_a_npy_with_more_than_it_says_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", pixels)
    with (tmp_path / "x.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match=r"x.npy' is no whole .npy: it has 2,920 bytes of values"):
        open_reader(str(tmp_path / "x.npy"))


def test_rows_are_read_as_they_are_asked_for(tmp_path: Path, pixels: np.ndarray) -> None:
    """Not before, and each pass opens the file anew."""
    np.savez_compressed(tmp_path / "x.npz", images=pixels, labels=LABELS)
    array = stored.stored_npz(tmp_path / "x.npz")["images"]
    first, second = iter(array), iter(array)
    np.testing.assert_array_equal(next(first), pixels[0])
    np.testing.assert_array_equal(next(second), pixels[0])
    np.testing.assert_array_equal(next(first), pixels[1])


def test_fortran_order(tmp_path: Path, pixels: np.ndarray) -> None:
    turned = np.asfortranarray(pixels)
    np.save(tmp_path / "x.npy", turned)
    for item, image in zip(open_reader(str(tmp_path / "x.npy")), pixels, strict=True):
        np.testing.assert_array_equal(np.asarray(item.content), image)
    np.savez(tmp_path / "x.npz", images=turned)
    with pytest.raises(ValueError, match=r"is in Fortran order; save it with np.ascontiguousarray"):
        open_reader(str(tmp_path / "x.npz"))
