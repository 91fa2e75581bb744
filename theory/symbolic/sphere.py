"""Zonal kernels on the sphere: multiplicities, eigenvalues of the step kernel, the tangent kernel and the ReLU dual, monomials."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain, Expression, Step
from theory.symbolic.notation import at, between, j, line, whole

d = sp.Symbol("d", integer=True, positive=True)
ell = sp.Symbol("ell", integer=True, positive=True)
half = sp.Symbol("i", integer=True, nonnegative=True)
more = sp.Symbol("j", integer=True, nonnegative=True)
cosine = sp.Symbol("x", real=True)
omega = sp.Symbol("omega", positive=True)
mu_below, mu_above, mu_0 = sp.symbols("mu_below mu_above mu_0", nonnegative=True)
s_below = sp.Symbol("s_below", real=True)
rho = sp.Symbol("rho", real=True)
r, b = sp.symbols("r b", positive=True)
kernel = sp.Symbol("k", real=True)
tilt, other = sp.symbols("alpha beta", real=True)

RANGES = {
    d: whole(3, 6),
    ell: whole(2, 4),
    half: whole(0, 2),
    more: whole(0, 2),
    cosine: between(-1, 1),
    omega: between(0, 3),
    mu_below: between(0, 1),
    mu_above: between(0, 1),
    mu_0: between(0, 1),
    s_below: between(-1, 1),
    rho: between(Fraction(-9, 10), Fraction(9, 10)),
    r: between(Fraction(1, 4), 2),
    b: between(Fraction(1, 4), 2),
    kernel: between(-1, 1),
    tilt: between(0, 3),
    other: between(0, 3),
}


def legendre(degree: Expression, x: Expression, dimension: Expression = d) -> Expression:
    """`P_ℓ` in dimension `d`, 1 at 1: a hypergeometric polynomial, term by term."""
    half_way = (dimension - 1) / sp.Integer(2)
    rising = sp.gamma(degree + dimension - 2 + j) / sp.gamma(degree + dimension - 2) * sp.gamma(half_way) / sp.gamma(half_way + j)
    return sp.Sum((-1) ** j * sp.binomial(degree, j) * rising * ((1 - x) / 2) ** j, (j, 0, degree))


cosine_series = (d * cosine**2 - 1) / (d - 1)
"""`P_2`."""

density = sp.gamma(d / 2) / (sp.sqrt(sp.pi) * sp.gamma((d - 1) / 2))
"""Of the angle, before its factor `sin^{d−2}`."""

mu = (sp.gamma(d / 2) * sp.gamma(ell / 2) / (2 * sp.pi * sp.gamma((ell + d) / 2))) ** 2
tangent = (ell * mu_below + (ell + d - 2) * mu_above) / (2 * ell + d - 2)
relu_even = d * mu_below / (ell + d - 1) ** 2
odd = 2 * half + 1
step_value = (-1) ** half * sp.gamma(d / 2) * sp.gamma(odd / 2) / (2 * sp.pi * sp.gamma((odd + d) / 2))


count_of_degree = (2 * ell + d - 2) * sp.gamma(ell + d - 2) / (sp.gamma(ell + 1) * sp.gamma(d - 1))


def monomial_eigenvalue(degree: Expression, twice: Expression) -> Expression:
    """Eigenvalue of degree `ℓ` of `t^n`, `n = ℓ + 2j`."""
    power = degree + 2 * twice
    return sp.gamma(power + 1) * sp.gamma(d / 2) / (2**power * sp.gamma(twice + 1) * sp.gamma((power + degree + d) / 2))


@cache
def multiplicity() -> Chain:
    """Homogeneous polynomials of degree `ℓ` less those of degree `ℓ − 2`."""
    count = sp.binomial(ell + d - 1, d - 1)
    below = sp.binomial(ell + d - 3, d - 1)
    return Chain(
        title="Multiplicity of a degree on the sphere",
        steps=(
            *line(
                sp.binomial(ell + d - 2, d - 2) + sp.binomial(ell + d - 2, d - 1),
                ("monomials of degree ℓ in d variables: those without the last, and the last times one of degree ℓ − 1", count, "numbers"),
            ),
            *line(
                count - below,
                (
                    "the Laplacian maps degree ℓ onto degree ℓ − 2; harmonics are what it sends to zero",
                    count_of_degree,
                    "numbers",
                ),
            ),
        ),
        results={"count": count_of_degree},
        ranges=RANGES,
    )


def recurrence() -> tuple[Step, ...]:
    """`t P_ℓ` by its neighbours."""
    return line(
        (2 * ell + d - 2) * cosine * legendre(ell, cosine),
        ("recurrence of P_ℓ", (ell + d - 2) * legendre(ell + 1, cosine) + ell * legendre(ell - 1, cosine), "numbers"),
    )


@cache
def polynomial() -> Chain:
    """`P_ℓ` by its terms: 1 at 1, and the recurrence by which it is computed."""
    return Chain(
        title="The Legendre polynomial of a degree and dimension",
        steps=(
            *recurrence(),
            *line(
                ((2 * ell + d) * cosine * legendre(ell + 1, cosine) - (ell + d - 1) * legendre(ell + 2, cosine)) / (ell + 1),
                ("solved for the lowest: what is computed is the same polynomial", legendre(ell, cosine), "numbers"),
            ),
            *line(at(legendre(ell, cosine), cosine, 1), ("all terms but the first vanish at 1", sp.Integer(1), "numbers")),
            *line(
                sp.Derivative((1 - cosine**2) * sp.Derivative(cosine_series, cosine), cosine)
                - (d - 3) * cosine * sp.Derivative(cosine_series, cosine),
                ("its equation, degree 2 written out: −ℓ(ℓ + d − 2) P", -2 * d * cosine_series, "evaluate"),
            ),
            *line(
                1 - 2 * d / (d - 1) * (1 - cosine) + d * (d + 1) / ((d - 1) * ((d - 1) / 2 + 1) / 2) * ((1 - cosine) / 2) ** 2,
                ("degree 2 from the terms", cosine_series),
            ),
            *line(sp.Subs(cosine_series, d, 3), ("d = 3: Legendre's own", (3 * cosine**2 - 1) / 2, "evaluate")),
        ),
        results={"value": legendre(ell, cosine)},
        ranges=RANGES,
    )


@cache
def step() -> Chain:
    """Eigenvalues of the step kernel: squares of the expansion of `1{t ≥ 0}`."""
    weight = density * sp.sin(omega) ** (d - 2)
    derivative = odd * (odd + d - 2) / (d - 1) * legendre(2 * half, 0, d + 2)
    slope_at_0 = (
        odd * (odd + d - 2) / (d - 1) * (-1) ** half * sp.gamma(half + sp.Rational(1, 2)) * sp.gamma((d + 1) / 2)
        / (sp.sqrt(sp.pi) * sp.gamma(half + (d + 1) / 2))
    )  # fmt: skip
    return Chain(
        title="Eigenvalues of the step kernel on the sphere",
        steps=(
            *line(
                sp.Integral(weight * legendre(odd, sp.cos(omega)), (omega, 0, sp.pi / 2)),
                (
                    "E[1{t ≥ 0} P_ℓ], ℓ = 2i + 1: from P_ℓ's equation, ((1 − t²)^{(d−1)/2} P')' = −ℓ(ℓ + d − 2)(1 − t²)^{(d−3)/2} P",
                    density * derivative / (odd * (odd + d - 2)),
                    "numbers",
                ),
                ("P_ℓ'(0), a P of degree 2i in dimension d + 2", density * slope_at_0 / (odd * (odd + d - 2)), "numbers"),
                ("products of gamma functions", step_value, "numbers"),
            ),
            *line(
                step_value**2,
                (
                    "the kernel is the mean of 1{w·x ≥ 0} 1{w·x' ≥ 0} over uniform w: its operator is the square of that of 1{t ≥ 0}",
                    mu.subs(ell, odd),
                    "simplify",
                ),
            ),
            *line(
                sp.Integral(weight * legendre(2 * half + 2, sp.cos(omega)), (omega, 0, sp.pi / 2)),
                ("an even degree from 2 on: half of its mean over all t, which is 0", sp.Integer(0), "numbers"),
            ),
            *line(
                sp.Integral(weight, (omega, 0, sp.pi / 2)) ** 2,
                ("degree 0: (½)²", sp.Rational(1, 4), "numbers"),
            ),
        ),
        results={"odd": mu.subs(ell, odd), "even": sp.Integer(0), "zero": sp.Rational(1, 4)},
        ranges=RANGES,
    )


@cache
def tangent_kernel() -> Chain:
    """`H = t · step`: the recurrence applied to the step kernel's eigenvalues."""
    return Chain(
        title="Eigenvalues of the tangent kernel on the sphere",
        steps=(
            *recurrence(),
            *line(
                ell / (2 * ell + d - 2) * mu_below + (ell + d - 2) / (2 * ell + d - 2) * mu_above,
                ("E[t k P_ℓ], k the step kernel, of eigenvalues μ, by the recurrence", tangent),
            ),
            *line(
                sp.Subs(tangent, (mu_below, mu_above), (0, 0)),
                ("an odd degree from 3 on: both neighbours are even and not 0", sp.Integer(0), "evaluate"),
            ),
            *line(
                sp.Subs(tangent, (ell, mu_below, mu_above), (1, sp.Rational(1, 4), 0)),
                ("degree 1: μ_0 = ¼, μ_2 = 0", 1 / (4 * d), "evaluate"),
            ),
            *line(sp.Subs((ell + d - 2) * mu_above / (2 * ell + d - 2), ell, 0), ("degree 0: no neighbour below", mu_above, "evaluate")),
        ),
        results={"mixed": tangent, "zero degree": mu_above},
        ranges=RANGES,
    )


