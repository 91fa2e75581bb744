"""The gain under the best linear map of the source labels, `1 − √(1 − R²)`: least squares in the `H_Q⁻¹` inner product."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import at, between, line

s, t = sp.symbols("s t", real=True)
yy, first, second = sp.symbols("A C_11 C_22", positive=True)
y_first, y_second, mixed = sp.symbols("B_1 B_2 C_12", real=True)
squared = sp.Symbol("R2", positive=True)
left = yy - 2 * s * y_first - 2 * t * y_second + s**2 * first + 2 * s * t * mixed + t**2 * second


@cache
def chain() -> Chain:
    """Two source labels: slopes, their zero, the least value, what other maps leave; any number by the same algebra."""
    determinant = first * second - mixed**2
    best_s, best_t = (second * y_first - mixed * y_second) / determinant, (first * y_second - mixed * y_first) / determinant
    explained = (second * y_first**2 - 2 * mixed * y_first * y_second + first * y_second**2) / determinant
    gain = 1 - sp.sqrt(1 - squared)
    u, v = s - best_s, t - best_t
    return Chain(
        title="Gain at the best linear map of the source labels",
        steps=(
            *line(sp.Derivative(left, s), ("slope in the first weight", 2 * (s * first + t * mixed - y_first), "evaluate")),
            *line(sp.Derivative(left, t), ("slope in the second", 2 * (s * mixed + t * second - y_second), "evaluate")),
            *line(
                at(at(2 * (s * first + t * mixed - y_first), s, best_s), t, best_t),
                ("the first is zero at C⁻¹B", sp.Integer(0), "evaluate"),
            ),
            *line(
                at(at(2 * (s * mixed + t * second - y_second), s, best_s), t, best_t),
                ("so is the second", sp.Integer(0), "evaluate"),
            ),
            *line(at(at(left, s, best_s), t, best_t), ("what is left there: A − BᵀC⁻¹B", yy - explained, "evaluate")),
            *line(
                left - (yy - explained),
                ("every other map leaves more, by a form that is not negative", first * u**2 + 2 * mixed * u * v + second * v**2),
            ),
            *line(
                1 - sp.sqrt((yy - explained) / yy),
                ("the gain there, with R² = BᵀC⁻¹B/A the squared multiple correlation", gain),
            ),
        ),
        results={"gain": gain},
        where={squared: explained / yy},
        ranges={
            s: between(-2, 2),
            t: between(-2, 2),
            yy: between(1, 2),
            first: between(1, 2),
            second: between(1, 2),
            mixed: between(Fraction(-1, 2), Fraction(1, 2)),
            y_first: between(Fraction(-1, 2), Fraction(1, 2)),
            y_second: between(Fraction(-1, 2), Fraction(1, 2)),
        },
    )
