"""Scales of the tolerance class `dtype`: the size of a value times the condition number of the problem that gives it.

What float64 can promise is the exact value for a Gram matrix `H + δH`, `‖δH‖ ≤ n eps λ_max`; each scale here says what such a `δH` does.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np

from theory.definitions.cases import Rows, eigenvalues, gram_of, product, transposed
from theory.formula import Case


def norm(A: Any) -> float:
    """Frobenius norm."""
    return float(np.linalg.norm(np.array(A)))


def reach(F: Rows, lr: float, steps: int | None) -> float:
    """Largest value of `φ_k` over the spectrum: `ηk`, at most `2/λ⁺_min` where the Gram matrix is regular."""
    smallest = eigenvalues(F)[0]
    if steps is None:
        return 1 / smallest
    return lr * steps if len(F) > len(F[0]) else min(lr * steps, 2 / smallest)


def condition(F: Rows, lr: float, steps: int | None) -> float:
    """`1 + λ_max φ`: the condition number as far as `k` steps reveal it."""
    return 1 + eigenvalues(F)[-1] * reach(F, lr, steps)


def _one(case: Case) -> tuple[Rows, float, float]:
    F = case["features"]
    return F, reach(F, case["lr"], case["steps"]), condition(F, case["lr"], case["steps"])


def residual(case: Case) -> float:
    """`‖y‖ (1 + λ_max φ)`."""
    return norm(case["labels"]) * _one(case)[2]


def coefficients(case: Case) -> float:
    """`‖y‖ φ (1 + λ_max φ)`."""
    _, phi, cond = _one(case)
    return norm(case["labels"]) * phi * cond


def displacement(case: Case) -> float:
    """`‖y‖ √φ (1 + λ_max φ)`."""
    _, phi, cond = _one(case)
    return norm(case["labels"]) * math.sqrt(phi) * cond


def loss(case: Case) -> float:
    """`½‖y‖² (1 + λ_max φ)`."""
    return norm(case["labels"]) ** 2 / 2 * _one(case)[2]


def flow(case: Case) -> float:
    """`‖y‖ (1 + t λ_max)`."""
    return norm(case["labels"]) * (1 + case["time"] * eigenvalues(case["features"])[-1])


def inverse_norm(case: Case) -> float:
    """`‖y‖² κ(H)/λ⁺_min`."""
    values = eigenvalues(case["features"])
    return norm(case["labels"]) ** 2 / values[0] * (1 + values[-1] / values[0])


def spread(case: Case) -> float:
    """`κ(H) = λ_max/λ_min`."""
    values = eigenvalues(case["features"])
    return values[-1] / values[0]


def gain(case: Case) -> float:
    """`κ(H) (1 + √κ ‖ỹ‖/‖y‖)`."""
    kappa = spread(case)
    return kappa * (1 + math.sqrt(kappa) * norm(case["remaining"]) / norm(case["labels"]))


def eigenvectors(case: Case) -> float:
    """`‖y‖ max|g| λ_max/gap`."""
    return norm(case["labels"]) * max(abs(g) for g in case["filter"]) * _over_gap(case)


def energy(case: Case) -> float:
    """`‖y‖² λ_max/gap`."""
    return norm(case["labels"]) ** 2 * _over_gap(case)


def _over_gap(case: Case) -> float:
    values = eigenvalues(case["features"])
    return 1 + values[-1] / min(b - a for a, b in pairwise(values))


def moment(case: Case, power: int) -> float:
    """`yᵀ H^power y`, from products of the features."""
    Y = case["labels"]
    for _ in range(power):
        Y = product(gram_of(case["features"]), Y)
    return sum(float(np.dot(a, b)) for a, b in zip(np.array(case["labels"]).T, np.array(Y).T, strict=True))


def root_moment(case: Case, power: int) -> float:
    """`λ_max^p ‖y‖²/√(yᵀH^p y)`: an error in a sum of modes, seen through the square root."""
    return eigenvalues(case["features"])[-1] ** power * norm(case["labels"]) ** 2 / math.sqrt(moment(case, power))


def along_gradient(case: Case, lr: float) -> float:
    """`½‖y‖² (1 + |η| λ_max)²`."""
    return norm(case["labels"]) ** 2 / 2 * (1 + abs(lr) * eigenvalues(case["features"])[-1]) ** 2


def two_stages(case: Case) -> tuple[float, float, float]:
    """Sizes, condition included, of the source coefficients, of what is left on the target, and of the target coefficients."""
    F_P, F_Q = case["source_features"], case["target_features"]
    start = norm(case["start"])
    y_P = norm(case["source_labels"]) + norm(F_P) * start
    y_Q = norm(case["target_labels"]) + norm(F_Q) * start
    alpha = reach(F_P, case["source_lr"], case["source_steps"]) * condition(F_P, case["source_lr"], case["source_steps"]) * y_P
    left = y_Q + norm(product(F_Q, transposed(F_P))) * alpha
    gamma = reach(F_Q, case["target_lr"], case["target_steps"]) * condition(F_Q, case["target_lr"], case["target_steps"]) * left
    return alpha, left, gamma
