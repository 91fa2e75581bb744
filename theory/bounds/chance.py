"""Tails of sums over independent neurons, with their constants."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from theory.errors import InvalidInput
from theory.problem import whole

# Below this the power series is exact to rounding with 22 terms.
_SERIES = 0.2


def check_delta(delta: Any) -> float:
    """`delta` as a float; `InvalidInput` unless it lies in (0, 1)."""
    if isinstance(delta, bool) or not isinstance(delta, Real) or not 0 < float(delta) < 1:
        raise InvalidInput(f"delta is {delta!r}; a number between 0 and 1, both excluded, is allowed")
    return float(delta)


def check_trials(trials: int) -> int:
    """`trials` as an int; `InvalidInput` unless it is a whole number from 1."""
    if whole(trials, "the number of independent trials") < 1:
        raise InvalidInput("the number of independent trials is 0; a whole number ≥ 1 is allowed")
    return int(trials)


def divergence(f: float, p: float) -> float:
    """`kl(f‖p) = f log(f/p) + (1 − f) log((1 − f)/(1 − p))`, between Bernoulli distributions."""
    if not 0 <= f <= 1 or not 0 <= p <= 1:
        raise InvalidInput(f"shares are {f!r} and {p!r}; numbers from 0 to 1 are allowed")

    if f == p:
        return 0.0
    if p in (0, 1):
        return math.inf
    return p * _excess((f - p) / p) + (1 - p) * _excess((p - f) / (1 - p))


def _excess(u: float) -> float:
    """`(1 + u) log(1 + u) − u ≥ 0`: of these `kl` is a sum without cancellation."""
    if u <= -1:
        return 1.0
    if abs(u) > _SERIES:
        return (1 + u) * math.log1p(u) - u
    return math.fsum((-u) ** n / (n * (n - 1)) for n in range(2, 24))


def most_successes(p: float, trials: int, delta: float) -> float:
    """The share `f ≥ p` of successes that `trials` independent trials of probability `p` exceed with probability at most `δ`.

    Solves `kl(f‖p) = log(1/δ)/m`; of all bounds through exponential moments the least. Between Hoeffding's `p + √(log(1/δ)/2m)` and, for
    small `p`, Bernstein's `p + √(2p log(1/δ)/m) + …`.

    Source: Chernoff 1952; Hoeffding 1963, theorem 1.
    """
    goal = math.log(1 / check_delta(delta)) / check_trials(trials)
    if p == 0:
        return 0.0
    if divergence(1.0, p) <= goal:
        return 1.0
    low, high = p, 1.0
    while high - low > 1e-14 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if divergence(middle, p) < goal else (low, middle)
        if middle in (low, high) and (low + high) / 2 in (low, high):
            break
    return high


def bernstein_deviation(variance: float, largest: float, dimension: int, trials: int, delta: float) -> float:
    """The norm that the mean of independent symmetric `n × n` matrices of mean zero exceeds with probability at most `δ`.

    `√(2 v L/m) + 2 b L/(3m)` at most, with `L = log(2n/δ)`; here the exact root of `m t²/2 = L (v + b t/3)`.

    Parameters
    ----------
    variance : float
        `v = ‖E A²‖`, of one matrix.
    largest : float
        `b ≥ ‖A‖`, always.
    dimension : int
        `n`.
    trials : int
        `m`.
    delta : float in (0, 1)

    Source: Tropp 2012 (arXiv 1004.4389), theorem 1.4, for both ends of the spectrum.
    """
    weight = math.log(2 * dimension / check_delta(delta)) / check_trials(trials)
    half = largest * weight / 3
    return half + math.sqrt(half**2 + 2 * variance * weight)


def deviation_of_mean(variance: float, change: float, trials: int, delta: float) -> float:
    """The Frobenius norm that the mean of independent matrices of mean zero exceeds with probability at most `δ`.

    `√(V/m) + b√(log(1/δ)/(2m))`.

    Parameters
    ----------
    variance : float
        `V = E‖A‖_F²`, of one matrix.
    change : float
        `b`: what `‖A − A'‖_F` is at most.
    trials : int
        `m`.
    delta : float in (0, 1)

    Source: Jensen's inequality for the mean, McDiarmid 1989 for the deviation from it.
    """
    return math.sqrt(variance / check_trials(trials)) + change * math.sqrt(math.log(1 / check_delta(delta)) / (2 * trials))
