"""The infinite-width Gram function of a two-layer ReLU net whose first layer is trained."""

from __future__ import annotations

import math

import array_api_compat as compat

from theory.arrays import Array, as_float, namespace
from theory.errors import InvalidInput

# Above this |cosine| the angle comes from the difference of the unit vectors, below it from the inner product.
# An error d in the cosine moves the kernel by (1/2 + |cos|/(2 pi sin)) d, which stays below d only for
# sin > 1/pi, that is |cos| < 0.948: up to there the inner product's own rounding is all there is to lose.
_DIRECT = 0.8

# Pairs handled at once by the difference path: bounds its working memory to a few times this many numbers.
_CHUNK = 1 << 22


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
        For input that is not two-dimensional, finite and of matching width, or whose products overflow.

    Notes
    -----
    Accurate to 4 ulp of `‖x‖‖z‖/2`, beside the inner product's own rounding, at every angle. For nearly
    parallel or opposite rows `arccos` of the cosine would lose half the digits; there the angle is
    `2 atan2(‖u − v‖, ‖u + v‖)` of the unit vectors (Kahan, "How futile are mindless assessments of
    roundoff", 2006, §12).

    Source: Cho and Saul 2009, arc-cosine kernel of degree 0; Du et al. 2018 (arXiv 1810.02054), eq. (3).
    """
    X = _rows(X, "X")
    symmetric = Z is None or Z is X
    Z = X if symmetric else _rows(Z, "Z")
    xp = namespace(X, Z)
    if X.shape[1] != Z.shape[1]:
        raise InvalidInput(f"X has {X.shape[1]} columns and Z has {Z.shape[1]}; they must be equal")
    if X.dtype != Z.dtype:
        raise InvalidInput(f"X is {X.dtype} and Z is {Z.dtype}; one dtype is allowed")
    Xs, x_scale, x_norm = _scaled(X)
    Zs, z_scale, z_norm = (Xs, x_scale, x_norm) if symmetric else _scaled(Z)
    inner = Xs @ Zs.T
    cosine = xp.clip(inner / (x_norm[:, None] * z_norm[None, :]), -1.0, 1.0)
    weight = xp.acos(-cosine) / (2 * math.pi)
    _replace_near_parallel(weight, cosine, Xs / x_norm[:, None], Zs / z_norm[:, None])
    H = inner * weight
    if _overflows(H, x_scale, z_scale):
        largest = float(xp.max(xp.abs(X))), float(xp.max(xp.abs(Z)))
        raise InvalidInput(f"inner products overflow {X.dtype}: the largest entries are {largest[0]:.3g} and {largest[1]:.3g}")
    H = H * (x_scale[:, None] * z_scale[None, :])
    # BLAS may round the two triangles differently.
    return (H + H.T) / 2 if symmetric else H


def _rows(X: Array, name: str) -> Array:
    X = as_float(X, name)
    if X.ndim != 2 or 0 in X.shape:
        raise InvalidInput(f"{name} has shape {tuple(X.shape)}; (n, d) with n, d ≥ 1 is allowed")
    return X


def _scaled(X: Array) -> tuple[Array, Array, Array]:
    """Rows times a power of two (so nothing rounds) that brings them near 1, that power, and the scaled norms."""
    xp = namespace(X)
    largest = xp.max(xp.abs(X), axis=1)
    largest = xp.where(largest > 0, largest, xp.ones_like(largest))
    two = xp.asarray(2.0, dtype=X.dtype, device=compat.device(X))
    scale = xp.pow(two, xp.floor(xp.log2(largest)))
    scaled = X / scale[:, None]
    norm = xp.sqrt(_sum_of_squares(scaled))
    return scaled, scale, xp.where(norm > 0, norm, xp.ones_like(norm))


def _sum_of_squares(X: Array) -> Array:
    """Row sums of squares by halving: an error of log2(d)/2 ulp in any memory order, where a running sum costs d/2."""
    xp = namespace(X)
    terms = X * X
    while terms.shape[1] > 1:
        half = terms.shape[1] // 2
        folded = terms[:, :half] + terms[:, half : 2 * half]
        terms = xp.concat([folded, terms[:, 2 * half :]], axis=1) if terms.shape[1] % 2 else folded
    return terms[:, 0]


def _overflows(H: Array, x_scale: Array, z_scale: Array) -> bool:
    """Whether `H` times the outer product of two rows of powers of two leaves the range, told without leaving it."""
    xp = namespace(H)
    top = float(xp.finfo(H.dtype).max)
    if float(xp.max(xp.abs(H))) <= top / float(xp.max(x_scale)) / float(xp.max(z_scale)):
        return False
    exponent = xp.log2(x_scale)[:, None] + xp.log2(z_scale)[None, :]
    limit = math.frexp(top)[1] - 1.0
    two = xp.asarray(2.0, dtype=H.dtype, device=compat.device(H))
    room = top / xp.pow(two, xp.clip(exponent, 0.0, limit))
    return bool(xp.any((exponent > limit) | (xp.abs(H) > room)))


def _replace_near_parallel(weight: Array, cosine: Array, U: Array, V: Array) -> None:
    """Overwrite `weight = (π − θ)/(2π)` where the inner product does not determine the angle well."""
    xp = namespace(weight)
    n_rows, n_columns = weight.shape
    pairs = max(1, _CHUNK // U.shape[1])
    step = max(1, pairs // n_columns)
    for start in range(0, n_rows, step):
        stop = min(start + step, n_rows)
        near = xp.abs(cosine[start:stop, :]) > _DIRECT
        i, j = xp.nonzero(near)
        if i.shape[0] == 0:
            continue
        u, v = xp.take(U, i + start, axis=0), xp.take(V, j, axis=0)
        apart, together = xp.sqrt(xp.sum((u - v) ** 2, axis=1)), xp.sqrt(xp.sum((u + v) ** 2, axis=1))
        block = weight[start:stop, :]
        block[near] = xp.atan2(together, apart) / math.pi
        weight[start:stop, :] = block
