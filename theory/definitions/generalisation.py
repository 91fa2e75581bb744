"""Generalisation from first principles: every choice of signs, every refit, every unit label, run literally on a linear model."""

from __future__ import annotations

from itertools import product
from typing import Any

import mpmath as mp

from theory.definitions.linear_model import flat, gradient, half_square, matrix, norm, train, trained, zeros
from theory.formula import Case, Values


def complexity_measure(case: Case) -> Values:
    """√(2/n) times the norm of the weights of a linear model after k gradient steps from zero."""
    return [mp.sqrt(mp.mpf(2) / len(case["features"])) * norm(trained(case))]


def rademacher_complexity(case: Case) -> Values:
    """Root mean square, over all 2^n choices of signs, of the largest mean of signed outputs of a linear model whose weights have at
    most the given norm; the largest is found where Lagrange puts it, along the sum of signed features.
    """
    return [_largest_mean(matrix(case["features"]), mp.mpf(case["radius"]))]


def _largest_mean(F: Any, radius: Any) -> Any:
    squares = []
    for signs in product((-1, 1), repeat=F.rows):
        xi = mp.matrix(signs)
        direction = F.T * xi
        length = norm(direction)
        weights = direction * (radius / length) if length else direction
        squares.append((mp.fsum(x * u for x, u in zip(xi, F * weights, strict=True)) / F.rows) ** 2)
    return mp.sqrt(mp.fsum(squares) / len(squares))


def rademacher_bound(case: Case) -> Values:
    """From gradient steps on a linear model: root mean square residual; twice the complexity, over all signs, of the first ball of
    whole radius that holds the weights; three times the deviation whose probability by McDiarmid, found by bisection, is half of the
    ball's share of δ; that radius; and whether the three add up to 1.
    """
    F, Y = matrix(case["features"]), matrix(case["remaining"])
    n = F.rows
    W = train(F, Y, zeros(F, Y), case["lr"], case["steps"])
    radius = 1
    while radius < norm(W):
        radius += 1
    # What the shares of all larger balls leave of 1 falls from 1/B to 1/(B + 1).
    share = mp.mpf(case["delta"]) * (mp.mpf(1) / radius - mp.mpf(1) / (radius + 1))
    low, high = mp.mpf(0), mp.mpf(8)
    for _ in range(int(3.4 * mp.mp.dps)):
        middle = (low + high) / 2
        low, high = (middle, high) if mp.exp(-2 * n * middle**2) > share / 2 else (low, middle)
    terms = [norm(F * W - Y) / mp.sqrt(n), 2 * _largest_mean(F, mp.mpf(radius)), 3 * low]
    return [*terms, radius, bool(mp.fsum(terms) >= 1)]


def leave_one_out(case: Case) -> Values:
    """For each point, its label less the output of a linear model trained to the end, by gradient steps from zero, on all others."""
    F, Y = matrix(case["features"]), matrix(case["labels"])
    errors = []
    for i in range(F.rows):
        W = _without(F, Y, [i])
        errors += flat(Y[i, :] - F[i, :] * W)
    return errors


def _without(F: Any, Y: Any, points: list[int]) -> Any:
    """Weights after training to the end on all but some points."""
    kept = [j for j in range(F.rows) if j not in points]
    rows = mp.matrix([[F[j, p] for p in range(F.cols)] for j in kept])
    labels = mp.matrix([[Y[j, p] for p in range(Y.cols)] for j in kept])
    # Below 1/λ_max of the full set, and so of every part of it.
    return train(rows, labels, zeros(rows, labels), 1 / (2 * half_square(F)), None)


def generalised_cross_validation(case: Case) -> Values:
    """At k steps: mean squared residual over the squared mean share of its own label that each point's output, after gradient steps on
    labels that are one there and zero elsewhere, is still short of. To the end: mean squared error of points left out, each by training
    to the end without it, of data rotated so that eigenvectors of F Fᵀ become the discrete Fourier basis.
    """
    F, Y = matrix(case["features"]), matrix(case["labels"])
    n = F.rows
    if case["steps"] is None:
        return [_rotated(F, Y)]
    short = mp.mpf(0)
    for i in range(n):
        unit = mp.matrix([[1 if j == i else 0] for j in range(n)])
        W = zeros(F, unit)
        for _ in range(case["steps"]):
            W = W - mp.mpf(case["lr"]) * gradient(F, unit, W)
        short += 1 - (F[i, :] * W)[0]
    left = norm(Y - F * train(F, Y, zeros(F, Y), case["lr"], case["steps"]))
    return [(left**2 / n) / (short / n) ** 2]


def _rotated(F: Any, Y: Any) -> Any:
    n = F.rows
    _, vectors = mp.eigsy(F * F.T)
    fourier = mp.matrix([[mp.expjpi(mp.mpf(2 * i * j) / n) / mp.sqrt(n) for j in range(n)] for i in range(n)])
    rotation = fourier * vectors.T
    # Complex rows as pairs of real ones; the weights' imaginary parts are weights of their own.
    A, B = _real(rotation * F), rotation * Y
    labels = mp.matrix(
        [[mp.re(B[i, p]) for p in range(Y.cols)] for i in range(n)] + [[mp.im(B[i, p]) for p in range(Y.cols)] for i in range(n)]
    )
    errors = mp.mpf(0)
    for i in range(n):
        W = _without(A, labels, [i, n + i])
        errors += sum(2 * half_square(labels[r, :] - A[r, :] * W) for r in (i, n + i))
    return errors / n


def _real(A: Any) -> Any:
    real, imaginary = A.apply(mp.re), A.apply(mp.im)
    out = mp.matrix(2 * A.rows, 2 * A.cols)
    out[0 : A.rows, 0 : A.cols] = real
    out[0 : A.rows, A.cols : 2 * A.cols] = -imaginary
    out[A.rows : 2 * A.rows, 0 : A.cols] = imaginary
    out[A.rows : 2 * A.rows, A.cols : 2 * A.cols] = real
    return out
