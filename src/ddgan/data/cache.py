"""The cache of prepared datasets, keyed by the contents of the source and the options.

The environment variable DDGAN_CACHE sets its folder (default ~/.cache/ddgan, or ddgan below XDG_CACHE_HOME).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddgan.system.files import sha256_of, write_atomically

__all__ = ["cache_folder", "check_cached", "dataset_folder", "fingerprint_of", "only_one"]

VARIABLE = "DDGAN_CACHE"


def cache_folder() -> Path:
    """Return the cache folder; everything in it can be recreated."""
    if given := os.environ.get(VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ddgan"


def dataset_folder(source: str, fingerprint: str, options: dict[str, Any]) -> Path:
    """Return the folder of the dataset made from these contents with these options; it may not exist."""
    key = hashlib.sha256(json.dumps([fingerprint, options], sort_keys=True).encode()).hexdigest()[:20]
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(source).name or source).strip("-")[:40] or "data"
    return cache_folder() / "datasets" / f"{stem}-{key}"


def fingerprint_of(files: list[Path], root: Path, identity: str) -> str:
    """Return a digest of the names and contents of files.

    Reading a large source at each start would take minutes, so the digest is cached, and recomputed when the
    size, the inode or a time of any file has changed.
    """
    stats = [file.stat() for file in files if file.exists()]
    seen = [[os.path.relpath(file, root) for file in files], identity]
    state = [[s.st_size, s.st_ino, s.st_mtime_ns, s.st_ctime_ns] for s in stats]
    memory = cache_folder() / "fingerprints" / f"{_digest([str(root.resolve()), seen, state])}.txt"
    if memory.is_file():
        return memory.read_text(encoding="utf-8")
    check_cached(memory, "a digest of the data")
    digest = hashlib.sha256(json.dumps(seen).encode())
    for file in files:
        digest.update(_file_digest(file))
    write_atomically(memory, digest.hexdigest())
    return digest.hexdigest()


def check_cached(path: Path, what: str) -> None:
    """Check that a file or folder of the cache exists or can be made, before any work for its content.

    Args:
        path: its place in the cache.
        what: its name in an error.

    Raises:
        ValueError: if it does not exist, and its folder cannot be written.
    """
    if path.exists():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"{what} would be kept in '{path.parent}', which cannot be written ({error.strerror}); set "
            f"{VARIABLE} to a folder that can"
        ) from None


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Lock a folder against other processes that would make it; the lock ends with the process."""
    from filelock import FileLock

    lock = cache_folder() / "locks" / f"{_digest(str(path.resolve()))}.lock"
    check_cached(lock, "a lock")
    with FileLock(lock):
        yield


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def _file_digest(path: Path) -> bytes:
    if path.exists() and not path.is_file():  # a pipe or a device can be endless
        return b"not a file"
    try:
        return bytes.fromhex(sha256_of(path))
    except OSError as error:
        return f"unreadable: {error.strerror}".encode()
