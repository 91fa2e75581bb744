"""What decides whether pretraining turns, from both stages of a linear model run literally."""

from __future__ import annotations

from itertools import pairwise, permutations
from typing import Any

import mpmath as mp

from theory.definitions.linear_model import half_square, least_weights, matrix, zeros
from theory.definitions.pretraining import QUANTITIES, curve, pretrained, quantities, source_noise, trace
from theory.formula import Case, Values


def turn_bound(case: Case) -> Values:
    """Exponentials with bases 1, qᵢ and qᵢqⱼ fitted to the values of a quantity from gradient descent, run literally; sign changes in the
    partial sums of the coefficients of its differences, slowest first, and the turns they leave.
    """
    F = matrix(case["source_features"])
    q = [1 - mp.mpf(case["source_lr"]) * value for value in mp.eigsy(F * F.T, eigvals_only=True)]
    bases = [mp.mpf(1), *q, *(q[i] * q[j] for i in range(len(q)) for j in range(i + 1))]
    run = trace(case, len(bases) - 1)
    weights = mp.lu_solve(mp.matrix([[base**k for base in bases] for k in range(len(bases))]), mp.matrix(run))
    terms = sorted(zip(bases[1:], list(weights)[1:], strict=True), key=lambda term: -term[0])
    signs, total = [], mp.mpf(0)
    for base, weight in terms:
        total += (base - 1) * weight
        signs.append(mp.sign(total))
    changes = sum(a != b for a, b in pairwise(signs))
    falls = run[1] < run[0]
    return [changes, (changes + 1) // 2 if falls else changes // 2]


def late_trend(case: Case) -> Values:
    """The sign of what one more source step changes, so late that the quantity has all but reached its limit; from gradient steps composed
    with themselves.
    """
    return [_late_sign(case)]


def turn_is_certain(case: Case) -> Values:
    """Whether the quantity falls at the first source step and rises at one near its limit; from gradient steps run literally."""
    run = trace(case, 1)
    return [bool(run[1] < run[0] and _late_sign(case) > 0)]


def mean_curve(case: Case) -> Values:
    """The three quantities from both stages run literally, and the mean share of noise in each label column, for noise at one source point
    at a time.
    """
    columns = len(case["source_labels"][0])
    return [value + columns * share for value, share in zip(curve(case), source_noise(case), strict=True)]


def noise_window(case: Case) -> Values:
    """Over all source steps up to last: the least (F(k) − F(∞))/(N(∞) − N(k)) and the largest (F(0) − F(k))/N(k), not below 0, with F a
    quantity from gradient descent run literally and N the sum of it over source labels of one at one point and zero elsewhere.
    """
    chosen, last, columns = QUANTITIES.index(case["quantity"]), case["last"], len(case["source_labels"][0])
    run, end = trace(case, last), curve({**case, "source_steps": None})[chosen]
    none = {name: [[0.0] for _ in case[name]] for name in ("target_labels", "test_labels", "start")}
    n = len(case["source_features"])
    noise, noise_end = [mp.mpf(0)] * (last + 1), mp.mpf(0)
    for point in range(n):
        alone = {**case, **none, "source_labels": [[float(i == point)] for i in range(n)], "source_steps": None}
        noise = [total + columns * share for total, share in zip(noise, trace(alone, last), strict=True)]
        noise_end += columns * curve(alone)[chosen]
    low = min((run[k] - end) / (noise_end - noise[k]) for k in range(1, last + 1))
    high = max([(run[0] - run[k]) / noise[k] for k in range(1, last + 1)] + [(run[0] - end) / noise_end])
    return [max(low, mp.mpf(0)), max(high, mp.mpf(0))]


def contributions(case: Case) -> Values:
    """What the source stage does to the weights, split along eigenvectors of its second moment: each part's share of its limit; what adding
    the part changes, mean over all orders of adding them; the slope there; and the best share of the part's limit on its own.
    """
    chosen, start = QUANTITIES.index(case["quantity"]), matrix(case["start"])
    F = matrix(case["source_features"])
    _, vectors = mp.eigsy(F.T * F)
    n = F.rows
    # A regular source has as many directions as points, those of the largest eigenvalues.
    directions = [vectors[:, i] for i in range(F.cols - n, F.cols)]

    def value(weights: Any) -> Any:
        return quantities(case, weights)[chosen]

    def parts(steps: int | None) -> list[Any]:
        moved = pretrained(case, steps) - start
        return [v * (v.T * moved) for v in directions]

    now, end = parts(case["source_steps"]), parts(None)
    shares = [_inner(a, b) / _inner(b, b) for a, b in zip(now, end, strict=True)]
    known: dict[frozenset[int], Any] = {}

    def of(chosen_parts: frozenset[int]) -> Any:
        if chosen_parts not in known:
            known[chosen_parts] = value(sum((now[i] for i in chosen_parts), start))
        return known[chosen_parts]

    orders = list(permutations(range(n)))
    changes = [
        mp.fsum(of(frozenset(order[: order.index(i) + 1])) - of(frozenset(order[: order.index(i)])) for order in orders) / len(orders)
        for i in range(n)
    ]
    here = sum(now, start)
    slopes = [(value(here + part) - value(here - part)) / 2 for part in end]
    best = [_least_on_a_line(lambda s, part=part: value(start + s * part)) for part in end]
    return [*shares, *changes, *slopes, *best]


def explained(case: Case) -> Values:
    """Over the first j source points: squared displacement and squared target residual without pretraining less those after pretraining to
    the end on labels of the same teacher, summed over teachers that are one weight each; all trained to the end.
    """
    F_P, F_Q = matrix(case["source_features"]), matrix(case["target_features"])
    moved, left = [], []
    for count in range(1, F_P.rows + 1):
        gains = [mp.mpf(0), mp.mpf(0)]
        for weight in range(F_P.cols):
            teacher = mp.matrix([mp.mpf(i == weight) for i in range(F_P.cols)])
            learnt = least_weights(F_P[:count, :], F_P[:count, :] * teacher)
            for i, (before, after) in enumerate(zip(_costs(F_Q, F_Q * teacher), _costs(F_Q, F_Q * (teacher - learnt)), strict=True)):
                gains[i] += before - after
        moved.append(gains[0])
        left.append(gains[1])
    return [*moved, *left]


def noise_by_points(case: Case) -> Values:
    """Over the first j source points: squared displacement and squared target residual on target labels of zero after pretraining on a
    label of one at one point and zero elsewhere, summed over these points; all trained to the end.
    """
    F_P, F_Q = matrix(case["source_features"]), matrix(case["target_features"])
    moved, left = [], []
    for count in range(1, F_P.rows + 1):
        totals = [mp.mpf(0), mp.mpf(0)]
        for point in range(count):
            learnt = least_weights(F_P[:count, :], mp.matrix([mp.mpf(i == point) for i in range(count)]))
            totals = [total + cost for total, cost in zip(totals, _costs(F_Q, -(F_Q * learnt)), strict=True)]
        moved.append(totals[0])
        left.append(totals[1])
    return [*moved, *left]


def _costs(F: Any, remaining: Any) -> tuple[Any, Any]:
    """Squared displacement to the end, and squared residual at the start."""
    weights = least_weights(F, remaining)
    return 2 * half_square(weights - zeros(F, remaining)), 2 * half_square(remaining)


def _inner(a: Any, b: Any) -> Any:
    return mp.fsum(x * y for x, y in zip(a, b, strict=True))


def _least_on_a_line(parabola: Any) -> Any:
    """Where in [0, 1] a parabola is least, from three of its values."""
    at_0, at_half, at_1 = (parabola(mp.mpf(s)) for s in (0, 0.5, 1))
    curvature, slope = 2 * (at_0 - 2 * at_half + at_1), -3 * at_0 + 4 * at_half - at_1
    return min(max(-slope / (2 * curvature), mp.mpf(0)), mp.mpf(1))


def _late_sign(case: Case) -> int:
    F, Y, chosen = matrix(case["source_features"]), matrix(case["source_labels"]), QUANTITIES.index(case["quantity"])
    lr, start = mp.mpf(case["source_lr"]), matrix(case["start"])
    step, shift = mp.eye(F.cols) - lr * (F.T * F), lr * (F.T * Y)
    end = curve({**case, "source_steps": None})[chosen]
    A, b = step, shift
    while True:
        weights = A * start + b
        value = quantities(case, weights)[chosen]
        # Far enough for one mode to be left, near enough for the working precision to see it.
        if abs(value - end) < mp.mpf(10) ** -25 * abs(end):
            return int(mp.sign(quantities(case, step * weights + shift)[chosen] - value))
        A, b = A * A, A * b + b
