"""Chains of stages, sweeps and joint training from first principles: a linear model's stages run literally."""

from __future__ import annotations

from random import Random
from typing import Any

import mpmath as mp

from theory.definitions import cases, hidden
from theory.definitions.linear_model import half_square, least_weights, matrix, norm, train, zeros
from theory.formula import Case, Values

_ORDERS = ((0, 1, 2), (0, 1, 0), (0, 1, 1), (0, 1, 2))


def draw_chain(rng: Random, index: int) -> Case:
    """Three stages over two or three sets, one of them met again or not; every fourth time a set with more points than weights."""
    p, c = 4, 1 + index % 2
    order = _ORDERS[index % len(_ORDERS)]
    sizes = [p + 1 if index % 4 == 3 and a == 1 else 2 + (index + a) % 2 for a in range(max(order) + 1)]
    features = [cases.features(rng, n, p) for n in sizes]
    return {
        "order": list(order),
        "sets": features,
        "labels": [cases.rows(rng, n, c) for n in sizes],
        "test_features": cases.rows(rng, 2, p),
        "lr": [cases.step_size(rng, features[a], cases.STEP_SIZES[(index + i) % len(cases.STEP_SIZES)]) for i, a in enumerate(order)],
        "steps": [cases.STEPS[(index + i) % len(cases.STEPS)] for i in range(len(order))],
    }


def draw_sweep(rng: Random, index: int) -> Case:
    """Two sets over shared weights, step sizes and steps."""
    p = 4
    sets = [cases.features(rng, 2 + (index + a) % 2, p) for a in range(2)]
    return {
        "sets": sets,
        "lr": [cases.step_size(rng, F, cases.STEP_SIZES[(index + a) % len(cases.STEP_SIZES)]) for a, F in enumerate(sets)],
        "steps": [cases.STEPS[(index + 2 + a) % len(cases.STEPS)] for a in range(2)],
    }


def draw_pair(rng: Random, index: int) -> Case:
    """Two sets over shared weights that share no direction, both trained to the end, and labels."""
    n_P, n_Q, p = 2, 2 + index % 2, 5
    c = 1 + index % 2
    while True:
        F_P, F_Q = cases.features(rng, n_P, p), cases.features(rng, n_Q, p)
        values = cases.eigenvalues([*F_P, *F_Q])
        if values[0] >= 0.02 * values[-1]:
            break
    return {
        "sets": [F_P, F_Q],
        "labels": [cases.rows(rng, n_P, c), cases.rows(rng, n_Q, c)],
        "lr": [cases.step_size(rng, F, 1.0) for F in (F_P, F_Q)],
    }


def _run(case: Case) -> list[Any]:
    """Weights before all training and after each stage."""
    F, Y = [matrix(rows) for rows in case["sets"]], [matrix(rows) for rows in case["labels"]]
    weights = [zeros(F[0], Y[0])]
    for a, lr, steps in zip(case["order"], case["lr"], case["steps"], strict=True):
        weights.append(train(F[a], Y[a], weights[-1], lr, steps))
    return weights


def recursion(case: Case) -> Values:
    """Labels less outputs of a linear model: on the set of each of three stages before it, and on every set after it, from gradient
    steps on one set after the other.
    """
    F, Y = [matrix(rows) for rows in case["sets"]], [matrix(rows) for rows in case["labels"]]
    weights = _run(case)
    values: Values = []
    for a, before, after in zip(case["order"], weights, weights[1:], strict=False):
        values += list(Y[a] - F[a] * before)
        for rows, labels in zip(F, Y, strict=True):
            values += list(labels - rows * after)
    return values


def displacement(case: Case) -> Values:
    """Distance of a linear model's weights from their start after each of three stages, from gradient steps on one set after the other."""
    start, *rest = _run(case)
    return [norm(W - start) for W in rest]


def outputs(case: Case) -> Values:
    """Outputs of a linear model at further points after each of three stages, and the rise of half the squared residual on the first
    set over each later one, from gradient steps.
    """
    F, Y = matrix(case["sets"][0]), matrix(case["labels"][0])
    _, first, *later = _run(case)
    own = half_square(Y - F * first)
    seen = [u for W in (first, *later) for u in matrix(case["test_features"]) * W]
    return [*seen, *(half_square(Y - F * W) - own for W in later)]


def _joint(sets: list[list[list[float]]]) -> tuple[Any, Any]:
    return matrix(sets[0]), matrix(sets[1])


def sweep(case: Case) -> Values:
    """Labels less outputs on both sets of a linear model after gradient steps on the first and then on the second, for labels that are
    one at one point and zero elsewhere: the columns of the matrix.
    """
    F_P, F_Q = _joint(case["sets"])
    n = F_P.rows + F_Q.rows
    Y = mp.eye(n)
    Y_P, Y_Q = Y[0 : F_P.rows, :], Y[F_P.rows : n, :]
    W = train(F_P, Y_P, mp.zeros(F_P.cols, n), case["lr"][0], case["steps"][0])
    W = train(F_Q, Y_Q, W, case["lr"][1], case["steps"][1])
    return [*(Y_P - F_P * W), *(Y_Q - F_Q * W)]


def alternating(case: Case) -> Values:
    """Largest root of the characteristic polynomial of the matrix that takes labels of P, those of Q being zero, to what is left of them
    once a linear model was trained to the end on P and then on Q.
    """
    F_P, F_Q = _joint(case["sets"])
    Y = mp.eye(F_P.rows)
    W = train(F_P, Y, mp.zeros(F_P.cols, F_P.rows), case["lr"][0], None)
    W = train(F_Q, mp.zeros(F_Q.rows, F_P.rows), W, case["lr"][1], None)
    return [hidden.eigenvalues(Y - F_P * W)[-1]]


def canonical(case: Case) -> Values:
    """Squared cosines of the angles between the spans of two sets of features, largest first: orthonormal bases by Gram-Schmidt, roots of
    the characteristic polynomial of the product of their inner products.
    """
    bases = [_orthonormal(F) for F in _joint(case["sets"])]
    cosines = bases[0] * bases[1].T
    return hidden.eigenvalues(cosines * cosines.T)[::-1]


def _orthonormal(F: Any) -> Any:
    rows: list[Any] = []
    for i in range(F.rows):
        row = F[i, :]
        for other in rows:
            row = row - (row * other.T)[0] * other
        rows.append(row / norm(row))
    return mp.matrix([list(row) for row in rows])


def joint(case: Case) -> Values:
    """Squared lengths for a linear model: of the shortest weights that fit P; from there, after gradient steps to the end on P, of the
    move to the end of Q; and of the shortest weights that fit both, less those that fit P; its difference from the move.
    """
    F_P, F_Q = _joint(case["sets"])
    Y_P, Y_Q = (matrix(rows) for rows in case["labels"])
    W_P = train(F_P, Y_P, zeros(F_P, Y_P), case["lr"][0], None)
    W_Q = train(F_Q, Y_Q, W_P, case["lr"][1], None)
    both = least_weights(mp.matrix([*case["sets"][0], *case["sets"][1]]), mp.matrix([*case["labels"][0], *case["labels"][1]]))
    source, moved = 2 * half_square(W_P), 2 * half_square(W_Q - W_P)
    extra = 2 * half_square(both) - source
    return [source, moved, extra, extra - moved]
