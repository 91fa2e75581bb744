"""How many source points: what each one more explains of the target, on average over teachers, and what its label's noise costs.

With teachers `f, g ~ GP(0, H)` and labels `y_Q = f`, `y_P = cos φ f + sin φ g + σ ξ`, the squared displacement to the end is on average
`n_Q − (2 cos φ − 1) C + σ² V`, and the gradient energy `tr H_Q − (2 cos φ − 1) C + σ² V`, each with its own `C` and `V` below. `C` never
falls when points are added: without noise more source points help on average iff `φ < 60°`, and else never do.
"""

from __future__ import annotations

import array_api_compat as compat

from theory.arrays import Array, as_float, namespace
from theory.errors import InvalidInput
from theory.numeric.spectrum import GramSpectrum


def explained_by_source_points(source: Array, target_source: Array, target: Array | None = None) -> Array:
    """`C_j = tr(M H_QP H_P⁻¹ H_PQ)` of the first `j` source points, `j = 1, …, n_P`; never falling in `j`.

    Parameters
    ----------
    source : (n_P, n_P) array
        `H_P`, regular.
    target_source : (n_Q, n_P) array
        `H_QP`.
    target : (n_Q, n_Q) array, optional
        `H_Q`, regular: `M = H_Q⁻¹`, for the displacement. Without it `M = I`, for the gradient energy.

    Returns
    -------
    (n_P,) array of the same library, dtype and device.

    Raises
    ------
    InvalidInput
        For blocks that do not fit together, or a singular one: points that repeat are to be left out.

    Source: rows of `L⁻¹ H_PQ`, `H_P = L Lᵀ`, are what each point adds to those before it.
    """
    _, rows = _rows(source, target_source, target)
    xp = namespace(rows)
    return xp.cumulative_sum(xp.sum(rows * rows, axis=1))


def noise_by_source_points(source: Array, target_source: Array, target: Array | None = None) -> Array:
    """`V_j = tr(M A Aᵀ)`, `A = H_QP H_P⁻¹`, of the first `j` source points: the share of unit noise on source labels.

    Unlike `C_j` it may fall when a point is added.

    Parameters and errors are those of `explained_by_source_points`.
    """
    L, rows = _rows(source, target_source, target)
    xp, device = namespace(rows), compat.device(rows)
    n = L.shape[0]
    inverse = xp.linalg.solve(L, xp.eye(n, dtype=L.dtype, device=device))
    # A of j points is that of j − 1, and one product of a row of L⁻¹ with one of L⁻¹H_PQ.
    A, shares = xp.zeros_like(rows), []
    for j in range(n):
        A = A + inverse[j, :][:, None] * rows[j, :][None, :]
        shares.append(xp.sum(A * A))
    return xp.stack(shares)


def _rows(source: Array, target_source: Array, target: Array | None) -> tuple[Array, Array]:
    """`L` of `H_P = L Lᵀ`, and `L⁻¹ H_PQ M^{1/2}`."""
    source, target_source = as_float(source, "source"), as_float(target_source, "target_source")
    given = [tuple(source.shape), tuple(target_source.shape)] + ([] if target is None else [tuple(target.shape)])
    n_P, n_Q = given[0][0], given[1][0]
    if given != [(n_P, n_P), (n_Q, n_P), (n_Q, n_Q)][: len(given)]:
        raise InvalidInput(f"the blocks have shapes {', '.join(map(str, given))}; (n_P, n_P), (n_Q, n_P) and (n_Q, n_Q) are allowed")
    xp = namespace(source, target_source)
    _regular(source, "source")
    L = xp.linalg.cholesky(source)
    across = target_source.T
    if target is not None:
        Q = _regular(as_float(target, "target"), "target")
        across = (across @ Q.vectors) / xp.sqrt(Q.values)[None, :]
    return L, xp.linalg.solve(L, across)


def _regular(H: Array, name: str) -> GramSpectrum:
    spectrum = GramSpectrum.of(H)
    if spectrum.rank < spectrum.size:
        raise InvalidInput(f"the {name} Gram matrix has rank {spectrum.rank} of {spectrum.size}; a regular one is allowed here")
    return spectrum
