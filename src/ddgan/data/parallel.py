"""Decoding: several threads convert the items of a reader to images of one size, in order.

Pillow releases the GIL while it decodes and resizes, so threads run in parallel.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from ddgan.data.decode import Preparation, decode_picture, prepare_image
from ddgan.data.readers import Item

__all__ = ["Decoded", "advancing", "decode_all"]

CHUNK = 64
"""Maximum number of images per task of a worker."""
CHUNK_BYTES = 8 << 20
"""Approximate maximum size of a chunk, as files or as decoded images."""


@dataclass(frozen=True)
class Decoded:
    """A decoded image, uint8 (C, H, W), or the problem that prevents it.

    Attributes:
        name: name of the item.
        pixels: the prepared image, or None.
        label: label of the item.
        problem: the reason why it cannot be used.
        has_color: whether the original had colour.
        size: height and width of the original.
        depth: bits per value of the original, see `Picture`.
        has_frames: whether the original has further frames.
    """

    name: str
    pixels: np.ndarray | None
    label: int | None
    problem: str = ""
    has_color: bool = False
    size: tuple[int, int] = (0, 0)
    depth: int = 0
    has_frames: bool = False


def decode_item(item: Item, options: Preparation) -> Decoded:
    """Decode, resize and convert one item; errors are returned as its problem."""
    if item.problem:
        return Decoded(item.name, None, item.label, item.problem)
    try:
        picture = decode_picture(item.content, options.stated)
        image = picture.pixels
        pixels = prepare_image(image, options)
    except ValueError as error:
        return Decoded(item.name, None, item.label, str(error))
    return Decoded(
        item.name,
        pixels,
        item.label,
        has_color=image.shape[2] >= 3,
        size=image.shape[:2],
        depth=picture.depth,
        has_frames=picture.has_frames,
    )


def decode_all(reader: Iterable[Item], options: Preparation, workers: int) -> Iterator[Decoded]:
    """Yield every item of a reader, decoded by `workers` threads, in order.

    With channels = 0 the first usable image determines the channels; unusable items before it are yielded
    directly.
    """
    items, first = iter(reader), list[Item]()
    is_open, length = options.channels == 0, CHUNK
    for item in items:
        decoded = decode_item(item, options)
        if decoded.pixels is None and is_open:
            yield decoded
            continue
        first.append(item)
        if decoded.pixels is not None:
            given = len(decoded.pixels)
            options = dataclasses.replace(options, channels=3 if is_open and given == 4 else given)
            length = min(max(CHUNK_BYTES // decoded.pixels.nbytes, 1), CHUNK)
        break
    for chunk in _map_chunks(_chunks(chain(first, items), length), options, workers):
        for decoded in chunk:
            if is_open and options.channels == 1 and decoded.has_color:
                problem = "it has colour, but the first image is grey; choose --channels 3 or --channels 1"
                yield dataclasses.replace(decoded, pixels=None, problem=problem)
            else:
                yield decoded


def _map_chunks(chunks: Iterator[list[Item]], options: Preparation, workers: int) -> Iterator[list[Decoded]]:
    """Decode chunks in order; at most two per worker are read ahead."""
    if workers == 1:
        yield from (_decode_chunk(chunk, options) for chunk in chunks)
        return
    pool, waiting = ThreadPoolExecutor(workers, "decoding"), deque[Future[list[Decoded]]]()
    try:
        for chunk in chunks:
            waiting.append(pool.submit(_decode_chunk, chunk, options))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(items: Iterable[Item], length: int) -> Iterator[list[Item]]:
    """Group items into lists of at most `length` items and about CHUNK_BYTES."""
    chunk: list[Item] = []
    size = 0
    for item in items:
        chunk.append(item)
        size += item.content.nbytes if isinstance(item.content, np.ndarray) else len(item.content)
        if len(chunk) == length or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _decode_chunk(items: list[Item], options: Preparation) -> list[Decoded]:
    return [decode_item(item, options) for item in items]


def advancing(items: Iterable[Decoded], advance: Any) -> Iterator[Decoded]:
    """Yield the same items and advance the progress bar."""
    for item in items:
        yield item
        advance(1)
