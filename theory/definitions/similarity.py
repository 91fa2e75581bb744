"""Similarity from first principles: gradients projected on eigenspaces, and least fits with free weights on the source labels."""

from __future__ import annotations

from typing import Any

import mpmath as mp

from theory.definitions.linear_model import gradient, half_square, least_weights, matrix, norm, train, zeros
from theory.formula import Case, Values


def _eigenspaces(H: Any) -> list[Any]:
    """Projectors on the eigenspaces, ascending, as polynomials in `H` (Sylvester) over its distinct eigenvalues."""
    values: list[Any] = []
    for value in sorted(mp.eigsy(H, eigvals_only=True)):
        if not values or value - values[-1] > mp.mpf(10) ** (-mp.mp.dps // 2) * norm(H):
            values.append(value)
    projectors = []
    for i, value in enumerate(values):
        P = mp.eye(H.rows)
        for k, other in enumerate(values):
            if k != i:
                P = P * (H - other * mp.eye(H.rows)) / (value - other)
        projectors.append(P)
    return projectors


def projected(case: Case, name: str) -> list[Any]:
    """The labels of that name projected on each eigenspace of `H`."""
    F, Y = matrix(case["features"]), matrix(case[name])
    return [P * Y for P in _eigenspaces(F * F.T)]


def mode_suppression(case: Case) -> Values:
    """The gradient of a linear model's loss by its outputs, after a gradient step on the target, from pretrained weights and from scratch:
    projected on the eigenspaces of H (Sylvester), each squared and divided; None where there is nothing to divide by.
    """
    F, Y = matrix(case["features"]), matrix(case["labels"])
    remaining = matrix(case["remaining"])
    # Weights from which exactly this is left to learn, and none.
    lr = mp.mpf(case["lr"])
    lefts = []
    for left in (remaining, Y):
        W = zeros(F, left) - lr * gradient(F, left, zeros(F, left))
        lefts.append(left - F * W)
    factors: Values = []
    for P in _eigenspaces(F * F.T):
        pretrained, scratch = (2 * half_square(P * left) for left in lefts)
        factors.append(None if scratch < mp.mpf(10) ** (-mp.mp.dps) * half_square(Y) else pretrained / scratch)
    return factors


def best_linear_gain(case: Case) -> Values:
    """One less the ratio of norms of shortest weights, with those that fit the target labels less a linear map of the transformed ones,
    weights and map found together from the conditions of Lagrange.
    """
    F, Y, T = (matrix(case[name]) for name in ("features", "labels", "transformed"))
    n, p, c = F.rows, F.cols, T.cols
    # Least ‖W‖² over W and M with F W + T M = Y: stationary in W and M, multipliers for the n conditions.
    size = p + c + n
    system, right = mp.zeros(size), mp.zeros(size, Y.cols)
    for i in range(p):
        system[i, i] = 1
    for i in range(n):
        for k in range(p):
            system[p + c + i, k] = system[k, p + c + i] = F[i, k]
        for k in range(c):
            system[p + c + i, p + k] = system[p + k, p + c + i] = T[i, k]
        for k in range(Y.cols):
            right[p + c + i, k] = Y[i, k]
    W = (mp.inverse(system) * right)[0:p, :]
    scratch = train(F, Y, zeros(F, Y), case["lr"], None)
    return [1 - norm(W) / norm(scratch)]


def inside(case: Case) -> Values:
    """Gradient energy on target points that are source points with their labels, after gradient steps of a linear model on the source,
    and one less the ratio of the norms of the shortest weights that fit what is left and what there was.
    """
    F_P, F_Q = matrix(case["source_features"]), matrix(case["target_features"])
    Y_P, Y_Q, start = matrix(case["source_labels"]), matrix(case["target_labels"]), matrix(case["start"])
    left = Y_Q - F_Q * train(F_P, Y_P, start, case["source_lr"], case["source_steps"])
    scratch = Y_Q - F_Q * start
    return [2 * half_square(left), 1 - norm(least_weights(F_Q, left)) / norm(least_weights(F_Q, scratch))]
