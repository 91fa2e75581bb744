"""The ReLU Gram matrix, by a raw kernel for CuPy arrays."""

from __future__ import annotations

import array_api_compat as compat

from theory.arrays import Array, namespace
from theory.numeric import gram
from theory.numeric.pairs import check_underflow, scaled_pair, times_scales


def relu_gram(X: Array, Z: Array | None = None) -> Array:
    """Gram matrix of the first-layer tangent kernel of a two-layer ReLU net at infinite width: `x·z (π − θ) / (2π)`.

    Values, arguments and errors are those of `theory.numeric.gram.relu_gram`; for CuPy arrays a kernel computes angle, weight and
    scales in one pass, and one triangle where the result is symmetric.

    Parameters
    ----------
    X : (n, d) array
        Rows of any norm; an all-zero row gives zeros.
    Z : (n', d) array, optional
        Taken as `X` when absent; the result is then exactly symmetric, with `‖x‖²/2` on the diagonal.

    Returns
    -------
    (n, n') array of the same library, dtype and device.

    Raises
    ------
    InvalidInput
        For input that is not two-dimensional, finite and of matching width, or whose products overflow or underflow.
    """
    if not compat.is_cupy_array(X):
        return gram.relu_gram(X, Z)
    from sim.cuda import launch

    rows, others = scaled_pair(X, Z)
    inner, xp = rows.rows @ others.rows.T, namespace(rows.rows)
    H = launch.relu_gram(inner, rows.units, others.units, (rows.norm, others.norm), (rows.scale, others.scale), rows is others)
    if not bool(xp.all(xp.isfinite(H))):
        # The inner products are no smaller than their values: this raises, and says how large the rows are.
        times_scales(inner, rows, others, 1)
    if rows is others:
        check_underflow(H, rows)
    return H
