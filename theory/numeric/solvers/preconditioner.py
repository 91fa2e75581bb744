"""A low-rank preconditioner: randomly pivoted Cholesky, from a few columns of the matrix."""

from __future__ import annotations

from dataclasses import dataclass

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, namespace, scalar, to_numpy
from theory.numeric.solvers.operators import Operator, Progress

# Pivots drawn together: one tile product gives their columns.
_BLOCK = 32


@dataclass(frozen=True, eq=False)
class LowRank:
    """`P = U (Λ + μ) Uᵀ + μ (I − U Uᵀ)`, near `H`: `U Λ Uᵀ` has its columns at the pivots, `μ` is the mean eigenvalue of the rest.

    Attributes
    ----------
    vectors : (n, r) array, `U`, orthonormal
    values : (r,) array
        `Λ + μ`, so that no direction is taken for less than those left out.
    shift : float
        `μ`, at least `√eps` of the mean eigenvalue of `H`: less would only enlarge the rounding in `I − U Uᵀ`.
    pivots : tuple of int
    """

    vectors: Array
    values: Array
    shift: float
    pivots: tuple[int, ...]

    @classmethod
    def of(cls, operator: Operator, rank: int, *, seed: int = 0, progress: Progress | None = None) -> LowRank:
        """Randomly pivoted Cholesky of up to `rank` columns, fewer where nothing is left.

        Parameters
        ----------
        operator : Operator
        rank : int ≥ 1
        seed : int
            Of the pivots; the same on every library.

        Source: Chen, Epperly, Tropp, Webber, "Randomly pivoted Cholesky", 2022 (arXiv 2207.06503), in blocks; Frangella, Tropp, Udell,
        "Randomized Nyström preconditioning", 2021 (arXiv 2110.02820), for the form of the preconditioner.
        """
        n = operator.size
        rng = np.random.default_rng(seed)
        diagonal = operator.diagonal()
        xp = namespace(diagonal)
        eps = float(xp.finfo(diagonal.dtype).eps)
        whole = scalar(xp.sum(diagonal))
        factor = xp.zeros((n, min(rank, n)), dtype=diagonal.dtype, device=compat.device(diagonal))
        left, k = diagonal, 0
        pivots: list[int] = []
        while k < factor.shape[1]:
            chance = np.maximum(to_numpy(left).astype(np.float64), 0.0)
            if chance.sum() <= n * eps * whole:
                break
            chance[pivots] = 0.0
            count = min(_BLOCK, factor.shape[1] - k, int(np.count_nonzero(chance)))
            if count == 0:
                break
            drawn = [int(i) for i in rng.choice(n, size=count, replace=False, p=chance / chance.sum())]
            columns = operator.columns(drawn) - factor[:, :k] @ xp.stack([factor[i, :k] for i in drawn]).T
            block = xp.stack([columns[i, :] for i in drawn])
            # Pivots drawn together may be near to dependent: what is within rounding of zero is left out.
            values, vectors = xp.linalg.eigh((block + block.T) / 2)
            kept = [j for j in range(count) if scalar(values[j]) > count * eps * max(scalar(values[-1]), eps * whole)]
            if not kept:
                break
            vectors = xp.stack([vectors[:, j] / values[j] ** 0.5 for j in kept], axis=1)
            new = columns @ vectors
            factor[:, k : k + len(kept)] = new
            k += len(kept)
            pivots += drawn
            left = xp.where(left > 0, left - xp.sum(new * new, axis=1), xp.zeros_like(left))
            if progress is not None:
                progress("preconditioner", k / factor.shape[1])
        left_over = scalar(xp.sum(xp.where(left > 0, left, xp.zeros_like(left)))) / n
        shift = max(left_over, eps**0.5 * whole / n)
        if k == 0:
            return cls(factor[:, :0], diagonal[:0], shift, ())
        # Singular values of the factor, not eigenvalues of its square, whose small ones would be rounding.
        Q, R = xp.linalg.qr(factor[:, :k])
        small, singular, _ = xp.linalg.svd(R, full_matrices=False)
        return cls(Q @ small, singular**2 + shift, shift, tuple(pivots))

    @property
    def rank(self) -> int:
        """`r`."""
        return int(self.vectors.shape[1])

    def solve(self, V: Array) -> Array:
        """`P⁻¹ V`."""
        inside = self.vectors.T @ V
        return self.vectors @ (inside / self.values[:, None]) + (V - self.vectors @ inside) / self.shift
