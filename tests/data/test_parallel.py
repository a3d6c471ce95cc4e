"""Decoding by several threads: in order, with little read ahead, ended by the first fault of the source."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from data_files import png

from ddgan.data import parallel
from ddgan.data.decode import Picture, Preparation
from ddgan.data.parallel import _chunks, decode_all
from ddgan.data.preparation import Selection, open_selected
from ddgan.data.readers import Item

WORKERS = pytest.mark.parametrize("workers", [1, 2, 5])


def numbered(count: int) -> Iterator[Item]:
    """Grey images of 4 x 4 pixels that are all their number."""
    for index in range(count):
        yield Item(str(index), np.full((4, 4, 1), index, np.uint8), index)


@WORKERS
def test_images_come_in_the_order_of_their_source(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the first of every three takes longest."""
    is_decoded = [threading.Event() for _ in range(30)]

    def decode(content: np.ndarray, stated: None) -> Picture:
        number = int(content[0, 0, 0])
        if workers > 1 and number % 3 == 0 < number:  # another thread decodes those two meanwhile
            assert is_decoded[number + 1].wait(60)
            assert is_decoded[number + 2].wait(60)
        is_decoded[number].set()
        return Picture(content)

    monkeypatch.setattr(parallel, "decode_picture", decode)
    monkeypatch.setattr(parallel, "CHUNK", 1)
    monkeypatch.setattr(parallel, "CHUNK_BYTES", 16)
    decoded = list(decode_all(numbered(30), Preparation(channels=1), workers))
    assert [item.label for item in decoded] == list(range(30))
    assert [int(item.pixels.max()) for item in decoded if item.pixels is not None] == list(range(30))


@WORKERS
def test_no_more_is_read_ahead_than_two_chunks_per_worker(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "CHUNK", 3)
    read = 0

    def counted() -> Iterator[Item]:
        nonlocal read
        for item in numbered(200):
            read += 1
            yield item

    for written, _ in enumerate(decode_all(counted(), Preparation(channels=1), workers), start=1):
        whole_chunks = -(-written // 3)
        assert read <= 3 * (whole_chunks + (0 if workers == 1 else 2 * workers))
    assert (read, written) == (200, 200)


@WORKERS
def test_a_source_that_breaks_off_is_told_and_leaves_no_thread(workers: int) -> None:
    def damaged() -> Iterator[Item]:
        yield from numbered(100)
        raise ValueError("'x.tar' is damaged")

    before = threading.active_count()
    with pytest.raises(ValueError, match=r"^'x.tar' is damaged$"):
        list(decode_all(damaged(), Preparation(), workers))
    assert threading.active_count() == before


@WORKERS
def test_who_stops_early_leaves_no_thread(workers: int) -> None:
    before = threading.active_count()
    decoded = decode_all(numbered(250), Preparation(), workers)
    next(decoded)
    decoded.close()
    assert threading.active_count() == before


@WORKERS
def test_a_bug_in_a_worker_is_not_swallowed(workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(content: np.ndarray, stated: None) -> Picture:
        if content[0, 0, 0] == 90:
            raise RuntimeError("a bug")
        return Picture(content)

    monkeypatch.setattr(parallel, "decode_picture", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        list(decode_all(numbered(100), Preparation(), workers))


@WORKERS
def test_a_bad_image_comes_in_its_place_with_its_problem(workers: int) -> None:
    items = list(numbered(150))
    items[100] = Item("bad", b"text", 7)
    decoded = list(decode_all(items, Preparation(), workers))
    assert (decoded[100].name, decoded[100].pixels, decoded[100].label) == ("bad", None, 7)
    assert decoded[100].problem.startswith("it is not an image")
    assert [item.label for item in decoded if item.pixels is not None] == [i for i in range(150) if i != 100]


@pytest.mark.parametrize("workers", [1, 2])
def test_few_large_images_are_in_memory_at_once(workers: int, tmp_path: Path) -> None:
    """Files that are small, but large images: chunks go by what they become."""
    (tmp_path / "x").mkdir()
    for index in range(5):
        (tmp_path / "x" / f"{index}.png").write_bytes(png(np.full((1500, 1500, 3), index, np.uint8)))
    chunks = list(decode_all(open_selected(str(tmp_path / "x"), Selection()), Preparation(), workers))
    assert [int(item.pixels[0, 0, 0]) for item in chunks if item.pixels is not None] == list(range(5))
    lengths = [len(chunk) for chunk in _chunks(open_selected(str(tmp_path / "x"), Selection()), 1)]
    assert lengths == [1] * 5
