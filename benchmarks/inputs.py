"""The data that the comparisons start from, the same for every contender."""

from __future__ import annotations

import numpy as np

from sim.networks import initial_net

NEAR = tuple(10.0**-e for e in range(1, 13))
"""How far, relative to its norm, each planted point of `gram_points` lies from the first one, or from its opposite."""


def sphere(n: int, d: int, seed: int = 0) -> np.ndarray:
    """`n` points on the unit sphere, (n, d)."""
    X = np.random.default_rng(seed).standard_normal((n, d))
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def training_set(n: int, d: int, width: int, dtype: str = "float32") -> dict[str, np.ndarray]:
    """Points on the sphere, normal labels, and a net: `X` (n, d), `y` (n, 1), `W` (m, d), `a` (m, 1)."""
    W, a = initial_net(width, d, 1)
    arrays = {"X": sphere(n, d), "y": np.random.default_rng(1).standard_normal((n, 1)), "W": W, "a": a}
    return {key: value.astype(dtype) for key, value in arrays.items()}


def gram_points(n: int, d: int) -> dict[str, np.ndarray]:
    """`n` normal points, the last 24 of which are nearly parallel or opposite to the first: `X` (n, d)."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    size = np.linalg.norm(X[0])
    for k, distance in enumerate([*NEAR, *NEAR]):
        aside = rng.standard_normal(d)
        X[n - 2 * len(NEAR) + k] = (X[0] if k < len(NEAR) else -X[0]) + distance * size / np.linalg.norm(aside) * aside
    return {"X": X}


def transfer(points: int, d: int) -> dict[str, np.ndarray]:
    """A source and a target of normal points and smooth labels."""
    rng = np.random.default_rng(0)
    X_P, X_Q = rng.standard_normal((points, d)), rng.standard_normal((points, d))
    return {"X_P": X_P, "y_P": np.sin(X_P[:, 0]), "X_Q": X_Q, "y_Q": np.sin(X_Q[:, 0] + 0.3 * X_Q[:, 1])}
