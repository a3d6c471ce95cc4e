"""Image files in a folder, a zip or a tar."""

from __future__ import annotations

import os
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ddgan.data.readers.layout import layout_of
from ddgan.data.readers.reader import MAX_BYTES, TOO_LARGE, Item, Reader, is_image_name, reading

__all__ = ["NO_ARCHIVE", "ArchiveReader", "FolderReader"]

NO_ARCHIVE = "not a valid zip or tar archive"
NO_IMAGES = "has no images (png, jpeg, webp, bmp, tiff)"
MAX_HEADER = 1 << 20
"""Maximum size of an extended tar header; longer ones could fill the memory."""


class FolderReader(Reader):
    """Image files below a folder, sorted by path; sub-folders are classes.

    Links are followed, except those that lead back into their own path.
    """

    def __init__(self, folder: Path, split: str = "") -> None:
        self._folder = folder
        names, others = list[str](), list[str]()
        for name in sorted(_walk(folder, folder, frozenset())):
            (names if is_image_name(name) else others).append(name)
        self.ignored = Counter(PurePosixPath(name).suffix.lower() or "no ending" for name in others)
        if not names:
            raise ValueError(f"'{folder}' {NO_IMAGES}")
        layout = layout_of(str(folder), names, split)
        self._labels, self.class_names, self.split = layout.labels, layout.class_names, layout.split
        if len(names) > len(layout.labels):  # the classes also depend on other splits
            self.identity = f"classes {layout.class_names}"

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Item]:
        for name, label in self._labels.items():
            path = self._folder / name
            try:
                with path.open("rb") as file:
                    content = file.read(MAX_BYTES + 1)
            except OSError as error:
                yield Item(str(path), b"", label, error.strerror or str(error))
            else:
                yield _item(str(path), content, label)

    def files(self) -> list[Path]:
        return [self._folder / name for name in self._labels]


def _item(name: str, content: bytes, label: int | None, problem: str = "") -> Item:
    if len(content) > MAX_BYTES:
        problem = TOO_LARGE
    return Item(name, b"" if problem else content, label, problem)


def _walk(folder: Path, root: Path, above: frozenset[str]) -> Iterator[str]:
    """Yield relative paths of files below `folder` that are not hidden; `above` are its parent folders."""
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
            else:
                yield Path(entry.path).relative_to(root).as_posix()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself; reading it as an image reports the problem
        return False


class ArchiveReader(Reader):
    """Image files in a zip or a tar (compressed or not), read in place without unpacking to disk.

    Links in an archive are not followed, and members with paths outside it are not read.
    """

    def __init__(self, path: Path, split: str = "") -> None:
        self._path = path
        with reading(path, NO_ARCHIVE):
            self._is_zip = zipfile.is_zipfile(path)
            found = dict(self._zip_members() if self._is_zip else self._tar_members())
        if not found:
            raise ValueError(f"'{path}' {NO_IMAGES}")
        names = sorted(found) if self._is_zip else list(found)  # a tar is read from front to back
        self._problems = {name: found[name] for name in names if found[name]}
        layout = layout_of(str(path), [name for name in names if not found[name]], split)
        self._labels, self.class_names, self.split = layout.labels, layout.class_names, layout.split
        self._names = [name for name in names if name in self._labels or name in self._problems]

    def __len__(self) -> int:
        return len(self._names)

    def _zip_members(self) -> Iterator[tuple[str, str]]:
        """Yield the names of the images, each with its problem or an empty string."""
        with zipfile.ZipFile(self._path) as archive:
            for info in archive.infolist():
                if is_image_name(info.filename) and not info.is_dir():
                    is_link = stat.S_ISLNK(info.external_attr >> 16)
                    yield info.filename, _problem_of(info.filename, is_link)

    def _tar_members(self) -> Iterator[tuple[str, str]]:
        self._versions = Counter[str]()
        with tarfile.open(self._path, tarinfo=_Member) as archive:
            end = 0
            for member in archive:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                is_link = member.islnk() or member.issym()
                if is_image_name(member.name) and (member.isfile() or is_link):
                    self._versions[member.name] += 1
                    yield member.name, _problem_of(member.name, is_link)
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
            assert archive.fileobj is not None
            while archive.fileobj.read(1 << 20):  # to the end, where compressed files have their checksum
                pass
        with self._path.open("rb") as file:  # tarfile does not detect a truncated tar
            is_plain = not file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
            file.seek(end)
            if is_plain and file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError("it has no end mark")

    def __iter__(self) -> Iterator[Item]:
        with reading(self._path, NO_ARCHIVE):
            for name, content, problem in self._zip_contents() if self._is_zip else self._tar_contents():
                problem = self._problems.get(name, problem)
                yield _item(f"{self._path}:{name}", content, self._labels.get(name), problem)

    def _zip_contents(self) -> Iterator[tuple[str, bytes, str]]:
        with zipfile.ZipFile(self._path) as archive:
            for name in self._names:
                content, problem = b"", ""
                try:
                    if name not in self._problems:
                        with archive.open(name) as file:
                            content = file.read(MAX_BYTES + 1)
                except Exception as error:  # a damaged member can raise any exception
                    problem = f"it is damaged: {error}"
                yield name, content, problem

    def _tar_contents(self) -> Iterator[tuple[str, bytes, str]]:
        """Yield the members; if a name occurs more than once, its last version, as after unpacking."""
        wanted, left = set(self._names), self._versions.copy()
        with tarfile.open(self._path, tarinfo=_Member) as archive:
            for member in archive:
                is_last = False
                if member.name in wanted and not member.isdir():
                    left[member.name] -= 1
                    is_last = left[member.name] == 0
                if is_last and member.name in self._problems:
                    yield member.name, b"", ""
                elif is_last:
                    file = archive.extractfile(member)
                    yield member.name, b"" if file is None else file.read(MAX_BYTES + 1), ""
                archive.members = []  # type: ignore[attr-defined]

    def files(self) -> list[Path]:
        return [self._path]


class _Member(tarfile.TarInfo):
    """A tar member; extended headers, which the library reads into memory, must be short."""

    EXTENDED = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
    LONG_NAMES = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        member = super().frombuf(buf, encoding, errors)
        if member.type in cls.EXTENDED + cls.LONG_NAMES and member.size > MAX_HEADER:
            raise tarfile.ReadError(f"it has a header of {member.size:,} bytes")
        return member


def _problem_of(name: str, is_link: bool) -> str:
    """Return the reason why a member is not read, or an empty string."""
    path = PurePosixPath(name)
    if ".." in path.parts or path.is_absolute():
        return "its path leads out of the archive"
    return "it is a link, and links in archives are not followed; pack the file itself" if is_link else ""
