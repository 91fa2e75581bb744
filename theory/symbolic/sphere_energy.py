"""How much of the sphere's functions is in which degrees: the trace of the tangent kernel, and the floor of a sign teacher."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import at, line
from theory.symbolic.sphere import (
    RANGES,
    count_of_degree,
    d,
    density,
    ell,
    half,
    legendre,
    monomial_eigenvalue,
    more,
    omega,
    r,
    rho,
)

floor = 1 - d * sp.gamma(d / 2) ** 2 / (sp.pi * sp.gamma((d + 1) / 2) ** 2)


@cache
def trace() -> Chain:
    """A power series with positive coefficients: each power has the trace 1, so that the traces add up to the kernel at 1."""
    counts = {parity: count_of_degree.subs(ell, 2 * half + parity - 2 * more) for parity in (0, 1)}
    powers = {parity: monomial_eigenvalue(2 * half + parity - 2 * more, more) for parity in (0, 1)}
    tangent_value = rho * (sp.pi - sp.acos(rho)) / (2 * sp.pi)
    return Chain(
        title="The trace of the tangent kernel by degree",
        steps=(
            *(
                step
                for parity, words in (
                    (1, "an odd power t^n of the cosine: N_ℓ times its eigenvalue of degree ℓ = n − 2j, over all"),
                    (0, "an even one"),
                )
                for step in line(sp.Sum(counts[parity] * powers[parity], (more, 0, half)), (words, sp.Integer(1), "numbers"))
            ),
            *line(
                sp.Derivative(tangent_value, rho),
                (
                    "H's power series: ρ/4 and even powers from the arcsine",
                    sp.Rational(1, 4) + (sp.asin(rho) + rho / sp.sqrt(1 - rho**2)) / (2 * sp.pi),
                    "numbers",
                ),
            ),
            *line(
                sp.Derivative(sp.asin(rho), rho),
                (
                    "whose coefficients are all positive, as those of (1 − ρ²)^{−1/2}",
                    (1 - rho**2) ** sp.Rational(-1, 2),
                    "evaluate",
                ),
            ),
            *line(
                at(tangent_value, rho, 1),
                (
                    "so H is a sum of powers with positive coefficients, whose traces are 1: its trace is their sum, H at 1",
                    sp.Rational(1, 2),
                    "evaluate",
                ),
            ),
            *line(r * r * sp.Rational(1, 2), ("inputs of norm r", r**2 / 2)),
        ),
        results={"trace": r**2 / 2},
        ranges=RANGES,
    )


@cache
def sign_floor() -> Chain:
    """Of the sign only its part of degree 1 is in a degree that the kernel has."""
    weight = density * sp.sin(omega) ** (d - 2)
    mean = sp.gamma(d / 2) / (sp.sqrt(sp.pi) * sp.gamma((d + 1) / 2))
    return Chain(
        title="The floor of a sign teacher",
        steps=(
            *line(
                sp.Integral(weight * legendre(2 * half + 2, sp.cos(omega)), (omega, 0, sp.pi / 2)),
                ("an even degree from 2 on: sgn t = 2 · 1{t ≥ 0} − 1, and neither has a part in it", sp.Integer(0), "numbers"),
            ),
            *line(2 * sp.Integral(weight, (omega, 0, sp.pi / 2)) - 1, ("nor has sgn in degree 0", sp.Integer(0), "numbers")),
            *line(2 * sp.Integral(weight * sp.cos(omega), (omega, 0, sp.pi / 2)), ("degree 1, P_1 = t: E|t|", mean, "numbers")),
            *line(
                sp.Integral(weight * sp.cos(omega) ** 2, (omega, 0, sp.pi)),
                ("E t² = 1/d, so that √d t is normalised: its energy is d (E|t|)²", 1 / d, "numbers"),
            ),
            *line(1 - d * mean**2, ("the rest of E sgn² = 1 is in degrees of eigenvalue 0", floor)),
            *line(sp.Subs(floor, d, 3), ("d = 3", sp.Rational(1, 4), "evaluate")),
        ),
        results={"floor": floor},
        ranges=RANGES,
    )
