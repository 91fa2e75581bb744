"""`H⁻¹Y` by Cholesky within the memory of one matrix, with a step of iterative refinement."""

from __future__ import annotations

import math
from dataclasses import dataclass

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.solvers.operators import Progress

# Columns factored, and rows solved, at once.
BLOCK = 512


class SingularGram(InvalidInput):
    """A Gram matrix that no Cholesky solve can be trusted for."""


@dataclass(frozen=True, eq=False)
class CholeskyFactor:
    """`H = L Lᵀ`, and `H` itself to take residuals with.

    A NumPy matrix is overwritten: `L` and its diagonal lie in the lower triangle, and `H` stays in the upper with its diagonal beside it,
    so that both take `n²` numbers. Other libraries keep two matrices.

    Attributes
    ----------
    smallest : float
        Estimate of `λ_min` from above, within a small factor of it.
    cutoff : float
        `n · eps · λ_max`, below which it would count as zero.
    """

    packed: Array
    diagonal: Array
    matrix: Array | None
    smallest: float
    cutoff: float

    @classmethod
    def of(cls, H: Array, largest: float, progress: Progress | None = None) -> CholeskyFactor:
        """Factor a symmetric matrix; `largest` is its `λ_max`. A NumPy matrix is overwritten and must be writeable.

        Raises
        ------
        SingularGram
            If the factorisation breaks down, or `λ_min` is below `n · eps · λ_max`.
        """
        xp = namespace(H)
        n = int(H.shape[0])
        cutoff = n * float(xp.finfo(H.dtype).eps) * largest
        diagonal = xp.asarray(xp.linalg.diagonal(H), copy=True)
        factor: CholeskyFactor | None = None
        if isinstance(H, np.ndarray):
            if _factor_in_place(H, progress):
                factor = cls(H, diagonal, None, 0.0, cutoff)
        else:
            L = _portable_cholesky(H)
            if L is not None:
                factor = cls(L, diagonal, H, 0.0, cutoff)
        smallest = 0.0 if factor is None else factor._smallest()
        if factor is None or smallest <= cutoff:
            how = "its Cholesky factorisation breaks down" if factor is None else f"λ_min is about {smallest:.3g}"
            raise SingularGram(
                f"the Gram matrix of {n} points is numerically singular ({how}; n·eps·λ_max = {cutoff:.3g}): Cholesky cannot train to the "
                "end; solver='eigh', or 'conjugate-gradients' where the labels are in its range, is allowed, or a number of steps"
            )
        return cls(factor.packed, diagonal, factor.matrix, smallest, cutoff)

    @property
    def size(self) -> int:
        """Number of rows."""
        return int(self.packed.shape[0])

    def solve(self, Y: Array) -> tuple[Array, float]:
        """`H⁻¹Y` for `Y` (n, c) after one step of refinement, and the largest relative residual of a column.

        Source: Higham, *Accuracy and Stability of Numerical Algorithms*, §12.1: one step in working precision makes a Cholesky solve
        backward stable row by row.
        """
        xp = namespace(Y)
        x = self._substitute(Y)
        x = x + self._substitute(Y - self.times(x))
        rest, size = ((xp.sum(v * v, axis=0)) ** 0.5 for v in (Y - self.times(x), Y))
        return x, scalar(xp.max(xp.where(size > 0, rest / xp.where(size > 0, size, xp.ones_like(size)), rest)))

    def times(self, V: Array) -> Array:
        """`H V`."""
        if self.matrix is not None:
            return self.matrix @ V
        out = self.diagonal[:, None] * V
        for rows in _blocks(self.size):
            # The part of the block's rows to the right of the diagonal, and its mirror image.
            here, right = np.triu(self.packed[rows, rows], 1), self.packed[rows, rows.stop :]
            out[rows] += here @ V[rows] + here.T @ V[rows] + right @ V[rows.stop :]
            out[rows.stop :] += right.T @ V[rows]
        return out

    def _substitute(self, Y: Array) -> Array:
        """`(L Lᵀ)⁻¹ Y` by blocks, from what every array library has."""
        L = self.packed
        xp = namespace(L)
        x = xp.asarray(Y, copy=True)
        blocks = _blocks(self.size)
        for rows in blocks:
            before = x[rows, :] - L[rows, : rows.start] @ x[: rows.start, :] if rows.start else x[rows, :]
            x[rows, :] = _triangular(L[rows, rows], before)
        for rows in reversed(blocks):
            after = x[rows, :] - L[rows.stop :, rows].T @ x[rows.stop :, :] if rows.stop < self.size else x[rows, :]
            x[rows, :] = _triangular(L[rows, rows], after, mirrored=True)
        return x

    def _smallest(self) -> float:
        """`λ_min` from above, by a few steps of inverse iteration from a fixed random vector."""
        xp = namespace(self.packed)
        start = np.random.default_rng(0).standard_normal((self.size, 1))
        v = xp.asarray(start, dtype=self.packed.dtype, device=compat.device(self.packed))
        value = math.inf
        for _ in range(8):
            w = self._substitute(v / xp.linalg.vector_norm(v))
            length = scalar(xp.linalg.vector_norm(w))
            if not 0 < length < math.inf:
                return 0.0
            value, v = 1 / length, w
        return value


def _blocks(n: int) -> list[slice]:
    return [slice(i, min(i + BLOCK, n)) for i in range(0, n, BLOCK)]


def _triangular(L: Array, B: Array, mirrored: bool = False) -> Array:
    """`L⁻¹ B`, or `L⁻ᵀ B`, for the lower triangle of `L`; what stands above it is not read."""
    if isinstance(L, np.ndarray):
        from scipy.linalg import solve_triangular

        return solve_triangular(L, B, lower=True, trans=1 if mirrored else 0, check_finite=False)
    xp = namespace(L)
    lower = xp.tril(L)
    return xp.linalg.solve(lower.T if mirrored else lower, B)


def _factor_in_place(H: np.ndarray, progress: Progress | None) -> bool:
    """Overwrite the lower triangle by `L`, a block of columns at a time; whether it went through.

    Matrix products do all but a share of `BLOCK/n`; LAPACK's own routine would be one call of minutes that nobody can interrupt, and
    the one that SciPy 1.17 ships (OpenBLAS, AVX-512) was seen to end in a segmentation fault at n = 20,000.
    """
    n = len(H)
    for columns in _blocks(n):
        left = H[columns.start :, : columns.start]
        width = columns.stop - columns.start
        taken = left @ left[:width].T
        corner = H[columns, columns]
        lower = np.tril(corner) - taken[:width]
        try:
            # NumPy reads the lower triangle alone.
            L = np.linalg.cholesky(lower)
        except np.linalg.LinAlgError:
            return False
        np.copyto(corner, L, where=np.tri(width, dtype=bool))
        if columns.stop < n:
            below = H[columns.stop :, columns]
            np.subtract(below, taken[width:], out=below)
            below[:] = _triangular(L, below.T).T
        if progress is not None:
            # The work done grows as the square of the columns, and then some.
            progress(f"Cholesky of {n} points", (columns.stop / n) ** 2)
    return bool(np.all(np.isfinite(np.diagonal(H))))


def _portable_cholesky(H: Array) -> Array | None:
    xp = namespace(H)
    try:
        L = xp.linalg.cholesky(H)
    except Exception as error:  # each library has a type of its own for this, and theory imports none of them
        if "LinAlgError" not in type(error).__name__:
            raise
        return None
    return L if bool(xp.all(xp.isfinite(xp.linalg.diagonal(L)))) else None
