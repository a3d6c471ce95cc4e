"""Distances between two sets of features, tile by tile, so that 50,000 x 50,000 never fill the memory.

    |a - b|^2 = |a|^2 + |b|^2 - 2 a.b

Both sets are centred first, so the subtraction loses little precision. Distances below the rounding error are
set to 0, so equal images have distance 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["centre_of", "centred", "nearest", "own_distances", "squared_distances"]

TILE = 4096
"""Rows and columns of a tile: 64 MiB of float32."""
WIDE = 256
"""Up to this many dimensions distances are float64: it costs little there, and neighbours are close."""
ROUNDING = 32
"""Distances up to this many units in the last place of |a|^2 + |b|^2 count as 0."""


class Points(NamedTuple):
    """Features (N, D) relative to a centre, and their squared norms (N,)."""

    rows: Tensor
    norms: Tensor

    def __len__(self) -> int:
        return len(self.rows)


class Tile(NamedTuple):
    """Squared distances between the first set's `rows` and the second's `columns`."""

    rows: slice
    columns: slice
    distances: Tensor


def centred(features: Tensor, centre: Tensor) -> Points:
    """Return features (N, D) relative to a centre (D,)."""
    dtype = torch.float64 if features.shape[1] <= WIDE else torch.float32
    rows = torch.empty(features.shape, dtype=dtype, device=features.device)
    for part, given in zip(rows.split(TILE), features.split(TILE), strict=True):
        part.copy_(given.double() - centre)
    return Points(rows, rows.square().sum(dim=1))


def centre_of(features: Tensor) -> Tensor:
    """Return the mean of features (N, D), float64."""
    return features.sum(dim=0, dtype=torch.float64) / len(features)


def squared_distances(a: Points, b: Points) -> Iterator[Tile]:
    """Yield all tiles of distances between two sets with the same centre."""
    for i in _spans(len(a)):
        for j in _spans(len(b)):
            yield Tile(i, j, _distances(a, b, i, j))


def _spans(count: int) -> list[slice]:
    return [slice(first, min(first + TILE, count)) for first in range(0, count, TILE)]


def _distances(a: Points, b: Points, i: slice, j: slice) -> Tensor:
    norms = a.norms[i, None] + b.norms[None, j]
    distances = torch.addmm(norms, a.rows[i], b.rows[j].T, alpha=-2)
    return distances.masked_fill_(distances <= norms.mul_(ROUNDING * torch.finfo(norms.dtype).eps), 0)


def own_distances(points: Points, k: int) -> Tensor:
    """Return squared distances of each point to its k nearest others, ascending, (N, k).

    Raises:
        ValueError: if there are fewer than k others.
    """
    if len(points) <= k:
        raise ValueError(f"{len(points)} samples have no {k} neighbours each; use at least {k + 1}")
    best = points.norms.new_full((len(points), k), torch.inf)
    spans = _spans(len(points))
    for place, i in enumerate(spans):
        for j in spans[place:]:
            distances = _distances(points, points, i, j)
            if i == j:
                distances.fill_diagonal_(torch.inf)
            else:  # the tile below the diagonal is the transpose
                _take(best[j], distances.T.contiguous())
            _take(best[i], distances)
    return best


def _take(best: Tensor, distances: Tensor) -> None:
    """Update the k smallest distances of each row with those of a tile."""
    improved = (distances.amin(dim=1) < best[:, -1]).nonzero().squeeze(1)
    nearest = distances[improved].topk(min(best.shape[1], distances.shape[1]), largest=False).values
    merged = torch.cat([best[improved], nearest], dim=1)
    best[improved] = merged.topk(best.shape[1], largest=False).values.sort(dim=1).values


def nearest(a: Points, b: Points, k: int) -> tuple[Tensor, Tensor]:
    """Return squared distances (N, k) of each of `a` to its k nearest of `b`, ascending, and indices."""
    if len(b) < k:
        raise ValueError(f"there are only {len(b)} images; {k} neighbours need at least {k}")
    best = a.norms.new_full((len(a), k), torch.inf)
    which = torch.zeros(len(a), k, dtype=torch.int64, device=best.device)
    for tile in squared_distances(a, b):
        found = tile.distances.topk(min(k, tile.distances.shape[1]), largest=False)
        values = torch.cat([best[tile.rows], found.values], dim=1)
        indices = torch.cat([which[tile.rows], found.indices + tile.columns.start], dim=1)
        order = values.sort(dim=1, stable=True).indices[:, :k]
        best[tile.rows], which[tile.rows] = values.gather(1, order), indices.gather(1, order)
    return best, which
