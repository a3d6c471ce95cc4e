"""Image files in a folder, a zip or a tar."""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

from ddgan.data.readers.columns import LABEL_COLUMNS
from ddgan.data.readers.layout import layout_of
from ddgan.data.readers.metadata import MetadataFile, is_metadata, read_metadata, renumbered, with_metadata
from ddgan.data.readers.reader import (
    MAX_BYTES,
    TOO_LARGE,
    Item,
    JoinedReader,
    Reader,
    Wanted,
    endings_of,
    is_hidden,
    is_image_name,
    reading,
)
from ddgan.data.readers.splits import choose_split, split_in
from ddgan.system.files import parse_json

__all__ = ["NO_ARCHIVE", "ArchiveReader", "FolderReader", "image_files", "read_shards", "shards_in"]

NO_ARCHIVE = "not a valid zip or tar archive"
SPECIAL = "it is a pipe or a device, not a file"
MAX_HEADER = 1 << 20
"""Maximum size of an extended tar header; longer ones could fill the memory."""
MAX_SIDECAR = 1 << 20
"""Maximum size of a file with the label of one image (WebDataset)."""
SHARD = re.compile(r"(^|.*[-_.])[0-9]+\.(tar|tar\.gz|tgz)")


class FolderReader(Reader):
    """Image files below a folder, sorted by path; sub-folders are classes, unless metadata says others.

    Links are followed, except those that lead back into their own path.
    """

    def __init__(self, folder: Path, split: str = "", wanted: Wanted | None = None) -> None:
        self._folder, wanted = folder, wanted or Wanted()
        names, others = list[str](), list[str]()
        for name in sorted(_walk(folder, folder, frozenset())):
            (names if is_image_name(name) else others).append(name)
        if not names:
            raise ValueError(_no_images(folder, others))
        found, metadata = list[MetadataFile](), list[str]()
        for name in filter(is_metadata, others):
            if (folder / name).is_file() and (read := self._metadata(name, wanted)) is not None:
                found.append(read)
                metadata.append(name)
        self._metadata_files = [folder / name for name in metadata]
        self.ignored = endings_of(name for name in others if name not in metadata)
        layout = layout_of(str(folder), names, split)
        layout, self.notes = with_metadata(str(folder), layout, names, found, wanted)
        self._labels, self.class_names, self.split = layout.labels, layout.class_names, layout.split
        if len(names) > len(layout.labels):  # the classes also depend on other splits
            self.identity = f"classes {layout.class_names}"

    def _metadata(self, name: str, wanted: Wanted) -> MetadataFile | None:
        with (self._folder / name).open("rb") as file:
            return read_metadata(str(self._folder), name, file.read(MAX_BYTES + 1), wanted)

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[Item]:
        for name, label in self._labels.items():
            path = self._folder / name
            try:
                if path.exists() and not path.is_file():  # opening a pipe waits for a writer
                    raise OSError(SPECIAL)
                with path.open("rb") as file:
                    content = file.read(MAX_BYTES + 1)
            except OSError as error:
                yield Item(str(path), b"", label, error.strerror or str(error))
            else:
                yield _item(str(path), content, label)

    def files(self) -> list[Path]:
        return [*(self._folder / name for name in self._labels), *self._metadata_files]


def _no_images(path: Path, others: Iterable[str]) -> str:
    """Return the error for a folder or an archive without images, with what else it has."""
    there = ", ".join(f"{count:,} {ending}" for ending, count in sorted(endings_of(others).items()))
    has = f", but {there}" if there else ""
    return f"'{path}' has no images (png, jpeg, webp, bmp, tiff, gif, ppm){has}"