@cache
def relu() -> Chain:
    """`d` times the squares of the expansion of the ReLU, `t · 1{t ≥ 0}`."""
    above = -s_below * (ell - 1) / (ell - 1 + d)
    return Chain(
        title="Eigenvalues of the ReLU dual on the sphere",
        steps=(
            *recurrence(),
            *line(
                (step_value.subs(half, half + 1)) / step_value,
                ("next odd degree of 1{t ≥ 0}, over the one before", -(half + sp.Rational(1, 2)) / (half + (1 + d) / 2), "numbers"),
            ),
            *line(
                (ell * s_below + (ell + d - 2) * above) / (2 * ell + d - 2),
                ("E[σ P_ℓ] for even ℓ ≥ 2, σ = t 1{t ≥ 0}, by the recurrence; s the coefficient of ℓ − 1", s_below / (ell + d - 1)),
            ),
            *line(
                d * (s_below / (ell + d - 1)) ** 2,
                (
                    "w = ‖w‖ times a uniform direction, E‖w‖² = d: squares, times d; s² = μ_{ℓ−1}",
                    relu_even.subs(mu_below, s_below**2),
                    "expand",
                ),
            ),
            *line(
                d * (sp.Subs((ell * kernel + (ell + d - 2) * 0) / (2 * ell + d - 2), (ell, kernel), (1, sp.Rational(1, 2)))) ** 2,
                ("degree 1: the step's mean is ½", 1 / (4 * d), "evaluate"),
            ),
            *line(sp.Subs(d * mu_above, mu_above, mu_0), ("degree 0: the coefficient of degree 1", d * mu_0, "evaluate")),
        ),
        results={"relu even": relu_even.subs(mu_below, s_below**2), "one": 1 / (4 * d), "relu zero": d * mu_0},
        ranges=RANGES,
    )


