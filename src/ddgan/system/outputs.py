"""Outputs: paths are checked before any work, and only what ddgan wrote is ever replaced.

Whatever ddgan writes for a user has a mark: in the file, or in the record X.json beside the file X. A folder
of outputs has its mark in its record. Without a mark, `--overwrite` refuses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ddgan.system.files import nearest_folder, parse_json, write_atomically
from ddgan.system.seal import SEAL, sealed, unsealed

__all__ = ["MARK", "check_output", "is_marked", "read_record", "record_beside", "write_record"]

MARK = "written by ddgan"
"""Text that every output contains, in its first or last bytes."""
SOFTWARE = "software"
"""Entry of a record: the mark."""
IN_WEIGHTS = b'"ddgan":'
"""The mark of a weights file: the entry of its metadata."""
HEAD, TAIL = 1 << 16, 1 << 10
"""Bytes from the start and the end of a file where the mark is looked for."""


def is_marked(path: Path) -> bool:
    """Whether ddgan wrote this file, by its mark or that of the record beside it; False if it is missing."""
    return _holds_mark(path) or _holds_mark(record_beside(path))


def _holds_mark(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        found = file.read(HEAD)
        file.seek(max(0, path.stat().st_size - TAIL))
        found += file.read(TAIL)
    return MARK.encode() in found or (path.suffix == ".safetensors" and IN_WEIGHTS in found)


def record_beside(path: Path) -> Path:
    """Return the path of the record of a file."""
    return path.with_name(path.name + ".json")


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, atomically, with the mark and a checksum."""
    write_atomically(path, json.dumps(sealed({SOFTWARE: MARK, **record}), indent=2) + "\n")


def read_record(path: Path) -> dict[str, Any]:
    """Read a record; also one that another program wrote, without a mark and a checksum.

    Raises:
        ValueError: in one line that names the file, if it is not a JSON object or its checksum is wrong.
    """
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"'{path}' cannot be read as JSON: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f"'{path}' cannot be read: it has no JSON object")
    try:
        if found.get(SOFTWARE) == MARK and SEAL not in found:
            raise ValueError("it has no checksum")
        record = unsealed(found)
    except ValueError as error:
        raise ValueError(f"'{path}' was changed since it was written: {error}") from None
    record.pop(SOFTWARE, None)
    return record


def check_output(path: Path, overwrite: bool, also: Iterable[Path] = ()) -> Path:
    """Check an output path before any work: it must be writable and, unless ddgan may replace it, new.

    Args:
        path: a file, or a folder that is made if it is missing.
        overwrite: allow a file that ddgan wrote. What a folder contains is for the caller to check.
        also: files that are written along with it.

    Raises:
        ValueError: if one of the files exists and may not be replaced, or cannot be written.
    """
    place = nearest_folder(path)
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise ValueError(f"out is '{path}', but '{place}' is not a writable folder")
    if path.is_dir() and path.suffix:
        raise ValueError(f"out is '{path}', which is a folder; choose another name")
    if path.is_dir() and any(path.iterdir()) and not overwrite:
        raise ValueError(f"out is '{path}', which exists; choose another name or pass --overwrite")
    for file in (path, *also):
        if file.is_dir() or not (file.exists() or file.is_symlink()):
            continue
        along = "" if file == path else f", and '{file}' is written along with it"
        if not is_marked(file):
            raise ValueError(
                f"out is '{path}'{along}, which exists and was not written by ddgan; choose another name"
            )
        if not overwrite:
            raise ValueError(f"out is '{path}'{along}, which exists; choose another name or pass --overwrite")
    return path
