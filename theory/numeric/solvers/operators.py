"""Gram matrices as something that multiplies: one held in memory, or one whose tiles are made anew at every product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, namespace, scalar
from theory.numeric.gram import relu_gram
from theory.numeric.gram_tiles import TILE, TileSide, in_range, relu_tile
from theory.numeric.kernels.closed import LeakyReLU
from theory.numeric.kernels.composed import Kernel
from theory.numeric.pairs import ScaledRows
from theory.threads import workers

Progress = Callable[[str, float], None]
"""Told what is being done and what share of it is; called often, from the thread that called."""

# Rows and columns of a tile of any other kernel or array library: large enough for a GPU, and for a kernel's own overhead.
_WIDE = 2048


class Operator(Protocol):
    """A symmetric positive semi-definite matrix."""

    @property
    def size(self) -> int:
        """Number of rows `n`."""

    @property
    def like(self) -> Array:
        """An array of the library, dtype and device of the matrix."""

    def times(self, V: Array) -> Array:
        """`H V` for `V` (n, c)."""

    def diagonal(self) -> Array:
        """(n,)."""

    def columns(self, indices: Sequence[int]) -> Array:
        """(n, len(indices))."""


@dataclass(frozen=True, eq=False)
class Dense:
    """A matrix in memory; (n, n)."""

    H: Array

    @property
    def size(self) -> int:
        """Number of rows."""
        return int(self.H.shape[0])

    @property
    def like(self) -> Array:
        """The matrix."""
        return self.H

    def times(self, V: Array) -> Array:
        """`H V`."""
        return self.H @ V

    def diagonal(self) -> Array:
        """The diagonal."""
        return namespace(self.H).linalg.diagonal(self.H)

    def columns(self, indices: Sequence[int]) -> Array:
        """Some columns."""
        return namespace(self.H).stack([self.H[:, i] for i in indices], axis=1)


@dataclass(frozen=True, eq=False)
class Tiled:
    """The matrix of a Gram function on the rows of `X`, never held: each product makes every tile of one triangle once.

    Parameters
    ----------
    kernel : callable
        Gram function `(X, Z=None)`.
    X : (n, d) array
        Of any library; NumPy's tiles go to threads, and their sums come in a fixed order, so that their number changes no result.
    """

    kernel: Callable[..., Array]
    X: Array

    @property
    def size(self) -> int:
        """Number of rows."""
        return int(self.X.shape[0])

    @property
    def like(self) -> Array:
        """The rows."""
        return self.X

    def times(self, V: Array) -> Array:
        """`H V`, tile by tile."""
        xp = namespace(self.X)
        tile, width = _tiles(self.kernel, self.X, self.X)
        starts = range(0, self.size, width)
        # In order, so that the number of threads changes no sum.
        total = xp.zeros_like(V)
        with _map_for(self.X) as run:
            for start, part in zip(starts, run(lambda start: self._strip(tile, width, start, V), starts), strict=True):
                total[start:, :] += part
        return total

    def tile_rate(self, V: Array, strips: int = 16) -> float:
        """Entries of `H` a second in a product with `V` (n, c), measured on that many strips of tiles, evenly spread.

        A product takes `n²` over this. Run it alone on the machine: it times what it does.
        """
        tile, width = _tiles(self.kernel, self.X, self.X)
        starts = list(range(0, self.size, width))
        chosen = starts[:: max(1, len(starts) // strips)]
        shares = [(min(width, self.size - start), self.size - start) for start in chosen]
        with _map_for(self.X) as run:
            # Once beforehand: buffers, threads, and on a GPU compiled kernels.
            self._strip(tile, width, chosen[-1], V)
            began = perf_counter()
            for part in run(lambda start: self._strip(tile, width, start, V), chosen):
                # A GPU runs behind: a number is only there when it has been computed.
                scalar(part[0, 0])
            seconds = perf_counter() - began
        return sum(2 * rows * columns - rows * rows for rows, columns in shares) / seconds

    def _strip(self, tile: Callable[[slice, slice], Array], width: int, start: int, V: Array) -> Array:
        """What the tiles from the diagonal on, in one block of rows, add to `H V` from that row on."""
        n = self.size
        rows = slice(start, min(start + width, n))
        out = namespace(V).zeros_like(V[start:, :])
        for other in range(start, n, width):
            columns = slice(other, min(other + width, n))
            block = tile(rows, columns)
            out[: rows.stop - start, :] += block @ V[columns, :]
            if other > start:
                out[other - start : columns.stop - start, :] += block.T @ V[rows, :]
        return out

    def diagonal(self) -> Array:
        """`K(x, x)` of each row, from tiles on the diagonal."""
        xp = namespace(self.X)
        step = 128
        blocks = [self.X[i : min(i + step, self.size), :] for i in range(0, self.size, step)]
        return xp.concat([xp.linalg.diagonal(self.kernel(block)) for block in blocks])

    def columns(self, indices: Sequence[int]) -> Array:
        """Some columns."""
        xp = namespace(self.X)
        return self.kernel(self.X, xp.stack([self.X[i, :] for i in indices]))


def assemble(kernel: Callable[..., Array], X: Array) -> Array:
    """The matrix of a Gram function on the rows of `X`, in memory, with no more beside it than the kernel needs for a tile; (n, n)."""
    if isinstance(X, np.ndarray) and is_relu(kernel):
        return relu_gram(X)
    xp = namespace(X)
    n = int(X.shape[0])
    tile, width = _tiles(kernel, X, X)
    H = xp.zeros((n, n), dtype=X.dtype, device=compat.device(X))
    for start in range(0, n, width):
        rows = slice(start, min(start + width, n))
        for other in range(start, n, width):
            columns = slice(other, min(other + width, n))
            block = tile(rows, columns)
            H[rows, columns] = block
            if other > start:
                H[columns, rows] = block.T
    return H


def cross_times(kernel: Callable[..., Array], X: Array, Z: Array, V: Array) -> Array:
    """`K(X, Z) V` for `V` (n', c), tile by tile; (n, c)."""
    xp = namespace(X, V)
    tile, width = _tiles(kernel, X, Z)
    n, m = int(X.shape[0]), int(Z.shape[0])

    def strip(start: int) -> Array:
        rows = slice(start, min(start + width, n))
        out = xp.zeros((rows.stop - start, V.shape[1]), dtype=V.dtype, device=compat.device(V))
        for other in range(0, m, width):
            columns = slice(other, min(other + width, m))
            out += tile(rows, columns) @ V[columns, :]
        return out

    with _map_for(X) as run:
        return xp.concat(list(run(strip, range(0, n, width))))


def is_relu(kernel: Any) -> bool:
    """Whether a Gram function is that of the two-layer ReLU net whose first layer is trained."""
    owner = getattr(kernel, "__self__", kernel)
    plain = isinstance(owner, Kernel) and owner.depth == 1 and owner.activation == LeakyReLU(0.0) and not owner.trained_readout
    return kernel is relu_gram or plain


def _tiles(kernel: Callable[..., Array], X: Array, Z: Array) -> tuple[Callable[[slice, slice], Array], int]:
    """A function that makes one tile, and how wide tiles should be."""
    if isinstance(X, np.ndarray) and is_relu(kernel):
        scaled = ScaledRows.of(X), ScaledRows.of(Z)
        if in_range(*scaled):
            left = TileSide.of(scaled[0])
            right = left if X is Z else TileSide.of(scaled[1])
            return (lambda rows, columns: relu_tile(left, right, rows, columns)), TILE

    def tile(rows: slice, columns: slice) -> Array:
        # A block with itself is made as such, so that its diagonal is exact.
        return kernel(X[rows, :]) if X is Z and rows == columns else kernel(X[rows, :], Z[columns, :])

    return tile, _WIDE


def _map_for(X: Array) -> Any:
    return workers() if isinstance(X, np.ndarray) else nullcontext(map)
