"""Duals of `x^n`, `n = 1 … 4`: normal moments and a binomial sum."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Expression
from theory.symbolic.notation import between, line, whole

s, t = sp.symbols("s t", positive=True)
rho = sp.Symbol("rho", real=True)
g = sp.Symbol("g", real=True)

k = sp.Symbol("k", integer=True, positive=True)

_SHAPES: tuple[Expression, ...] = (sp.Integer(1), rho, 1 + 2 * rho**2, 9 * rho + 6 * rho**3, 9 + 72 * rho**2 + 24 * rho**4)


def dual(power: int) -> Expression:
    """`E[uⁿ vⁿ]` for `u, v` of standard deviations `s, t` and correlation `ρ`."""
    return (s * t) ** power * _SHAPES[power]


@cache
def chain() -> Chain:
    """`u = s g`, `v = t(ρ g + √(1 − ρ²) h)` with independent standard normal `g, h`; powers 1 to 4, each tied to the one below."""
    moments = [sp.factorial2(n - 1) if n % 2 == 0 else sp.Integer(0) for n in range(9)]
    density = sp.exp(-(g**2) / 2) / sp.sqrt(2 * sp.pi)
    steps = [
        *line(sp.Integral(density, (g, -sp.oo, sp.oo)), ("the normal density", sp.Integer(1), "evaluate")),
        *line(
            sp.Derivative(g**k * density, g),
            (
                "integrated over the line, 0 = k E[g^(k−1)] − E[g^(k+1)]: even moments are 1, 3, 15, 105",
                (k * g ** (k - 1) - g ** (k + 1)) * density,
                "evaluate",
            ),
        ),
    ]
    for n in range(1, 5):
        terms = [
            sp.binomial(n, j) * rho**j * (1 - rho**2) ** sp.Rational(n - j, 2) * moments[n + j] * moments[n - j]
            for j in range(n % 2, n + 1, 2)
        ]
        steps += line((s * t) ** n * sp.Add(*terms), (f"E[u^{n} v^{n}], the power of ρ g + √(1 − ρ²) h multiplied out", dual(n), "expand"))
        steps += line(
            sp.Derivative(dual(n), rho) / (s * t),
            ("Price's theorem: d E[σσ]/d(s t ρ) = E[σ'σ']", n**2 * dual(n - 1), "evaluate"),
        )
    results = {f"dual {n}": dual(n) for n in range(1, 5)} | {f"derivative dual {n}": n**2 * dual(n - 1) for n in range(1, 5)}
    return Chain(
        title="Duals of monomials",
        steps=tuple(steps),
        results=results,
        ranges={s: between(0, 3), t: between(0, 3), rho: between(-1, 1), g: between(-2, 2), k: whole(1, 7)},
    )
