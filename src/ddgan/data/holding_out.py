"""Holding out images by their contents: images with equal pixels are never on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

__all__ = ["held_out_rows", "image_key", "image_keys"]


def image_key(image: np.ndarray) -> bytes:
    """Return 8 bytes that depend on all values of an image or a point, equal for equal ones."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest()


def image_keys(images: Iterable[np.ndarray]) -> np.ndarray:
    """Return the keys of images as uint64 (N,)."""
    return np.frombuffer(b"".join(map(image_key, images)), np.uint64)


def held_out_rows(keys: np.ndarray, share: float) -> np.ndarray:
    """Choose a share of images by their keys (N,); return their indices, sorted, int64 (M,).

    The choice depends only on the contents of the images, not on their order. M is `share` of N, rounded,
    and less only if more equal images would have to be held out together.

    Raises:
        ValueError: if no image can be held out, or none would be left.
    """
    wanted = round(share * len(keys))
    different, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    chosen, total = np.zeros(len(different), dtype=bool), 0
    for index, count in enumerate(counts.tolist()):  # in the order of the keys, which is random
        if total == wanted:
            break
        if total + count <= wanted:
            chosen[index] = True
            total += count
    rows = np.flatnonzero(chosen[inverse])
    if not 0 < len(rows) < len(keys):
        raise ValueError(
            f"hold_out is {share:g}, which is {len(rows)} of {len(keys)} images ({len(different)} different "
            "ones); hold out another share"
        )
    return rows.astype(np.int64)
