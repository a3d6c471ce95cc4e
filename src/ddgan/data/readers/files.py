"""Image files in a folder, a zip or a tar."""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ddgan.data.readers.base import Item, Reader, classes_of, is_image_name

DAMAGED = (OSError, EOFError, zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError)
"""What archives that are cut short or changed raise."""
MAX_BYTES = 1 << 30
"""A file in an archive that unpacks to more is no image."""


class FolderReader(Reader):
    """Image files below a folder, sorted by path; sub-folders are classes.

    Links are followed; a link that leads back into its own path is not.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = sorted(_walk(folder, folder, frozenset()))
        self.class_names, self._labels = classes_of(self._names)
        if not self._names:
            raise ValueError(f"'{folder}' holds no images (png, jpeg, webp, bmp, tiff)")

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[Item]:
        for name, label in zip(self._names, self._labels, strict=True):
            path = self._folder / name
            try:
                yield Item(str(path), path.read_bytes(), label)
            except OSError as error:
                yield Item(str(path), b"", label, error.strerror or str(error))

    def files(self) -> list[Path]:
        return [self._folder / name for name in self._names]


def _walk(folder: Path, root: Path, above: frozenset[str]) -> Iterator[str]:
    """Relative paths of the images below `folder`; `above` are the folders that lead to it."""
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise ValueError(f"'{folder}' cannot be read: {error.strerror}") from None
    for entry in entries:
        if not entry.name.startswith("."):
            if _is_folder(entry):
                yield from _walk(Path(entry.path), root, above | {real})
            elif is_image_name(entry.name):
                yield Path(entry.path).relative_to(root).as_posix()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reading it as an image will name the problem
        return False


class ArchiveReader(Reader):
    """Image files in a zip or a tar (compressed or not), read in place: nothing is unpacked to disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._is_zip = zipfile.is_zipfile(path)
        try:
            names = list(self._zip_names() if self._is_zip else self._tar_names())
        except DAMAGED as error:
            raise ValueError(f"'{path}' is no whole zip or tar archive: {error}") from None
        self._names = sorted(names) if self._is_zip else names  # a tar is read from front to back
        safe = sorted(name for name in self._names if not _leads_out(name))
        self.class_names, labels = classes_of(safe)
        self._labels = dict(zip(safe, labels, strict=True))
        if not self._names:
            raise ValueError(f"'{path}' holds no images (png, jpeg, webp, bmp, tiff)")

    def __len__(self) -> int:
        return len(self._names)

    def _zip_names(self) -> Iterator[str]:
        with zipfile.ZipFile(self._path) as archive:
            yield from (info.filename for info in archive.infolist() if _wanted(info.filename, info.is_dir()))

    def _tar_names(self) -> Iterator[str]:
        with tarfile.open(self._path) as archive:
            end = 0
            for member in archive:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                if _wanted(member.name, not member.isfile()):
                    yield member.name
        with self._path.open("rb") as file:  # a tar that is cut short raises nothing by itself
            is_plain = not file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
            file.seek(end)
            if is_plain and file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError("it has no end mark")

    def __iter__(self) -> Iterator[Item]:
        yield from self._zip_items() if self._is_zip else self._tar_items()

    def _zip_items(self) -> Iterator[Item]:
        with zipfile.ZipFile(self._path) as archive:
            for name in self._names:
                content, problem = b"", ""
                try:
                    with archive.open(name) as file:
                        content = file.read(MAX_BYTES + 1)
                except Exception as error:  # a damaged member raises what its compression likes
                    problem = f"it is damaged: {error}"
                yield self._item(name, content, problem)

    def _tar_items(self) -> Iterator[Item]:
        with tarfile.open(self._path) as archive:
            for member in archive:
                if _wanted(member.name, not member.isfile()):
                    file = archive.extractfile(member)
                    yield self._item(member.name, b"" if file is None else file.read(MAX_BYTES + 1))
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all

    def _item(self, name: str, content: bytes, problem: str = "") -> Item:
        if _leads_out(name):
            problem = "its path leads out of the archive"
        elif len(content) > MAX_BYTES:
            problem = f"it has more than {MAX_BYTES:,} bytes"
        return Item(f"{self._path}:{name}", b"" if problem else content, self._labels.get(name), problem)

    def files(self) -> list[Path]:
        return [self._path]


def _leads_out(name: str) -> bool:
    path = PurePosixPath(name)
    return ".." in path.parts or path.is_absolute()


def _wanted(name: str, is_folder: bool) -> bool:
    return not is_folder and is_image_name(name)
