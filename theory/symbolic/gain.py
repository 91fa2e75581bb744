"""The gain `1 − √(ỹᵀH_Q⁻¹ỹ / y_QᵀH_Q⁻¹y_Q)` and when it is negative."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic import displacement, filters
from theory.symbolic.notation import at, between, c, k, lam, line

b = sp.Symbol("b", real=True)
yy, tt, yt, left = sp.symbols("A C B D", positive=True)
ratio = 1 - sp.sqrt(left / yy)
excess = (tt - 2 * yt) / yy


@cache
def chain() -> Chain:
    """Both displacements to the end, mode by mode, and one less their ratio."""
    end = displacement.squared().results["end"]
    return Chain(
        title="Transfer gain",
        steps=(
            *line(
                sp.Limit(c**2 * (1 - filters.shrink**k) ** 2 / lam, k, sp.oo),
                ("squared displacement of a mode, to the end, with |1 − ηλ| = 1/(1 + μ)", end, "evaluate"),
            ),
            *line(
                1 - sp.sqrt(left) / sp.sqrt(yy),
                ("1 − displacement from W(P) / displacement from W(0), D = Σ c²/λ for ỹ and A for y_Q", ratio),
            ),
            *line(at(ratio, left, yy), ("nothing transferred, D = A: no gain", sp.Integer(0), "evaluate")),
            *line(at(ratio, left, 0), ("everything transferred, D = 0: perfect", sp.Integer(1), "evaluate")),
        ),
        results={"mode": end, "gain": ratio},
        ranges={**filters.SHRINK_RANGE, left: between(0, 4), yy: between(1, 2)},
    )


@cache
def negative() -> Chain:
    """`G < 0` iff `‖y_{P→Q}‖² > 2⟨y_Q, y_{P→Q}⟩` in the `H_Q⁻¹` inner product."""
    return Chain(
        title="Negative transfer",
        steps=(
            *line((c - b) ** 2 / lam, ("on a mode ỹ = c − b: multiply out", c**2 / lam - 2 * c * b / lam + b**2 / lam)),
            *line(
                (1 - ratio) ** 2 - 1,
                ("(1 − G)² = D/A", left / yy - 1),
                ("D = A − 2B + C, summed over modes", excess),
            ),
        ),
        results={"excess": excess},
        # B ≤ A/2 keeps D positive, as the Cauchy-Schwarz inequality does for true inner products.
        where={left: yy - 2 * yt + tt},
        ranges={yy: between(1, 2), yt: between(0, Fraction(1, 2)), tt: between(1, 2), b: between(-2, 2)},
    )
