"""Gradient descent on a Gram matrix does not diverge iff `η ≤ 2/λ_max`."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import at, between, c, eta, k, lam, line

excess = sp.Symbol("delta", real=True)


@cache
def chain() -> Chain:
    """What one step does to the energy of a mode, and where the sign of that changes."""
    left = 1 - eta * lam
    margin = eta * lam * (2 - eta * lam)
    return Chain(
        title="Stable step sizes",
        steps=(
            *line(
                c**2 - (left * c) ** 2,
                ("energy that one step removes from a mode", c**2 * margin),
            ),
            *line(
                c**2 * left ** (2 * k) - c**2 * left ** (2 * (k + 1)),
                ("and step k + 1: the same factor, whatever k", c**2 * left ** (2 * k) * margin),
            ),
            *line(
                at(margin, eta, 2 / lam * (1 + excess)),
                ("at η = (2/λ)(1 + δ) the factor changes sign at δ = 0", -4 * excess * (1 + excess), "evaluate"),
            ),
            *line(1 - left**2, ("so no mode grows iff this is not negative for λ_max, that is η ≤ 2/λ_max", margin)),
        ),
        results={"margin": margin},
        ranges={excess: between(Fraction(-1, 2), Fraction(1, 2))},
    )
