"""The sphere from first principles: harmonic polynomials counted, kernels applied to harmonics, weights on harmonics trained literally."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from itertools import combinations_with_replacement
from random import Random
from typing import Any

import mpmath as mp
from mpmath.calculus.quadrature import GaussLegendre

from theory.definitions.cases import STEPS, dyadic
from theory.definitions.gaussian import gram_entry
from theory.definitions.linear_model import half_square, least_weights, train, zeros
from theory.definitions.scalar import flow
from theory.formula import Case, Values

# 96 Gauss-Legendre nodes: sines and cosines of a few dozen times the angle to 60 digits.
_LEVEL = 6


# Degrees and eigenvalues ---------------------------------------------------------------------------------------------------------


def degrees(rng: Random, index: int) -> Case:
    """A dimension from 2 to 5 and a degree."""
    return {"dimension": 2 + index % 4, "degree": 1 + index // 2 % 4}


def eigenvalue_case(rng: Random, index: int) -> Case:
    """A dimension from 2 on, a last degree, a norm of the inputs."""
    return {"dimension": (3, 2, 5, 8)[index % 4], "last": (8, 7, 6, 0)[index % 4], "norm": (1.0, 0.5, 2.0)[index % 3]}


def dimension(rng: Random, index: int) -> Case:
    """A dimension from 2 on."""
    return {"dimension": (3, 2, 4, 9)[index % 4]}


def polynomial_kernel(rng: Random, index: int) -> Case:
    """A polynomial in the cosine, on the circle or the sphere."""
    return {"dimension": 2 + index % 2, "last": 4, "powers": [dyadic(rng) for _ in range(6)]}


def cosines(rng: Random, index: int) -> Case:
    """A dimension from 2 on, a last degree, and cosines."""
    return {"dimension": (3, 2, 6)[index % 3], "last": (6, 5, 4)[index % 3], "cosines": [rng.uniform(-1, 1), (1.0, -1.0, 0.0)[index % 3]]}


def appended(rng: Random, index: int) -> Case:
    """Cosines, a norm and a constant coordinate."""
    return {"cosines": [dyadic(rng), (1.0, -1.0, 0.0)[index % 3]], "norm": (1.0, 0.5, 2.0)[index % 3], "constant": dyadic(rng, 2.0)}


def multiplicity(case: Case) -> Values:
    """Homogeneous polynomials of the degree that the Laplacian sends to zero: monomials less the rank of its matrix, by elimination."""
    d, degree = case["dimension"], case["degree"]

    def monomials(total: int) -> list[tuple[int, ...]]:
        chosen = combinations_with_replacement(range(d), total) if total >= 0 else iter(())
        return [tuple(choice.count(i) for i in range(d)) for choice in chosen]

    columns, rows = monomials(degree), {m: i for i, m in enumerate(monomials(degree - 2))}
    matrix = [[Fraction(0)] * len(columns) for _ in rows]
    for j, powers in enumerate(columns):
        for i, power in enumerate(powers):
            if power >= 2:
                lowered = tuple(v - 2 * (a == i) for a, v in enumerate(powers))
                matrix[rows[lowered]][j] += power * (power - 1)
    return [len(columns) - _rank(matrix)]


def legendre(case: Case) -> Values:
    """The polynomial of each degree that is orthogonal to all lower ones over the angle of two uniform points, by quadrature, and 1 at
    cosine 1; at given cosines.
    """
    polynomials = _polynomials(case["dimension"], case["last"], tuple(case["cosines"]), mp.mp.prec)
    return [value for _, at_points in polynomials for value in at_points]


def step_eigenvalues(case: Case) -> Values:
    """Mean of (π − θ)/(2π) times the polynomial of each degree in cos θ that is orthogonal to all lower ones and 1 at θ = 0, over the angle
    of two uniform points, by quadrature.
    """
    return _by_degree(case, lambda theta: (mp.pi - theta) / (2 * mp.pi))


def tangent_eigenvalues(case: Case) -> Values:
    """As for the step kernel, of r² cos θ (π − θ)/(2π)."""
    return _by_degree(case, lambda theta: mp.mpf(case["norm"]) ** 2 * mp.cos(theta) * (mp.pi - theta) / (2 * mp.pi))


def trace_beyond(case: Case) -> Values:
    """r² cos θ (π − θ)/(2π) at θ = 0, less its expansion there in polynomials that are orthogonal over the angle of two uniform points,
    made so one after another, by quadrature.
    """
    values = tangent_eigenvalues(case)
    _, weights = _angles(case["dimension"], mp.mp.prec)
    polynomials = _polynomials(case["dimension"], case["last"], (), mp.mp.prec)
    squares = [mp.fsum(w * p * p for w, p in zip(weights, nodes, strict=True)) for nodes, _ in polynomials]
    return [mp.mpf(case["norm"]) ** 2 / 2 - mp.fsum(v / s for v, s in zip(values, squares, strict=True))]


def sign_floor(case: Case) -> Values:
    """Mean square of what least squares leaves of the sign of the cosine, fitted by the polynomials of degrees 0, 1, 2, 4, 6 in it over
    the angle of two uniform points: the rows of normal equations by quadrature on either side of the jump.
    """
    d, powers = case["dimension"], (0, 1, 2, 4, 6)
    sides = [[(side * mp.cos(a), w * mp.sin(a) ** (d - 2)) for a, w in _quarter()] for side in (1, -1)]
    points = [(t, w, mp.mpf(sign)) for sign, side in zip((1, -1), sides, strict=True) for t, w in side]
    total = mp.fsum(w for _, w, _ in points)
    normal = mp.matrix([[mp.fsum(w * t ** (i + j) for t, w, _ in points) for j in powers] for i in powers])
    seen = mp.matrix([mp.fsum(w * s * t**i for t, w, s in points) for i in powers])
    fitted = mp.lu_solve(normal, seen)
    return [mp.fsum(w * (s - mp.fsum(c * t**i for c, i in zip(fitted, powers, strict=True))) ** 2 for t, w, s in points) / total]


def _quarter() -> list[tuple[Any, Any]]:
    """Nodes and weights on angles from 0 to π/2."""
    return [((1 + x) * mp.pi / 4, w) for x, w in _nodes(_LEVEL)]


def relu_eigenvalues(case: Case) -> Values:
    """As for the step kernel, of r² (sin θ + (π − θ) cos θ)/(2π)."""
    return _by_degree(case, lambda theta: mp.mpf(case["norm"]) ** 2 * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / (2 * mp.pi))


def constant_coordinate(case: Case) -> Values:
    """The Gaussian expectation E[x·z 1{w·x ≥ 0} 1{w·z ≥ 0}] for inputs (r, 0, b) and (r t, r √(1 − t²), b), by quadrature."""
    r, b = mp.mpf(case["norm"]), mp.mpf(case["constant"])
    return [gram_entry([r, mp.mpf(0), b], [r * t, r * mp.sqrt(1 - mp.mpf(t) ** 2), b]) for t in case["cosines"]]


def zonal_eigenvalues(case: Case) -> Values:
    """The kernel applied to the harmonic Re (y₁ + i y₂)^ℓ, 1 at e₁: its mean against k(e₁·y) over the circle or the sphere, on points that
    integrate these polynomials exactly.
    """

    def kernel(t: Any) -> Any:
        return mp.fsum(mp.mpf(a) * t**power for power, a in enumerate(case["powers"]))

    turns = [2 * mp.pi * i / 16 for i in range(16)]
    if case["dimension"] == 2:
        points = [((mp.cos(a), mp.sin(a)), mp.mpf(1) / 16) for a in turns]
    else:
        points = [((t, mp.sqrt(1 - t * t) * mp.cos(a)), w / 32) for t, w in _nodes(4) for a in turns]
    return [mp.fsum(w * kernel(x) * mp.re(mp.mpc(x, y) ** degree) for (x, y), w in points) for degree in range(case["last"] + 1)]


def _by_degree(case: Case, kernel: Callable[[Any], Any]) -> Values:
    angles, weights = _angles(case["dimension"], mp.mp.prec)
    values = [w * kernel(theta) for theta, w in zip(angles, weights, strict=True)]
    polynomials = _polynomials(case["dimension"], case["last"], (), mp.mp.prec)
    return [mp.fsum(v * p for v, p in zip(values, polynomial, strict=True)) for polynomial, _ in polynomials]


@cache
def _angles(dimension: int, precision: int) -> tuple[list[Any], list[Any]]:
    """Nodes and weights of the mean over the angle of two uniform points, its density proportional to `sin^{d−2}`."""
    angles = [(1 + x) * mp.pi / 2 for x, _ in _nodes(_LEVEL)]
    weights = [w * mp.sin(theta) ** (dimension - 2) for theta, (_, w) in zip(angles, _nodes(_LEVEL), strict=True)]
    total = mp.fsum(weights)
    return angles, [w / total for w in weights]


@cache
def _polynomials(dimension: int, last: int, points: tuple[float, ...], precision: int) -> list[tuple[list[Any], list[Any]]]:
    """Polynomials of degree 0, 1, …, made orthogonal one after another, by their values at the nodes and at given points."""
    angles, weights = _angles(dimension, precision)
    # The last point is 1, where each is to be 1.
    cosines, extra = [mp.cos(theta) for theta in angles], [mp.mpf(t) for t in (*points, 1)]

    def mean(a: list[Any], b: list[Any]) -> Any:
        return mp.fsum(w * x * y for w, x, y in zip(weights, a, b, strict=True))

    found = [([mp.mpf(1)] * len(cosines), [mp.mpf(1)] * len(extra))]
    for _ in range(last):
        here, there = ([t * v for t, v in zip(grid, values, strict=True)] for grid, values in zip((cosines, extra), found[-1], strict=True))
        for nodes, outside in found:
            part = mean(here, nodes) / mean(nodes, nodes)
            here, there = ([a - part * b for a, b in zip(*pair, strict=True)] for pair in ((here, nodes), (there, outside)))
        scale = there[-1]
        found.append(([v / scale for v in here], [v / scale for v in there]))
    return [(nodes, outside[:-1]) for nodes, outside in found]


def _nodes(level: int) -> list[tuple[Any, Any]]:
    return list(GaussLegendre(mp.mp).calc_nodes(level, mp.mp.prec))


def _rank(matrix: list[list[Fraction]]) -> int:
    rows, rank = [row[:] for row in matrix], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[rank], rows[pivot] = rows[pivot], rows[rank]
        for i in range(rank + 1, len(rows)):
            share = rows[i][column] / rows[rank][column]
            rows[i] = [a - share * b for a, b in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


# Population -----------------------------------------------------------------------------------------------------------------------


def population(rng: Random, index: int) -> Case:
    """Eigenvalues of degrees 0, 1, 2, the last 0 every third time; two teachers of these degrees; samples, a step size, steps, a time."""
    eigenvalues = [abs(dyadic(rng)) for _ in range(3)]
    if index % 3 == 2:
        eigenvalues[index // 3 % 3] = 0.0
    samples = float(rng.randint(3, 50))
    factor = (1.0, 0.3, 1.7)[index % 3]
    return {
        "eigenvalues": eigenvalues,
        "source": teacher(rng),
        "target": teacher(rng),
        "samples": samples,
        "lr": factor * rng.uniform(0.97, 0.999) / (samples * max(eigenvalues)),
        "steps": STEPS[index % len(STEPS)],
        "time": (0.0, 0.3, 2.0)[index % 3] / (samples * max(eigenvalues)),
    }


def teacher(rng: Random) -> dict[str, Any]:
    """`a + w·x + (v·x)² − ‖v‖²/3`."""
    return {"constant": dyadic(rng), "linear": [dyadic(rng) for _ in range(3)], "square": [dyadic(rng) for _ in range(3)]}


def population_error(case: Case) -> Values:
    """Weights on the harmonics of degrees 0, 1, 2, each scaled by the root of its eigenvalue, trained by gradient descent on the mean over
    the sphere (points and weights that integrate it exactly) times the number of samples; mean square of what is left.
    """
    rows, roots = _sphere(case)
    y = _on(rows, case["target"])
    left = y - _features(case, rows) * _trained(case, y, case["steps"])
    return [_mean_square(left, roots)]


def population_flow_error(case: Case) -> Values:
    """The gradient flow of these weights on the mean over the sphere, its equation integrated by Taylor series; mean square of the rest."""
    rows, roots = _sphere(case)
    F, y = _features(case, rows), _on(rows, case["target"])
    G = mp.diag(roots) * F
    H = (G * G.T * case["samples"]).tolist()
    left = mp.matrix(flow(H, list(mp.diag(roots) * y), case["time"]))
    return [2 * half_square(left)]


def population_remaining(case: Case) -> Values:
    """What weights trained on the source teacher in this way leave of the target teacher, split by degree with projections onto the
    harmonics; mean squares.
    """
    rows, roots = _sphere(case)
    left = _on(rows, case["target"]) - _features(case, rows) * _trained(case, _on(rows, case["source"]), case["steps"])
    found = []
    for degree in range(3):
        unit = _features({"eigenvalues": [float(i == degree) for i in range(3)]}, rows)
        found.append(_mean_square(unit * (unit.T * mp.matrix([w * w * v for w, v in zip(roots, left, strict=True)])), roots))
    return found


def population_gain(case: Case) -> Values:
    """One less the distance that these weights move to fit the target teacher everywhere after the source stage, over that without one;
    none where no weights fit it.
    """
    rows, _ = _sphere(case)
    moved = []
    F = _features(case, rows)
    used = [i for i in range(F.cols) if any(F[:, i])]
    F_used = mp.matrix([[F[i, j] for j in used] for i in range(F.rows)])
    for start in (None, _trained(case, _on(rows, case["source"]), case["steps"])):
        y = _on(rows, case["target"])
        y = y if start is None else y - F * start
        weights = least_weights(F_used, y)
        if 2 * half_square(F_used * weights - y) > mp.mpf(10) ** (-mp.mp.dps):
            return [None]
        moved.append(mp.sqrt(2 * half_square(weights)))
    return [1 - moved[1] / moved[0]]


def population_curve(case: Case) -> Values:
    """The mean square of what the source stage leaves of the target teacher, and the squared distance weights then move to fit it
    everywhere (none where no weights fit teachers like these).
    """
    rows, roots = _sphere(case)
    start = _trained(case, _on(rows, case["source"]), case["steps"])
    left = _on(rows, case["target"]) - _features(case, rows) * start
    squared = _mean_square(left, roots)
    if 0.0 in case["eigenvalues"]:
        return [squared, None]
    return [squared, 2 * half_square(least_weights(_features(case, rows), left))]


def _sphere(case: Case) -> tuple[list[list[Any]], list[Any]]:
    """Points on the sphere in three dimensions and roots of their weights, exact for polynomials of degree 4 (5 turns, 3 heights)."""
    rows, roots = [], []
    for z, weight in ((-mp.sqrt(mp.mpf(3) / 5), 5), (mp.mpf(0), 8), (mp.sqrt(mp.mpf(3) / 5), 5)):
        for i in range(5):
            turn, out = 2 * mp.pi * i / 5, mp.sqrt(1 - z * z)
            rows.append([out * mp.cos(turn), out * mp.sin(turn), z])
            roots.append(mp.sqrt(mp.mpf(weight) / 90))
    return rows, roots


def _features(case: Case, rows: list[list[Any]]) -> Any:
    """An orthonormal basis of the harmonics of degrees 0, 1, 2, each function times the root of its eigenvalue."""
    zero, one, two = (mp.sqrt(mp.mpf(v)) for v in case["eigenvalues"])
    three, fifteen = mp.sqrt(3), mp.sqrt(15)
    return mp.matrix(
        [
            [
                zero,
                *(one * three * v for v in (x, y, z)),
                *(two * fifteen * v for v in (x * y, y * z, z * x, (x * x - y * y) / 2, (3 * z * z - 1) / (2 * three))),
            ]
            for x, y, z in rows
        ]
    )


def _on(rows: list[list[Any]], given: dict[str, Any]) -> Any:
    w, v = given["linear"], given["square"]
    length = mp.fsum(mp.mpf(a) ** 2 for a in v)
    return mp.matrix(
        [
            mp.mpf(given["constant"])
            + mp.fsum(a * b for a, b in zip(w, x, strict=True))
            + mp.fsum(a * b for a, b in zip(v, x, strict=True)) ** 2
            - length / 3
            for x in rows
        ]
    )


def _trained(case: Case, y: Any, steps: int | None) -> Any:
    rows, roots = _sphere(case)
    F, y = mp.diag(roots) * _features(case, rows), mp.diag(roots) * y
    return train(F, y, zeros(F, y), mp.mpf(case["lr"]) * case["samples"], steps)


def _mean_square(left: Any, roots: list[Any]) -> Any:
    return mp.fsum((w * v) ** 2 for w, v in zip(roots, left, strict=True))
