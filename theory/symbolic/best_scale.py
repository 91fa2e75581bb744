"""The gain under the best rescaling of the source labels, `1 − √(1 − cos²)`."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import at, between, line

s = sp.Symbol("s", real=True)
yy, tt = sp.symbols("A C", positive=True)
yt = sp.Symbol("B", real=True)
left = yy - 2 * s * yt + s**2 * tt
best = 1 - sp.sqrt(1 - yt**2 / (yy * tt))


@cache
def chain() -> Chain:
    """A parabola in the scale: its slope, its vertex, its least value, the gain there."""
    least = yy - yt**2 / tt
    return Chain(
        title="Gain at the best scale",
        steps=(
            *line(sp.Derivative(left, s), ("‖y_Q − s y_{P→Q}‖² = A − 2sB + s²C: slope", 2 * (s * tt - yt), "evaluate")),
            *line(at(2 * (s * tt - yt), s, yt / tt), ("zero at s = B/C", sp.Integer(0), "evaluate")),
            *line(sp.Derivative(left, s, 2), ("a minimum: the curvature is positive", 2 * tt, "evaluate")),
            *line(at(left, s, yt / tt), ("its value", least, "evaluate")),
            *line(left - least, ("and every other scale leaves more", tt * (s - yt / tt) ** 2)),
            *line(1 - sp.sqrt(least / yy), ("the gain there, with cos² = B²/(AC)", best)),
        ),
        results={"gain": best},
        ranges={s: between(-2, 2), yy: between(1, 2), tt: between(1, 2), yt: between(Fraction(-9, 10), Fraction(9, 10))},
    )