@cache
def constant() -> Chain:
    """A coordinate more: `(r x, b)·(r x', b) = r² t + b²`, both of squared norm `r² + b²`."""
    total = r**2 + b**2
    x = sp.Matrix([r * sp.cos(tilt), r * sp.sin(tilt), b])
    z = sp.Matrix([r * sp.cos(other), r * sp.sin(other), b])
    inner = r**2 * sp.cos(tilt - other) + b**2
    shifted = 1 - r**2 * (1 - rho) / total
    return Chain(
        title="A constant coordinate",
        steps=(
            *line((x.T * z)[0], ("inner product; the two points on a circle, t = cos(α − β)", inner)),
            *line((x.T * x)[0], ("squared norm", total)),
            *line((r**2 * rho + b**2) / total, ("so the cosine of the larger inputs is", shifted)),
            *line((sp.sqrt(total) * sp.sqrt(total)) * kernel, ("homogeneous of degree 1 in each: times both norms", total * kernel)),
            *line(
                sp.Derivative(rho * (sp.pi - sp.acos(rho)) / (2 * sp.pi), rho),
                (
                    "H's power series: ρ/4 and even powers from the arcsine",
                    sp.Rational(1, 4) + (sp.asin(rho) + rho / sp.sqrt(1 - rho**2)) / (2 * sp.pi),
                    "numbers",
                ),
            ),
            *line(
                sp.Derivative(sp.asin(rho), rho),
                (
                    "whose coefficients are all positive, as those of (1 − ρ²)^{−1/2}: with b ≠ 0 their powers of (r²t + b²) hold every "
                    "power of t, with a positive part in every degree up to it",
                    (1 - rho**2) ** sp.Rational(-1, 2),
                    "evaluate",
                ),
            ),
        ),
        results={"cosine": shifted, "value": total * kernel},
        ranges=RANGES,
    )


