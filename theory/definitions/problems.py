"""Small transfer problems and nets to hold bounds against, drawn from a generator."""

from __future__ import annotations

from random import Random

import numpy as np

from theory.problem import Schedule, TransferProblem


def unit_inputs(rng: Random, n: int, d: int, spread: bool = False) -> np.ndarray:
    """`n` rows of norm 1 in `d` dimensions; with `spread`, orthogonal up to a small tilt (`n ≤ d`)."""
    X = np.random.default_rng(rng.getrandbits(32)).standard_normal((n, d))
    if spread:
        X = np.linalg.qr(X.T)[0].T + rng.uniform(0, 0.2) * X / d**0.5
    return X / np.linalg.norm(X, axis=1, keepdims=True)


def problem(rng: Random, *, points: int = 4, dimension: int = 6, labels: float = 1.0, tests: bool = False) -> TransferProblem:
    """Unit inputs in general position and labels up to `labels`; target inputs are mixtures of the source's and of new directions."""
    d = rng.randint(2, dimension)
    n_P, n_Q = rng.randint(1, points), rng.randint(1, points)
    X_P, X_Q = unit_inputs(rng, n_P, d), unit_inputs(rng, n_Q, d)
    shared = min(n_P, n_Q)
    X_Q[:shared] += rng.uniform(0, 3) * X_P[:shared]
    X_Q /= np.linalg.norm(X_Q, axis=1, keepdims=True)

    def y(n: int) -> np.ndarray:
        return np.array([rng.uniform(-labels, labels) for _ in range(n)])

    test = (unit_inputs(rng, 2, d), y(2)) if tests else None
    return TransferProblem(source=(X_P, y(n_P)), target=(X_Q, y(n_Q)), test=test)


def spread_problem(rng: Random, *, points: int = 3, labels: float = 0.3) -> TransferProblem:
    """Few points, well spread, small labels, where guarantees need no great width; each target input leans towards a source input."""
    n = rng.randint(1, points)
    X = unit_inputs(rng, 2 * n, 2 * n, spread=True)
    X_P, X_Q = X[:n], X[n:] + rng.uniform(0, 1) * X[:n]
    X_Q = X_Q / np.linalg.norm(X_Q, axis=1, keepdims=True)
    y_P = np.array([rng.uniform(-labels, labels) for _ in range(n)])
    return TransferProblem(source=(X_P, y_P), target=(X_Q, y_P * rng.uniform(0, 2)))


def schedule(rng: Random, most: int = 12) -> Schedule:
    """Up to `most` steps in each stage, at step sizes of `1/λ_max`."""
    return Schedule(source_steps=rng.randint(0, most), target_steps=rng.randint(0, most))


def width(rng: Random, largest: int = 512) -> int:
    """An even width, each power of two as likely as any other."""
    return int(2 * min(largest // 2, round(2 ** rng.uniform(0, np.log2(largest / 2)))))
