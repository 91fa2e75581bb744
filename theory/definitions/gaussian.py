"""The Gaussian expectation behind the ReLU Gram function, by quadrature in Cartesian coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mpmath as mp

from theory.formula import Case, Values

# Digits beyond the working precision: the sine of an angle of 1e-9 loses 18 of them to the inner product.
_GUARD = 40


def both_active(x: Sequence[float], z: Sequence[float], kappa: float) -> Any:
    """`P(w·x ≥ 0, w·z ≥ 0)` for `w ~ N(0, κ²I)`.

    With `w₁` the component along `x` and `w₂` the one across it in the plane of `x` and `z`, the second condition is
    `w₂ ≥ −w₁ cos θ / sin θ`; given `w₁` it has a normal probability, and the integral over `w₁ ≥ 0` is done by Gauss-Legendre quadrature.
    """
    with mp.workdps(mp.mp.dps + _GUARD):
        inner, xx, zz = dot(x, z), dot(x, x), dot(z, z)
        along, across_squared = inner / mp.sqrt(xx), zz - inner * inner / xx
    scale = mp.mpf(kappa)
    if across_squared <= mp.mpf(10) ** (-mp.mp.dps) * zz:
        return mp.mpf(1) / 2 if inner > 0 else mp.mpf(0)
    slope = along / mp.sqrt(across_squared)
    # The normal probability changes over w₁ ~ κ/|slope|, the density over w₁ ~ κ: intervals at both scales.
    bend = scale / max(abs(slope), 1)
    points = sorted({mp.mpf(0), bend, 6 * bend, 20 * bend, *(f * scale for f in (2, 6, 18))})

    def integrand(w: Any) -> Any:
        return mp.npdf(w, 0, scale) * mp.ncdf(w * slope / scale)

    return mp.quad(integrand, points, method="gauss-legendre")


def gram_entry(x: Sequence[float], z: Sequence[float], kappa: float = 1.0) -> Any:
    """`E[x·z 1{w·x ≥ 0} 1{w·z ≥ 0}]`."""
    return dot(x, z) * both_active(x, z, kappa)


def gram(case: Case) -> Values:
    """E[x·z 1{w·x ≥ 0} 1{w·z ≥ 0}] for w ~ N(0, κ²I): an integral over the component of w along x of a normal density times
    the normal probability of the other condition, by quadrature in Cartesian coordinates.
    """
    return [gram_entry(x, z, case["kappa"]) for x in case["X"] for z in case["Z"]]


def gram_matrix(rows: Sequence[Sequence[float]]) -> Any:
    """Gram matrix of the rows, every entry by quadrature."""
    n = len(rows)
    H = mp.matrix(n, n)
    for i in range(n):
        for j in range(i + 1):
            H[i, j] = H[j, i] = gram_entry(rows[i], rows[j])
    return H


def dot(a: Sequence[Any], b: Sequence[Any]) -> Any:
    """Inner product of vectors of floats, or of numbers at the working precision."""
    return mp.fsum(mp.mpf(p) * q for p, q in zip(a, b, strict=True))
