"""Proven enclosure of the largest eigenvalue of a symmetric matrix of balls.

Float64 eigenvectors serve as a guess `V`, and float64 finds `t`; nothing is assumed of either. Below, every Rayleigh quotient is at
most `λ_max`. Above, `s > λ_max` follows once `Vᵀ(sI − M)V` is shown to be positive definite, which is done by scaling its diagonal to 1
and bounding the spectral radius of what stands beside it (Collatz and Wielandt: `ρ(F) ≤ max_i (Ft)_i/t_i` for `F ≥ 0` and any `t > 0`).
As what stands beside it is of the size of the residuals and enters squared, the enclosure is about as narrow as the square of float64's
precision. The leading vector is refined besides; where others share its eigenvalue to many digits, they are resolved among themselves
instead, so that clusters of any width are enclosed about as narrowly.

Source: Ostrowski's inertia argument with the H-matrix criterion; compare Kato's and Temple's bounds, which it contains.
"""

from __future__ import annotations

import numpy as np
from flint import arb, arb_mat, ctx

from theory.certified.balls import column_matrix, exponent, identity, inner, to_floats

_WIDER = 16
"""Bits by which a bound that could not be shown is loosened before the next try."""

_CLOSE = 2.0**-20
"""Eigenvalues closer than this, as a share of the range looked at, are a cluster; others are apart enough for second order to tell."""

_LEVELS = 4
"""Clusters within clusters that are resolved."""

_POWER_STEPS = 30
"""Steps of the power iteration that looks for `t`: any `t > 0` is admissible, a good one proves more."""


def largest_eigenvalue(M: arb_mat) -> arb | None:
    """Ball that holds the largest eigenvalue of every symmetric matrix in `M`; `None` if the working precision proves none.

    Only for matrices whose largest eigenvalue is positive.
    """
    shift = arb(2) ** -exponent(M)
    M = M * shift
    product, gram = _nearly_diagonal(M)
    below = max(_rayleigh(product, gram))
    if not below > 0:
        return None
    bits = ctx.prec - M.nrows().bit_length() - 8
    while bits > 0:
        above = (below * (1 + arb(2) ** -bits)).upper()
        if _positive_definite(gram * above - product):
            return below.union(above) / shift
        bits -= _WIDER
    return None


def _nearly_diagonal(M: arb_mat) -> tuple[arb_mat, arb_mat]:
    """`VᵀMV` and `VᵀV` for approximate eigenvectors `V`, the leading ones better than float64's."""
    S = to_floats(M)
    V = arb_mat(np.linalg.eigh((S + S.T) / 2)[1].tolist())
    product, gram = V.transpose() * (M * V), V.transpose() * V
    width = arb(1)
    for _ in range(_LEVELS):
        quotients = _rayleigh(product, gram)
        top = max(quotients)
        cluster = [j for j, quotient in enumerate(quotients) if top - quotient < _CLOSE * width]
        columns = _columns(V, cluster)
        if len(cluster) == 1:
            if width < 1:  # resolved from its cluster: another step might lead to a neighbour
                break
            better = _refined(M.mid(), columns)
        else:
            better = columns * _resolved(product, gram, cluster, top)
        V = _replaced(V, cluster, better.mid())
        product, gram = V.transpose() * (M * V), V.transpose() * V
        if len(cluster) == 1:
            break
        width = max(top - quotients[j] for j in cluster)
        if width == 0:  # one value, exactly
            break
    return product, gram


def _rayleigh(product: arb_mat, gram: arb_mat) -> list[arb]:
    """Lower ends of the Rayleigh quotients of the columns."""
    return [(product[j, j] / gram[j, j]).lower() for j in range(gram.nrows())]


def _resolved(product: arb_mat, gram: arb_mat, cluster: list[int], top: arb) -> arb_mat:
    """The rotation of a cluster's vectors that float64 finds once the value they share is subtracted, and the rest scaled up."""
    rest = arb_mat([[product[i, j] - top * gram[i, j] for j in cluster] for i in cluster]).mid()
    S = to_floats(rest * arb(2) ** -exponent(rest))
    return arb_mat(np.linalg.eigh((S + S.T) / 2)[1].tolist())


def _columns(V: arb_mat, chosen: list[int]) -> arb_mat:
    return arb_mat([[row[j] for j in chosen] for row in V.tolist()])


def _replaced(V: arb_mat, chosen: list[int], columns: arb_mat) -> arb_mat:
    table = V.tolist()
    for row, values in zip(table, columns.tolist(), strict=True):
        for j, value in zip(chosen, values, strict=True):
            row[j] = value
    return arb_mat(table)


def _refined(M: arb_mat, v: arb_mat) -> arb_mat:
    """Rayleigh quotient iteration from a float64 eigenvector; each step triples the digits."""
    bits = 50
    while bits < ctx.prec:
        bits *= 3
        quotient = (inner(v, M * v) / inner(v, v)).mid()
        try:
            w = (M - identity(M.nrows()) * quotient).mid().solve(v, algorithm="approx").mid()
        except ZeroDivisionError:  # the quotient is an eigenvalue to the last bit: nothing to refine
            return v
        size = max(e.abs_upper() for e in w.entries())
        if not (size.is_finite() and size > 0):
            return v
        v = (w / size).mid()
    return v


def _positive_definite(M: arb_mat) -> bool:
    """Whether every symmetric matrix in `M` is proven to be positive definite."""
    diagonal = [M[i, i] for i in range(M.nrows())]
    if not all(d > 0 for d in diagonal):
        return False
    roots = [d.sqrt() for d in diagonal]
    F = arb_mat(
        [[arb(0) if i == j else (e / (roots[i] * roots[j])).abs_upper() for j, e in enumerate(row)] for i, row in enumerate(M.tolist())]
    )
    guess, t = to_floats(F), np.ones(M.nrows())
    for _ in range(_POWER_STEPS):
        t = t + guess @ t
        t /= t.max()
    T = column_matrix(t)
    return all(moved < entry for moved, entry in zip((F * T).entries(), T.entries(), strict=True))
