"""Extremes of a fraction over whole numbers, by Dinkelbach's method.

That a fraction `a(k)/b(k)`, `b > 0`, is above `s` is a sign of `a(k) − s·b(k)`, which for a fixed `s` can be searched like any other
function. At the `s` of one `k`, the `k` at which that is extreme has a fraction at least as good, and gives the next `s`.

Source: Dinkelbach 1967, "On nonlinear fractional programming". It converges faster than linearly, and over a finite set it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from theory.errors import NotConverged
from theory.numeric.spectrum import Steps

_ROUNDS = 200

Fraction = Callable[[Steps], float]
Lowest = Callable[[float], Steps]
"""The `k` at which `G_s = F + s·N` is lowest; `None` for the limit."""


def least_fraction(fraction: Fraction, lowest_at: Lowest, first: Sequence[int]) -> float:
    """Least value of `(F(k) − F(∞))/(N(∞) − N(k))`, and 0 for less; `first` are the `k` to begin with."""
    best = max(min(map(fraction, first)), 0.0)
    for _ in range(_ROUNDS):
        # (The limit itself is no `k`: where it is lowest, no `k` has a smaller fraction.)
        if best == 0 or best == float("inf") or (k := lowest_at(best)) is None or not (found := fraction(k)) < best:
            return best
        best = max(found, 0.0)
    raise _unsettled(best)


def largest_fraction(fraction: Fraction, lowest_at: Lowest, first: Sequence[int]) -> float:
    """Largest value of `(F(0) − F(k))/N(k)`, the limit included, and 0 for less; `first` are the `k` to begin with."""
    best = max(*map(fraction, first), 0.0)
    for _ in range(_ROUNDS):
        if not (found := fraction(lowest_at(best))) > best:
            return best
        best = found
    raise _unsettled(best)


def _unsettled(best: float) -> NotConverged:
    return NotConverged(f"{_ROUNDS} rounds did not settle the search for an extreme fraction; the last is {best:.6g}")
