"""How far computed Gram entries are from exact ones, where accuracy is hard to keep: on the diagonal and near it in angle."""

from __future__ import annotations

from collections.abc import Mapping

import mpmath
import numpy as np

from benchmarks.inputs import NEAR

DIGITS = 60


def exact_entry(x: np.ndarray, z: np.ndarray) -> tuple[mpmath.mpf, mpmath.mpf]:
    """`x·z (π − θ)/(2π)` and `‖x‖‖z‖/2`, for exactly these floats."""
    with mpmath.workdps(DIGITS):
        a, b = ([mpmath.mpf(v) for v in row.tolist()] for row in (x, z))
        dot, aa, bb = mpmath.fdot(a, b), mpmath.fdot(a, a), mpmath.fdot(b, b)
        theta = mpmath.atan2(mpmath.sqrt(max(aa * bb - dot * dot, mpmath.mpf(0))), dot)
        return dot * (mpmath.pi - theta) / (2 * mpmath.pi), mpmath.sqrt(aa * bb) / 2


def largest_errors(X: np.ndarray, matrices: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Largest error of each matrix, relative to `‖x‖‖z‖/2`, by where: the planted near-parallel and opposite pairs, and the diagonal.

    `X` is as `benchmarks.inputs.gram_points` makes it. The diagonal is read on its first 500 points.
    """
    n = len(X)
    places = {
        "nearly parallel or opposite": [(0, n - 2 * len(NEAR) + k) for k in range(2 * len(NEAR))],
        "diagonal": [(i, i) for i in range(min(n, 500))],
    }
    worst = {name: dict.fromkeys(places, 0.0) for name in matrices}
    for place, pairs in places.items():
        for i, j in pairs:
            value, unit = exact_entry(X[i], X[j])
            for name, H in matrices.items():
                with mpmath.workdps(DIGITS):
                    error = float(abs(mpmath.mpf(float(H[i, j])) - value) / unit)
                worst[name][place] = max(worst[name][place], error)
    return worst
