"""The infinite-width Gram function of a two-layer ReLU net whose first layer is trained."""

from __future__ import annotations

import math

import numpy as np

from theory.arrays import Array, namespace
from theory.numeric import gram_tiles
from theory.numeric.pairs import check_underflow, inner_and_cosine, near_parallel, scaled_pair, times_scales


def relu_gram(X: Array, Z: Array | None = None) -> Array:
    """Gram matrix of the first-layer tangent kernel of a two-layer ReLU net at infinite width.

    `H(x, z) = E[x·z 1{w·x ≥ 0} 1{w·z ≥ 0}] = x·z (π − θ) / (2π)` for `w ~ N(0, κ²I)` and `θ` the angle
    between `x` and `z`; the value does not depend on `κ`.

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

    Notes
    -----
    Accurate to 4 ulp of `‖x‖‖z‖/2`, beside the inner product's own rounding, at every angle. For nearly
    parallel or opposite rows `arccos` of the cosine would lose half the digits; there the angle comes from
    the difference of the unit vectors (`theory.numeric.pairs`). NumPy arrays go through cache-sized tiles, on threads, of one triangle
    where the result is symmetric (`theory.numeric.gram_tiles`).

    Source: Cho and Saul 2009, arc-cosine kernel of degree 0; Du et al. 2018 (arXiv 1810.02054), eq. (3).
    """
    rows, others = scaled_pair(X, Z)
    if isinstance(rows.rows, np.ndarray) and gram_tiles.in_range(rows, others):
        side = gram_tiles.TileSide.of(rows)
        if rows is not others:
            return gram_tiles.rectangular(side, gram_tiles.TileSide.of(others))
        H = gram_tiles.symmetric(side)
        check_underflow(H, rows)
        return H
    inner, cosine = inner_and_cosine(rows, others)
    xp = namespace(inner)
    weight = xp.acos(-cosine) * (1 / (2 * math.pi))
    for block, near, gap in near_parallel(rows, others, cosine):
        # The angle to the nearer of the other row and its opposite, over 2π.
        turn = xp.atan2(xp.sqrt(gap), xp.sqrt(2 - gap)) / math.pi
        part = weight[block, :]
        part[near] = xp.where(cosine[block, :][near] > 0, 0.5 - turn, turn)
        weight[block, :] = part
    H = times_scales(inner * weight, rows, others, 1)
    if rows is others:
        check_underflow(H, rows)
    return H
