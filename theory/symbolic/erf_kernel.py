"""Dual of erf: that of its derivative is a Gaussian integral, and Price's theorem integrates it."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Expression, Step
from theory.symbolic.notation import at, between, line

p, q = sp.symbols("p q", positive=True)
c = sp.Symbol("c", real=True)
x, y = sp.symbols("x y", real=True)
first, last = sp.symbols("alpha gamma", positive=True)
mixed = sp.Symbol("beta", real=True)

COVARIANCE = sp.ImmutableMatrix([[p, c], [c, q]])

# A positive definite covariance and precision for every draw.
RANGES = {
    p: between(1, 3),
    q: between(1, 3),
    c: between(-1, 1),
    first: between(1, 3),
    last: between(1, 3),
    mixed: between(-1, 1),
    x: between(-2, 2),
    y: between(-2, 2),
}

DUAL: Expression = 2 / sp.pi * sp.asin(2 * c / sp.sqrt((1 + 2 * p) * (1 + 2 * q)))
DERIVATIVE_DUAL: Expression = 4 / (sp.pi * sp.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c**2))


def gaussian_integral() -> tuple[Step, ...]:
    """`∫∫ exp(−(α u² + 2β u v + γ v²)/2) = 2π/√(αγ − β²)`, one variable after the other."""
    over = sp.Integral(sp.exp(-(first * x**2 + 2 * mixed * x * y) / 2), (x, -sp.oo, sp.oo))
    inner = sp.sqrt(2 * sp.pi / first) * sp.exp(mixed**2 * y**2 / (2 * first))
    rest = sp.Symbol("delta", positive=True)
    outer = sp.Integral(sp.exp(-rest * y**2 / 2), (y, -sp.oo, sp.oo))
    return (
        *line(over, ("a Gaussian integral over u, the square completed", inner, "evaluate")),
        *line(outer, ("what is left over v, with δ = γ − β²/α", sp.sqrt(2 * sp.pi / rest), "evaluate")),
        *line(
            sp.sqrt(2 * sp.pi / first) * sp.sqrt(2 * sp.pi / (last - mixed**2 / first)),
            ("their product is 2π over the root of the precision's determinant", 2 * sp.pi / sp.sqrt(first * last - mixed**2), "numbers"),
        ),
    )


@cache
def chain() -> Chain:
    """`E[exp(−u² − v²)]`, the dual of the derivative, and its integral over the covariance."""
    precision = COVARIANCE.inv() + 2 * sp.eye(2)
    return Chain(
        title="Dual of erf",
        steps=(
            *line(sp.Derivative(sp.erf(x), x), ("σ'", 2 * sp.exp(-(x**2)) / sp.sqrt(sp.pi), "evaluate")),
            *gaussian_integral(),
            *line(
                COVARIANCE.det() * precision.det(),
                ("E[exp(−u² − v²)] is 1/√(det Λ det(Λ⁻¹ + 2I))", (1 + 2 * p) * (1 + 2 * q) - 4 * c**2),
            ),
            *line(4 / sp.pi / sp.sqrt((1 + 2 * p) * (1 + 2 * q) - 4 * c**2), ("E[σ'(u) σ'(v)], 4/π times that", DERIVATIVE_DUAL)),
            *line(at(DUAL, c, 0), ("independent: E[σ(u)] E[σ(v)] = 0, σ is odd", sp.Integer(0), "evaluate")),
            *line(sp.Derivative(DUAL, c), ("Price's theorem: E[σ'σ'] = d E[σσ]/dc", DERIVATIVE_DUAL, "evaluate")),
            *line(
                sp.Integral(DERIVATIVE_DUAL.subs(c, x), (x, 0, c)),
                # The two lines above show it.
                ("so the dual is the integral from independence", DUAL, "numbers"),
            ),
        ),
        results={"dual": DUAL, "derivative dual": DERIVATIVE_DUAL},
        ranges={**RANGES, sp.Symbol("delta", positive=True): between(1, 3)},
    )


@cache
def price() -> Chain:
    """Why: the normal density solves a heat equation in its covariance; shown on the functions `exp(α x)`, and used on erf."""
    spread = p * q - c**2
    square = q * x**2 - 2 * c * x * y + p * y**2
    density = sp.exp(-square / (2 * spread)) / (2 * sp.pi * sp.sqrt(spread))
    character = sp.exp((first**2 * p + 2 * first * last * c + last**2 * q) / 2)
    return Chain(
        title="Price's theorem",
        steps=(
            *line(
                sp.Derivative(density, c),
                (
                    "derivative of the normal density in the covariance",
                    density * ((c + x * y) / spread - c * square / spread**2),
                    "evaluate",
                ),
                ("is its mixed derivative; twice by parts, the derivatives go to σ(u) σ(v)", sp.Derivative(density, x, y), "evaluate"),
            ),
            *line(
                sp.Derivative(character, c),
                ("on σ = exp(α x) and exp(γ x): E is exp((α²p + 2αγc + γ²q)/2), σ' = α σ and γ σ", first * last * character, "evaluate"),
            ),
            *line(sp.Derivative(DUAL, c), ("on erf", DERIVATIVE_DUAL, "evaluate")),
        ),
        results={"derivative dual": DERIVATIVE_DUAL},
        ranges=RANGES,
    )