@cache
def zonal() -> Chain:
    """Funk and Hecke: eigenvalue of degree `ℓ`; for a monomial in closed form."""
    power = ell + 2 * more
    weight = density * sp.sin(omega) ** (d - 2)
    parts = sp.gamma(power + 1) / sp.gamma(power - ell + 1) * sp.gamma((d - 1) / 2) / (2**ell * sp.gamma(ell + (d - 1) / 2))
    closed = monomial_eigenvalue(ell, more)
    turned = sp.cos(tilt) * sp.cos(other) + sp.sin(tilt) * sp.sin(other) * sp.cos(omega)

    def second(x: Expression) -> Expression:
        return (3 * x**2 - 1) / 2

    return Chain(
        title="Eigenvalues of a zonal kernel",
        steps=(
            *line(
                sp.Integral(second(turned) / (2 * sp.pi), (omega, 0, 2 * sp.pi)),
                (
                    "a harmonic's mean over a circle round x at angle α is P_ℓ(cos α) times its value at x; here d = 3, degree 2",
                    second(sp.cos(tilt)) * second(sp.cos(other)),
                    "evaluate",
                ),
            ),
            *line(
                sp.Integral(weight * legendre(ell, sp.cos(omega)) ** 2, (omega, 0, sp.pi)),
                (
                    "mean square of P_ℓ at the cosine of two points, density ∝ sin^{d−2} of the angle: 1/N_ℓ",
                    sp.gamma(ell + 1) * sp.gamma(d - 1) / ((2 * ell + d - 2) * sp.gamma(ell + d - 2)),
                    "numbers",
                ),
            ),
            *line(
                sp.Integral(weight * sp.cos(omega) ** power * legendre(ell, sp.cos(omega)), (omega, 0, sp.pi)),
                (
                    "so λ_ℓ = E[k(t) P_ℓ(t)]; k = t^n, n = ℓ + 2j: Rodrigues' formula, ℓ times by parts",
                    parts * sp.Integral(density * sp.cos(omega) ** (2 * more) * sp.sin(omega) ** (2 * ell + d - 2), (omega, 0, sp.pi)),
                    "numbers",
                ),
                (
                    "a beta integral",
                    parts * density * sp.gamma(more + sp.Rational(1, 2)) * sp.gamma(ell + (d - 1) / 2) / sp.gamma(ell + more + d / 2),
                    "numbers",
                ),
                ("products of gamma functions; lower powers, and other parities, give 0", closed, "numbers"),
            ),
        ),
        results={"monomial": closed},
        ranges=RANGES,
    )
