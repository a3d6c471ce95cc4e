"""Outputs: what may be written where, and what may be replaced."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ddgan.system import images
from ddgan.system.outputs import (
    MARK,
    check_output,
    is_marked,
    read_record,
    record_beside,
    write_record,
)


def test_outputs_that_exist_need_overwrite(tmp_path: Path) -> None:
    file, empty, used = tmp_path / "x.png", tmp_path / "empty", tmp_path / "used"
    images.save_png(np.zeros((2, 2, 3), np.uint8), file)
    empty.mkdir()
    (used / "inside").mkdir(parents=True)
    assert check_output(tmp_path / "new.png", overwrite=False) == tmp_path / "new.png"
    assert check_output(empty, overwrite=False) == empty
    for path in (file, used):
        with pytest.raises(ValueError, match=r"exists; choose another name or pass --overwrite"):
            check_output(path, overwrite=False)
        assert check_output(path, overwrite=True) == path
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ValueError, match="which is a folder"):
        check_output(tmp_path / "folder.png", overwrite=True)


def test_what_another_program_wrote_is_never_replaced(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"mine": 1}))
    for overwrite in (False, True):
        with pytest.raises(ValueError, match=r"x.json', which exists and was not written by ddgan"):
            check_output(file, overwrite)
    file.unlink()
    os.symlink(tmp_path / "nowhere", file)
    with pytest.raises(ValueError, match="not written by ddgan"):
        check_output(file, overwrite=True)


def test_files_written_along_are_checked_too(tmp_path: Path) -> None:
    out, beside = tmp_path / "x.html", tmp_path / "x.png"
    beside.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"'.*x.html', and '.*x.png' is written along with it, which exists"):
        check_output(out, overwrite=True, also=[beside])
    images.save_png(np.zeros((2, 2, 3), np.uint8), beside)
    assert check_output(out, overwrite=True, also=[beside]) == out
    with pytest.raises(ValueError, match="pass --overwrite"):
        check_output(out, overwrite=False, also=[beside])


def test_marks_are_found_at_both_ends_and_beside(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    for content, expected in [
        (MARK.encode() + bytes(200_000), True),
        (bytes(200_000) + MARK.encode(), True),
        (bytes(200_000), False),
        (b"", False),
    ]:
        path.write_bytes(content)
        assert is_marked(path) is expected
    write_record(record_beside(path), {"n": 1})
    assert is_marked(path)
    found = json.loads((tmp_path / "x.bin.json").read_text())
    assert found.items() >= {"software": MARK, "n": 1}.items()
    assert read_record(tmp_path / "x.bin.json") == {"n": 1}
    assert not is_marked(tmp_path / "missing")


def test_a_record_that_was_changed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    write_record(file, {"kl": 0.25})
    file.write_text(file.read_text().replace("0.25", "0.05"))
    with pytest.raises(ValueError, match=r"x.json' was changed since it was written: its checksum is wrong"):
        read_record(file)
    for text in ("[1]", "{", "[" * 100_000):
        file.write_text(text)
        with pytest.raises(ValueError, match=r"x.json' cannot be read"):
            read_record(file)
    file.write_text('{"kl": 1}')  # another program's
    assert read_record(file) == {"kl": 1}


def test_a_place_where_nothing_can_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="file' is not a writable folder"):
        check_output(tmp_path / "file" / "new" / "x.png", overwrite=False)
