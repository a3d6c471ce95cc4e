"""The folder of an export: complete or absent, with a record that lists its files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ddgan.system.files import folder_made_atomically
from ddgan.system.outputs import check_output, is_marked, read_record, write_record

__all__ = ["check_export", "export_folder", "write_export_record"]

RECORD_NAME = "export.json"


def check_export(out: Path, overwrite: bool) -> Path:
    """Check before any work that an export can be written to `out`; only an export is replaced, as a whole.

    Raises:
        ValueError: as `check_output`, or if the folder has files that are not an export's.
    """
    if out.is_file() or out.suffix in (".onnx", ".safetensors"):
        raise ValueError(f"out is '{out}'; export writes a folder, name one")
    check_output(out, overwrite)
    found = {str(file.relative_to(out)) for file in out.rglob("*") if not file.is_dir()}
    if found:
        own = set(read_record(out / RECORD_NAME).get("files", ())) if is_marked(out / RECORD_NAME) else set()
        if strange := sorted(found - own - {RECORD_NAME}):
            raise ValueError(
                f"out is '{out}', which has '{strange[0]}', not written by this command; choose another name"
            )
    return out


@contextmanager
def export_folder(out: Path) -> Iterator[Path]:
    """Yield a new folder to fill, which becomes `out`; an export that is there is replaced.

    Raises:
        ValueError: as `check_export`.
    """
    check_export(out, overwrite=True)
    with folder_made_atomically(out) as partial:
        yield partial


def write_export_record(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write the record of an export, with the files that are in its folder; returns it."""
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
    known = {**record, "files": files}
    write_record(folder / RECORD_NAME, known)
    return known
