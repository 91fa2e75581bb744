"""The ReLU Gram function of NumPy arrays a tile at a time: product, angle and weight are taken while the tile is in cache."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from theory.numeric.pairs import DIRECT, ScaledRows
from theory.threads import workers

# Rows and columns of a tile. Two buffers of it and its rows fit the second-level cache; tuned over 128 … 512, flat above 256.
TILE = 384

# Matrices with fewer numbers than this are done by one thread: starting others would take longer.
_SMALL = 1 << 18

# Numbers of a near-parallel pair's difference that are handled at once, in cache.
_CHUNK = 1 << 16

_buffers = threading.local()


@dataclass(frozen=True, eq=False)
class TileSide:
    """One set of rows as tiles take them: rows at their own scale, with their norms and unit vectors.

    Rescaling by powers of two rounds nothing, so tiles of these give the numbers that the scaled rows give.
    """

    rows: np.ndarray
    norm: np.ndarray
    units: np.ndarray

    @classmethod
    def of(cls, X: ScaledRows) -> TileSide:
        """The side of scaled rows whose scales are within `in_range`."""
        return cls(X.rows * X.scale[:, None], X.norm * X.scale, np.ascontiguousarray(X.units))


def in_range(*sides: ScaledRows) -> bool:
    """Whether no product of two rows comes near either end of the dtype's range, so that scales need no care."""
    room = math.log2(float(np.finfo(sides[0].rows.dtype).max)) / 5
    return all(abs(math.log2(float(bound))) < room for side in sides for bound in (side.scale.min(), side.scale.max()))


def relu_tile(X: TileSide, Z: TileSide, rows: slice, columns: slice, out: np.ndarray | None = None) -> np.ndarray:
    """`x·z (π − θ)/(2π)` for a block of the rows of each side.

    Returns
    -------
    A buffer of this thread's own, which its next tile overwrites, or `out`. The tile of a block with itself is symmetric to the last bit.
    """
    x, z = X.rows[rows], Z.rows[columns]
    # `other` is minus the cosine, then the angle beyond a half turn, then the weight.
    inner, other = _two_buffers((len(x), len(z)), x.dtype)
    np.matmul(x, z.T, out=inner)
    np.multiply(-X.norm[rows, None], Z.norm[columns], out=other)
    np.divide(inner, other, out=other)
    # The fused passes below would be spoilt by a mask that is nearly always empty.
    any_near = max(float(other.max()), -float(other.min())) > DIRECT
    near = np.nonzero(np.abs(other) > DIRECT) if any_near else None
    parallel = None if near is None else other[near] < 0
    np.clip(other, -1.0, 1.0, out=other)
    np.arccos(other, out=other)
    np.multiply(other, 1 / (2 * math.pi), out=other)
    if near is not None and parallel is not None:
        gap = _gaps(X.units[rows], Z.units[columns], near, parallel)
        turn = np.arctan2(np.sqrt(gap), np.sqrt(2 - gap)) / math.pi
        other[near] = np.where(parallel, 0.5 - turn, turn)
    out = inner if out is None else out
    np.multiply(inner, other, out=out)
    if X is Z and rows == columns:
        # BLAS may round the two triangles differently.
        np.add(out, out.T, out=other)
        np.multiply(other, 0.5, out=out)
    return out


def symmetric(X: TileSide) -> np.ndarray:
    """The whole matrix from tiles of its upper triangle, mirrored; (n, n)."""
    n = len(X.rows)
    H = np.empty((n, n), dtype=X.rows.dtype)

    def fill(at: tuple[slice, slice]) -> None:
        rows, columns = at
        H[rows, columns] = tile = relu_tile(X, X, rows, columns)
        if rows != columns:
            H[columns, rows] = tile.T

    blocks = _blocks(n)
    _run(fill, [(a, b) for i, a in enumerate(blocks) for b in blocks[i:]], H.size)
    return H


def rectangular(X: TileSide, Z: TileSide) -> np.ndarray:
    """The whole matrix, tile by tile; (n, n')."""
    H = np.empty((len(X.rows), len(Z.rows)), dtype=X.rows.dtype)
    _run(lambda at: relu_tile(X, Z, at[0], at[1], H[at]), [(a, b) for a in _blocks(H.shape[0]) for b in _blocks(H.shape[1])], H.size)
    return H


def _blocks(n: int) -> list[slice]:
    return [slice(i, min(i + TILE, n)) for i in range(0, n, TILE)]


def _run(function: Callable[[tuple[slice, slice]], Any], jobs: list[tuple[slice, slice]], size: int) -> None:
    if size < _SMALL:
        for job in jobs:
            function(job)
        return
    with workers() as run:
        for _ in run(function, jobs):
            pass


def _two_buffers(shape: tuple[int, int], dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays of `shape` that this thread keeps from tile to tile: fresh memory would cost more than the arithmetic."""
    size = shape[0] * shape[1]
    kept = getattr(_buffers, "kept", None)
    if kept is None or kept.dtype != dtype or kept.shape[1] < size:
        kept = _buffers.kept = np.empty((2, max(size, TILE * TILE)), dtype=dtype)
    return kept[0, :size].reshape(shape), kept[1, :size].reshape(shape)


def _gaps(U: np.ndarray, V: np.ndarray, pairs: tuple[np.ndarray, ...], parallel: np.ndarray) -> np.ndarray:
    """`1 − |cos θ| = ‖u ∓ v‖²/2` of pairs of unit vectors, as `theory.numeric.pairs.near_parallel` has it."""
    i, j = pairs
    gap = np.empty(len(i), dtype=U.dtype)
    step = max(1, _CHUNK // U.shape[1])
    for start in range(0, len(i), step):
        part = slice(start, start + step)
        apart = V[j[part]]
        np.multiply(apart, np.where(parallel[part], 1, -1).astype(U.dtype)[:, None], out=apart)
        np.subtract(U[i[part]], apart, out=apart)
        np.multiply(apart, apart, out=apart)
        gap[part] = apart.sum(axis=1) / 2
    return gap