def image_files(folder: Path) -> int:
    """Return the number of image files below a folder."""
    return sum(map(is_image_name, _walk(folder, folder, frozenset())))


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

    Links in an archive are not followed, and members with paths outside it are not read. In a tar, a file
    beside each image with its name may have its label: .cls, or .json with a usual name (WebDataset).
    """

    def __init__(self, path: Path, split: str = "", wanted: Wanted | None = None) -> None:
        self._path, self._wanted = path, wanted or Wanted()
        self._metadata, others = dict[str, bytes](), list[str]()
        self._sidecars = dict[str, tuple[str, Any]]()
        with reading(path, NO_ARCHIVE):
            self._is_zip = zipfile.is_zipfile(path)
            found = dict(self._zip_members(others) if self._is_zip else self._tar_members(others))
        if not found:
            raise ValueError(_no_images(path, others))
        names = sorted(found) if self._is_zip else list(found)  # a tar is read from front to back
        self._problems = {name: found[name] for name in names if found[name]}
        images = [name for name in names if not found[name]]
        layout = layout_of(str(path), images, split)
        read = {
            name: read_metadata(str(path), name, content, self._wanted)
            for name, content in self._metadata.items()
        }
        files = [file for file in read.values() if file is not None]
        layout, self.notes = with_metadata(str(path), layout, images, files, self._wanted)
        stems = {_stem(name) for name in images}
        labels = {name: self._sidecars[_stem(name)][1] for name in images if _stem(name) in self._sidecars}
        if self._wanted.labels and labels:
            layout = renumbered(str(path), layout, labels)
        others += [name for name, file in read.items() if file is None]
        others += [name for stem, (name, _) in self._sidecars.items() if stem not in stems]
        self.ignored = endings_of(others)
        self._labels, self.class_names, self.split = layout.labels, layout.class_names, layout.split
        self._names = [name for name in names if name in self._labels or name in self._problems]

    def __len__(self) -> int:
        return len(self._names)

    def _zip_members(self, others: list[str]) -> Iterator[tuple[str, str]]:
        """Yield the names of the images, each with its problem or an empty string; keep metadata."""
        self._members = dict[str, str]()
        with zipfile.ZipFile(self._path) as archive:
            for info in archive.infolist():
                name = info.filename.replace("\\", "/")  # some programs write backslashes
                is_link = stat.S_ISLNK(info.external_attr >> 16)
                if name.endswith("/"):
                    continue
                if is_image_name(name):
                    self._members[name] = info.filename
                    yield name, _problem_of(name, is_link)
                elif not is_hidden(name):
                    if is_metadata(name) and not is_link:
                        with archive.open(info) as file:
                            self._metadata[name] = file.read(MAX_BYTES + 1)
                    else:
                        others.append(name)

    def _tar_members(self, others: list[str]) -> Iterator[tuple[str, str]]:
        self._versions = Counter[str]()
        with tarfile.open(self._path, tarinfo=_Member) as archive:
            end = 0
            for member in archive:
                end = member.offset_data + -(-member.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
                is_link = member.islnk() or member.issym()
                if is_image_name(member.name) and (member.isfile() or is_link):
                    self._versions[member.name] += 1
                    yield member.name, _problem_of(member.name, is_link)
                elif not (member.isdir() or is_hidden(member.name)):
                    file = archive.extractfile(member) if member.isfile() else None
                    if file is None or not self._keep(member.name, file):
                        others.append(member.name)
                archive.members = []  # type: ignore[attr-defined]  # it would keep them all
            assert archive.fileobj is not None
            while archive.fileobj.read(1 << 20):  # to the end, where compressed files have their checksum
                pass
        with self._path.open("rb") as file:  # tarfile does not detect a truncated tar
            is_plain = not file.read(6).startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd"))
            file.seek(end)
            if is_plain and file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise EOFError("it has no end mark")

    def _keep(self, name: str, file: IO[bytes]) -> bool:
        """Keep what a file in a tar says about labels; return whether it does."""
        if is_metadata(name):
            self._metadata[name] = file.read(MAX_BYTES + 1)
            return True
        suffix = PurePosixPath(name).suffix.lower()
        if suffix not in (".cls", ".json"):
            return False
        label = _sidecar(suffix, file.read(MAX_SIDECAR + 1), self._wanted)
        if label is not None and (suffix == ".cls" or _stem(name) not in self._sidecars):
            self._sidecars[_stem(name)] = name, label
        return label is not None

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
                        with archive.open(self._members[name]) as file:
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


def _stem(name: str) -> str:
    """Return what the files of one sample in a WebDataset share: the path up to the first dot of the name."""
    path = PurePosixPath(name)
    return (path.parent / path.name.partition(".")[0]).as_posix()


def _sidecar(suffix: str, content: bytes, wanted: Wanted) -> Any:
    """Return the label in a file beside an image, or None."""
    if len(content) > MAX_SIDECAR:
        return None
    try:
        text = content.decode("utf-8").strip()
        if suffix == ".cls":
            return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else text or None
        values = parse_json(text)
    except ValueError:
        return None
    names = LABEL_COLUMNS if wanted.label_column is None else (wanted.label_column,)
    return (
        next((values[name] for name in names if name in values), None) if isinstance(values, dict) else None
    )


# --- Shards -----------------------------------------------------------------------------------------


def shards_in(folder: Path) -> list[Path]:
    """Return the numbered tars of a folder (WebDataset), as train-000012.tar."""
    return sorted(file for file in folder.iterdir() if SHARD.fullmatch(file.name) and file.is_file())


def read_shards(folder: Path, shards: list[Path], split: str, wanted: Wanted) -> Reader:
    """Open the tars of a split one after another; the names of the files may have splits."""
    split, chosen = choose_split(str(folder), split, ((split_in(file.name), file) for file in shards))
    whole = JoinedReader([ArchiveReader(file, "", wanted) for file in chosen])
    whole.split = split
    return whole
