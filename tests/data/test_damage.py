"""Sources that turn out to be damaged while they are read: an error names the file."""

from __future__ import annotations

import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import LABELS, make_folder, png
from forms import SOURCES, lmdb_of

from ddgan.data.preparation import prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import open_reader, stored


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
    with pytest.raises(ValueError, match=r"train-1.parquet' is not a valid parquet file: "):
        list(reader)
    with pytest.raises(ValueError, match="train-1"):
        prepare(str(tmp_path / "x"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (
            {"picture": [b"x"], "label": [0]},
            "x1.parquet' and '.*x0.parquet' have different columns or classes",
        ),
        ({"pixels": [b"x"]}, "x1.parquet' has the columns pixels; name the one with images"),
        ({"image": [b"x"]}, "x1.parquet' and .* have different columns"),
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
    with pytest.raises(ValueError, match=r"x.lmdb' is not a valid LMDB: it has [\d,]+ of [\d,]+ bytes"):
        open_reader(source)


def test_an_lmdb_that_is_damaged_after_it_was_opened_is_named(tmp_path: Path) -> None:
    source = large_lmdb(tmp_path)
    reader = open_reader(source)
    (Path(source) / "data.mdb").write_bytes(b"x" * 100_000)
    with pytest.raises(ValueError, match=r"x.lmdb' is not a valid LMDB: "):
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
        with pytest.raises(ValueError, match=rf"x.tar.{suffix}' is not a valid zip or tar archive"):
            list(open_reader(str(path)))


def test_a_checksum_at_the_end_of_a_tar_gz_is_looked_at(tmp_path: Path, pixels: np.ndarray) -> None:
    path = Path(SOURCES["tar.gz"](tmp_path, pixels))
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x.tar.gz' is not a valid .*CRC"):
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
        with pytest.raises(ValueError, match=rf"x.{form}' is not a valid zip or tar archive"):
            list(reader)


# --- arrays -----------------------------------------------------------------------------------------


def test_a_npz_whose_values_are_damaged_is_named_on_the_way(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", images=incompressible(), labels=np.arange(40))
    spoil(tmp_path / "x.npz", 0.4)
    reader = open_reader(str(tmp_path / "x.npz"))
    with pytest.raises(ValueError, match=r"x.npz:images.npy' is truncated or damaged: Bad CRC"):
        list(reader)


def test_a_npy_with_more_than_it_says_is_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    np.save(tmp_path / "x.npy", pixels)
    with (tmp_path / "x.npy").open("ab") as file:
        file.write(b"more")
    with pytest.raises(ValueError, match=r"x.npy' is not a valid .npy: it has 2,920 bytes of values"):
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
