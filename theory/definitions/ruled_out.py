"""A fresh output head, and the Hessian of a small ReLU net, from first principles."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from random import Random
from typing import Any

import mpmath as mp

from theory.definitions import cases
from theory.definitions.gaussian import both_active, dot
from theory.formula import Case, Values

_NEURONS = 2


def draw_fresh(rng: Random, index: int) -> Case:
    """Source inputs, coefficients and a target input, in the plane or, every fourth time, in space; signs of the old head."""
    d = 3 if index % 4 == 3 else 2
    n_P, c = (2, 1) if d == 3 else (3, 1 + index % 2)
    return {
        "source_inputs": cases.rows(rng, n_P, d),
        "coefficients": cases.rows(rng, n_P, c),
        "target_inputs": cases.rows(rng, 1 if d == 3 else 2, d),
        "signs": [rng.choice((-1, 1)) for _ in range(_NEURONS)],
    }


def draw_net(rng: Random, index: int) -> Case:
    """Weights, readouts of one or two outputs, inputs and labels of a small net; no input within a hundredth of a kink."""
    n, d, m, c = 2, 2, 4, 1 + index % 2
    while True:
        W, X = cases.rows(rng, m, d), cases.rows(rng, n, d)
        if min(abs(sum(a * b for a, b in zip(w, x, strict=True))) for w in W for x in X) > 0.01:
            break
    signs = [[float(rng.choice((-1, 1))) for _ in range(c)] for _ in range(m)]
    return {"weights": W, "readouts": signs, "inputs": X, "labels": cases.rows(rng, n, c)}


def fresh_head(case: Case) -> Values:
    """Mean square of what pretraining adds to an output of a net of two neurons, times two: every choice of new signs in turn, neurons'
    directions uniform; a neuron's mean and mean square summed over the arcs of directions between kinks in the plane, over half-spaces
    by quadrature in space.
    """
    old, m = case["signs"], _NEURONS
    values: Values = []
    for x in case["target_inputs"]:
        total = mp.mpf(0)
        for column in range(len(case["coefficients"][0])):
            alpha = [row[column] for row in case["coefficients"]]
            first, second = (_in_the_plane if len(x) == 2 else _in_space)(case["source_inputs"], alpha, x)
            for new in product((-1, 1), repeat=m):
                signs = [a * b for a, b in zip(new, old, strict=True)]
                moments = ((second if r == s else first**2) * signs[r] * signs[s] for r in range(m) for s in range(m))
                total += mp.fsum(moments) / mp.mpf(m) ** 2 / 2**m
        values.append(m * total)
    return values


def _in_the_plane(X: Sequence[Sequence[float]], alpha: Sequence[float], x: Sequence[float]) -> tuple[Any, Any]:
    """Mean and mean square of `g = Σ_p α_p x_p·x 1{w·x_p ≥ 0} 1{w·x ≥ 0}`: it is constant on arcs of directions of `w`."""
    kinks = sorted((mp.atan2(z[1], z[0]) + turn) % (2 * mp.pi) for z in (*X, x) for turn in (mp.pi / 2, -mp.pi / 2))
    first = second = mp.mpf(0)
    for start, end in zip(kinks, [*kinks[1:], kinks[0] + 2 * mp.pi], strict=True):
        middle = (start + end) / 2
        w = (mp.cos(middle), mp.sin(middle))
        g = mp.fsum(a * dot(z, x) for a, z in zip(alpha, X, strict=True) if dot(w, z) > 0) if dot(w, x) > 0 else mp.mpf(0)
        share = (end - start) / (2 * mp.pi)
        first, second = first + share * g, second + share * g * g
    return first, second


def _in_space(X: Sequence[Sequence[float]], alpha: Sequence[float], x: Sequence[float]) -> tuple[Any, Any]:
    z = [a * dot(row, x) for a, row in zip(alpha, X, strict=True)]
    pairs = [(i, j) for i in range(len(X)) for j in range(len(X))]
    alone = [both_active(x, row, 1.0) for row in X]
    triple = {(i, j): all_active(x, X[i], X[j]) for i, j in pairs if i < j}
    first = mp.fsum(v * p for v, p in zip(z, alone, strict=True))
    second = mp.fsum(z[i] * z[j] * (alone[i] if i == j else triple[min(i, j), max(i, j)]) for i, j in pairs)
    return first, second


def all_active(x: Sequence[float], p: Sequence[float], q: Sequence[float]) -> Any:
    """`P(w·x ≥ 0, w·p ≥ 0, w·q ≥ 0)` in space: the area of the sphere on which they hold, integrated over the azimuth round `x`.

    At each azimuth `ψ` the condition `cos ϑ a + sin ϑ b(ψ) ≥ 0` leaves an interval of polar angles `ϑ ≤ π/2`, whose area is the
    difference of their cosines.
    """
    frame = _frame(x)
    sides = [tuple(dot(row, e) for e in frame) for row in (p, q)]

    def bound(a: Any, b: Any) -> tuple[Any, Any]:
        """Cosines of the ends of the interval, larger first; (0, 1) where it is empty."""
        if a >= 0 and b >= 0:
            return mp.mpf(1), mp.mpf(0)
        turn = abs(b) / mp.hypot(a, b)
        if a >= 0:
            return mp.mpf(1), turn
        return (turn, mp.mpf(0)) if b > 0 else (mp.mpf(0), mp.mpf(1))

    def width(azimuth: Any) -> Any:
        cosine, sine = mp.cos(azimuth), mp.sin(azimuth)
        ends = [bound(a, u * cosine + v * sine) for a, u, v in sides]
        return max(min(high for high, _ in ends) - max(low for _, low in ends), mp.mpf(0))

    (a, u, v), (b, s, t) = sides
    # Where a condition, or which of the two binds, changes.
    edges = [mp.atan2(second, first) + mp.pi / 2 for first, second in ((u, v), (s, t), (a * s - b * u, a * t - b * v))]
    points = sorted({(edge + turn) % (2 * mp.pi) for edge in edges for turn in (0, mp.pi)})
    whole = [*points, points[0] + 2 * mp.pi]
    return mp.quad(width, whole, method="gauss-legendre") / (4 * mp.pi)


def _frame(x: Sequence[float]) -> list[list[Any]]:
    """`x` as a unit vector, and two across it and each other."""
    size = mp.sqrt(dot(x, x))
    first = [v / size for v in x]
    axis = min(range(3), key=lambda i: abs(first[i]))
    across = [(mp.mpf(1) if i == axis else mp.mpf(0)) - first[axis] * v for i, v in enumerate(first)]
    size = mp.sqrt(dot(across, across))
    second = [v / size for v in across]
    i, j, k = first, second, range(3)
    return [first, second, [i[(n + 1) % 3] * j[(n + 2) % 3] - i[(n + 2) % 3] * j[(n + 1) % 3] for n in k]]


def hessian(case: Case) -> Values:
    """The largest eigenvalues of the Hessian in all weights of the loss ½‖u − y‖² of a small ReLU net, by second differences of the
    loss, which is quadratic between kinks; as many as there are outputs.
    """
    W, a, X, Y = case["weights"], case["readouts"], case["inputs"], case["labels"]
    m, d = len(W), len(W[0])

    def loss(shift: dict[int, Any]) -> Any:
        moved = [[mp.mpf(W[r][i]) + shift.get(r * d + i, 0) for i in range(d)] for r in range(m)]
        total = mp.mpf(0)
        for x, y in zip(X, Y, strict=True):
            active = [max(dot(w, x), mp.mpf(0)) for w in moved]
            for k, label in enumerate(y):
                total += (mp.fsum(a[r][k] * h for r, h in enumerate(active)) / mp.sqrt(m) - label) ** 2 / 2
        return total

    step, here = mp.mpf(2) ** -40, loss({})
    alone = [loss({i: step}) for i in range(m * d)]
    H = mp.matrix(m * d)
    for i in range(m * d):
        for j in range(i + 1):
            both = loss({i: step, j: step} if i != j else {i: 2 * step})
            H[i, j] = H[j, i] = (both - alone[i] - alone[j] + here) / step**2
    return sorted(mp.eigsy(H, eigvals_only=True))[-len(X) * len(Y[0]) :]
