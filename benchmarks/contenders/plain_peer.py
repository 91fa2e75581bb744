"""Plain NumPy: the Gram matrix as anybody would write it down."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from serve import Work, serve, timed


def gram(setting: dict[str, Any], data: dict[str, np.ndarray]) -> Work:
    X = data["X"]

    def kernel() -> np.ndarray:
        inner = X @ X.T
        norms = np.sqrt(np.diag(inner))
        angle = np.arccos(np.clip(inner / np.outer(norms, norms), -1, 1))
        return inner * (math.pi - angle) / (2 * math.pi)

    return Work(measure=lambda: timed(kernel, untimed=1), check=lambda: {"H": kernel()})


if __name__ == "__main__":
    serve({"gram": gram}, lambda: {"numpy": np.__version__})
