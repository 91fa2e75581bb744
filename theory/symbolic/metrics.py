"""The gain in the `H_Q⁻¹` metric against the gradient energies, which are in the Euclidean one."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, line

least, more = sp.symbols("lambda_1 d", positive=True)
a_1, a_2 = sp.symbols("a_1 a_2", real=True)
energy, scratch = sp.symbols("E E_0", positive=True)
short, long = sp.symbols("s l", nonnegative=True)
ratio, condition = sp.symbols("rho kappa", positive=True)
before = sp.Symbol("D_0", positive=True)
largest = least + more


@cache
def gain_range() -> Chain:
    """Each quadratic form between its extremes; their ratio; the gain."""
    form, square = a_1**2 / least + a_2**2 / largest, a_1**2 + a_2**2
    # D falls short of its bound by s, D_0 is above its own by l.
    quotient = (energy / least - short) / (scratch / largest + long)
    reverse = (energy / largest + long) / before
    return Chain(
        title="The gain from gradient energies",
        steps=(
            *line(form, ("ỹᵀH_Q⁻¹ỹ on two modes: each eigenvalue is at least λ_min = λ_1", square / least, "simplify", "≤")),
            *line(square / largest, ("and at most λ_max = λ_1 + d", form, "simplify", "≤")),
            *line(
                quotient,
                (
                    "so D = ỹᵀH_Q⁻¹ỹ is E/λ_min − s and D_0 = y_QᵀH_Q⁻¹y_Q is E_0/λ_max + l with s, l ≥ 0: at most κ times E/E_0",
                    energy / scratch * largest / least,
                    "simplify",
                    "≤",
                ),
            ),
            *line(
                energy / (least * (before + short)) * least / largest,
                (
                    "with D = E/λ_max + l and E_0 = λ_min (D_0 + s): at least E/E_0 over κ",
                    reverse,
                    "simplify",
                    "≤",
                ),
            ),
            *line(
                energy / scratch * largest / least,
                ("ρ = E/E_0, κ = λ_max/λ_min", ratio * condition),
            ),
            *line(1 - sp.sqrt(ratio * condition), ("G = 1 − √(D/D_0) at the largest D/D_0", 1 - sp.sqrt(condition) * sp.sqrt(ratio))),
            *line(1 - sp.sqrt(ratio / condition), ("and at the least", 1 - sp.sqrt(ratio) / sp.sqrt(condition))),
        ),
        results={"low": 1 - sp.sqrt(condition) * sp.sqrt(ratio), "high": 1 - sp.sqrt(ratio) / sp.sqrt(condition)},
        where={ratio: energy / scratch, condition: largest / least},
        ranges={
            **{s: between(Fraction(1, 5), 2) for s in (least, more)},
            **{s: between(-2, 2) for s in (a_1, a_2)},
            **{s: between(1, 2) for s in (energy, scratch, before)},
            **{s: between(0, 2) for s in (short, long)},
        },
    )
