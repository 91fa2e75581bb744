"""Cross-entropy of a linear model trained literally on its weights; labels ±1 are two classes with outputs `(f/2, −f/2)`."""

from __future__ import annotations

from typing import Any

import mpmath as mp

from theory.definitions.linear_model import flat, matrix, norm
from theory.formula import Case, Values

Matrix = Any


def probabilities(row: Any) -> list[Any]:
    """Softmax of one row of outputs."""
    powers = [mp.exp(v) for v in row]
    total = mp.fsum(powers)
    return [v / total for v in powers]


def _two_classes(f: Any, label: Any) -> tuple[list[Any], list[Any]]:
    """Outputs and one-hot labels of a point whose label is ±1."""
    return [f / 2, -f / 2], [(1 + label) / 2, (1 - label) / 2]


def loss_of(U: Matrix, Y: Matrix) -> Any:
    """Minus the sum over points of Y log softmax."""
    total = mp.mpf(0)
    for i in range(U.rows):
        outputs, wanted = _two_classes(U[i, 0], Y[i, 0]) if U.cols == 1 else (list(U[i, :]), list(Y[i, :]))
        total -= mp.fsum(y * mp.log(p) for y, p in zip(wanted, probabilities(outputs), strict=True))
    return total


def slope_of(U: Matrix, Y: Matrix) -> Matrix:
    """Derivatives of the loss by the outputs, by the chain rule through two outputs for labels ±1."""
    S = mp.zeros(U.rows, U.cols)
    for i in range(U.rows):
        if U.cols == 1:
            outputs, wanted = _two_classes(U[i, 0], Y[i, 0])
            p = probabilities(outputs)
            S[i, 0] = ((p[0] - wanted[0]) - (p[1] - wanted[1])) / 2
            continue
        for k, p in enumerate(probabilities(list(U[i, :]))):
            S[i, k] = p - Y[i, k]
    return S


def loss(case: Case) -> Values:
    """Minus the sum of labels times the logarithms of the softmax; labels ±1 as two classes with outputs (f/2, −f/2)."""
    return [loss_of(matrix(case["outputs"]), matrix(case["labels"]))]


def gradient(case: Case) -> Values:
    """Derivatives of the cross-entropy by each output, as central differences of width 10^-30 of the loss itself."""
    U, Y, width = matrix(case["outputs"]), matrix(case["labels"]), mp.mpf(10) ** -30
    found = []
    with mp.workdps(2 * mp.mp.dps):
        for i in range(U.rows):
            for k in range(U.cols):
                ahead, behind = U.copy(), U.copy()
                ahead[i, k] += width
                behind[i, k] -= width
                found.append((loss_of(ahead, Y) - loss_of(behind, Y)) / (2 * width))
    return found


def trained(case: Case) -> tuple[Matrix, Matrix, Matrix]:
    """Features, weights at the start, and weights after the case's steps on the cross-entropy plus `½β‖W − A‖²`."""
    F, Y, start, anchor = (matrix(case[name]) for name in ("features", "labels", "start", "anchor"))
    mu, beta, step = mp.mpf(case["momentum"]), mp.mpf(case["decay"]), mp.mpf(case["lr"])
    W, v = start, mp.zeros(start.rows, start.cols)
    for _ in range(case["steps"]):
        v = mu * v + F.T * slope_of(F * W, Y) + beta * (W - anchor)
        W = W - step * v
    return F, start, W


def descent(case: Case) -> Values:
    """Outputs, loss and displacement of a linear model after gradient steps on its weights on the cross-entropy plus ½β‖W − A‖²."""
    F, start, W = trained(case)
    return [*flat(F * W), loss_of(F * W, matrix(case["labels"])), norm(W - start)]


def stable_step(case: Case) -> Values:
    """2(1 − μ) over the largest curvature of cross-entropy plus penalty in the weights of a linear model with undecided outputs of two
    classes: eigenvalues of the Hessian matrix, by central differences of the gradient.
    """
    F, Y = matrix(case["features"]), matrix(case["labels"])
    p, c, width = F.cols, Y.cols, mp.mpf(10) ** -25
    size = p * c
    hessian = mp.zeros(size, size)

    def slopes(W: Matrix) -> Values:
        return flat(F.T * slope_of(F * W, Y) + mp.mpf(case["decay"]) * W)

    with mp.workdps(2 * mp.mp.dps):
        for a in range(size):
            W = mp.zeros(p, c)
            W[a // c, a % c] = width
            for b, (up, down) in enumerate(zip(slopes(W), slopes(-W), strict=True)):
                hessian[a, b] = (up - down) / (2 * width)
        largest = max(mp.eigsy((hessian + hessian.T) / 2, eigvals_only=True))
    return [2 * (1 - mp.mpf(case["momentum"])) / largest]
