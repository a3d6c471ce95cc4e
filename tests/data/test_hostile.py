"""Sources that would write elsewhere, read elsewhere, or fill the memory or the disk."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_files import png
from forms import SOURCES, idx

from ddgan.data.preparation import prepare
from ddgan.data.prepared import ImageDataset
from ddgan.data.readers import folders as files
from ddgan.data.readers import open_reader

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
    assert "it is a link, and links in archives are not followed" in items["link.png"].problem
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
        ValueError, match=r"idx3-ubyte.gz' is truncated or damaged: it has more than the 5 rows"
    ):
        list(open_reader(str(path)))
    path.write_bytes(gzip.compress(idx(np.zeros((5, 28, 28), np.uint8))[:-10]))
    with pytest.raises(ValueError, match=r"idx3-ubyte.gz' is truncated or damaged: it ends in row 4 of 5"):
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
    with pytest.raises(ValueError, match=r"has 0.0 GB left, but 1,000 images of 32 x 32 .* need 0.0 GB"):
        prepare(str(tmp_path / "x.npz"), tmp_path / "out", workers=1)
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
