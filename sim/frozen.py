"""The middle rung: the kernel that a finite net has at `W(0)`, from its own weights."""

from __future__ import annotations

import numpy as np

from sim.dynamics import BLOCK
from theory.predict import GramBlocks
from theory.problem import TransferProblem


def frozen_gram(problem: TransferProblem, W: np.ndarray, a: np.ndarray) -> GramBlocks:
    """Tangent kernel at `W`: `K[(i,p),(j,q)] = x_i·x_j (1/m) Σ_r a_rp a_rq 1{w_r·x_i > 0} 1{w_r·x_j > 0}`.

    Parameters
    ----------
    problem : TransferProblem of float NumPy arrays, with a source.
    W, a : (m, d), (m, c) arrays

    Returns
    -------
    GramBlocks, with coupled blocks (points major) when `c > 1`.

    The sums over neurons are counts of ±1: whole numbers, exact in float32 block by block.
    """
    assert problem.source is not None
    sets = [problem.source[0], problem.target[0]] + ([problem.test[0]] if problem.test is not None else [])
    X = np.concatenate(sets)
    n_P, n_Q = len(sets[0]), len(sets[1])
    train, c, m = n_P + n_Q, a.shape[1], len(W)
    counts = np.zeros((c, c, len(X), train))
    XT = np.ascontiguousarray(X.T)
    for start in range(0, m, BLOCK):
        rows = slice(start, start + BLOCK)
        active = (W[rows] @ XT > 0).astype(np.float32)
        for p in range(c):
            for q in range(p, c):
                signs = (a[rows, p] * a[rows, q]).astype(np.float32)
                counts[p, q] += (active * signs[:, None]).T @ active[:, :train]
    for p in range(c):
        for q in range(p):
            counts[p, q] = counts[q, p]
    inner = X @ X[:train].T
    K = (counts * (inner / m)).transpose(2, 0, 3, 1)

    def block(rows: slice, columns: slice) -> np.ndarray:
        part = K[rows, :, columns]
        return np.ascontiguousarray(part.reshape(part.shape[0] * c, part.shape[2] * c))

    P, Q, T = slice(0, n_P), slice(n_P, train), slice(train, None)
    tests = {} if problem.test is None else {"test_source": block(T, P), "test_target": block(T, Q)}
    return GramBlocks(source=_symmetric(block(P, P)), target=_symmetric(block(Q, Q)), target_source=block(Q, P), **tests)


def frozen_gram_bytes(problem: TransferProblem) -> int:
    """Peak memory of `frozen_gram` and of the two decompositions that use it, in bytes."""
    assert problem.source is not None
    n_P, n_Q, c = len(problem.source[0]), len(problem.target[0]), problem.n_outputs
    n_T = 0 if problem.test is None else len(problem.test[0])
    return 8 * c * c * (3 * (n_P + n_Q + n_T) * (n_P + n_Q) + 4 * max(n_P, n_Q) ** 2)


def _symmetric(H: np.ndarray) -> np.ndarray:
    return (H + H.T) / 2
