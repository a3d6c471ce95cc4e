"""Atomic files and folders: complete or absent, even if the machine stops in the middle."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

__all__ = [
    "file_made_atomically",
    "flush",
    "folder_made_atomically",
    "is_partial",
    "nearest_folder",
    "parse_json",
    "read_tensors",
    "remove_partial",
    "save_tensors",
    "sha256_of",
    "write_atomically",
]

BLOCK = 1 << 20
MANY = 64
"""Files from which on everything is flushed at once."""
PARTIAL = ".partial-"
"""Part of the hidden name of a file or folder that is being written."""
ASIDE = ".aside"
"""Suffix of the hidden name of a folder while its replacement is moved into place."""


def nearest_folder(path: Path) -> Path:
    """Return the first folder above a path that exists: where the path would be made."""
    return next(folder for folder in path.absolute().parents if folder.exists())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal.

    Raises:
        OSError: if it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def parse_json(text: str | bytes) -> Any:
    """Parse JSON.

    Raises:
        ValueError: if it is not valid, or nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


@contextmanager
def file_made_atomically(path: Path) -> Iterator[Path]:
    """Yield the path of a new, empty file to write; it becomes `path` when the block ends.

    If the block fails, or the disk is full, it is deleted and an existing `path` is kept. Missing folders
    are made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}{PARTIAL}")
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        flush(partial)
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file; at any moment it holds the whole old content or the whole new one."""
    with file_made_atomically(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a .safetensors file atomically; equal tensors and metadata give equal bytes.

    Raises:
        ValueError: if the metadata have more than one entry, whose order in the file would be random; write
            several values as sorted JSON in one entry.
        OSError: if it cannot be written; an existing file is kept.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if metadata and len(metadata) > 1:
        raise ValueError(f"the metadata have the entries {', '.join(sorted(metadata))}; write one, as JSON")
    with file_made_atomically(path) as partial:
        try:
            save_file(
                {name: tensor.detach().contiguous() for name, tensor in tensors.items()}, partial, metadata
            )
        except SafetensorError as error:
            raise OSError(str(error)) from None


def read_tensors(path: Path, prefix: str = "") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors of a .safetensors file whose names start with `prefix`, and its metadata.

    Raises:
        ValueError: if it is damaged or is not a .safetensors file.
        OSError: if it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 (no mapping)
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(str(error)) from None


@contextmanager
def folder_made_atomically(path: Path) -> Iterator[Path]:
    """Yield a new folder to fill; it becomes `path` when the block ends, and is deleted if the block fails.

    An existing `path` is first moved aside, then removed, or put back if it cannot be replaced. Partial
    folders left by a killed process are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_partial(path.parent, path.name)
    partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}{PARTIAL}"))
    aside = path.with_name(f".{path.name}{ASIDE}")
    try:
        partial.chmod(0o755)
        yield partial
        flush_all(partial)
        if path.exists():
            os.rename(path, aside)
        try:
            os.rename(partial, path)
        except OSError:
            if aside.exists():
                os.rename(aside, path)
            raise
        flush(path.parent)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_partial(name: str) -> bool:
    """Whether this is the name of a partial file or folder; a killed process leaves those."""
    return name.startswith(".") and PARTIAL in name


def remove_partial(folder: Path, name: str = "*") -> None:
    """Remove partial files and folders of this name (default: any) that a killed process left in `folder`.

    A folder that was moved aside but not replaced is put back.
    """
    pattern = name if name == "*" else glob.escape(name)
    for aside in folder.glob(f".{pattern}{ASIDE}"):
        whole = folder / aside.name[1 : -len(ASIDE)]
        if whole.exists():
            shutil.rmtree(aside, ignore_errors=True)
        else:
            os.rename(aside, whole)
    for partial in folder.glob(f".{pattern}{PARTIAL}*"):
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def flush_all(folder: Path) -> None:
    """Flush a folder and everything in it to disk."""
    files = list(folder.rglob("*"))
    if len(files) > MANY and hasattr(os, "sync"):
        os.sync()  # once for all: thousands of small files would take minutes one by one
    else:
        for file in files:
            flush(file)
    flush(folder)


def flush(path: Path) -> None:
    """Flush a file or folder to disk; does nothing for folders on Windows, which does not allow it."""
    if os.name == "nt" and path.is_dir():
        return
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
