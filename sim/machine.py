"""How fast this machine is, so that time budgets mean something."""

from __future__ import annotations

import time

import numpy as np


def matrix_product_rate(size: int = 1024, repeats: int = 5) -> float:
    """Float32 matrix-product rate in GFLOP/s, the best of `repeats`, with all BLAS threads."""
    a = np.ones((size, size), dtype=np.float32)
    best = float("inf")
    for _ in range(repeats + 1):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2 * size**3 / best / 1e9
