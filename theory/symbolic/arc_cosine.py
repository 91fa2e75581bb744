"""Duals of `x^n 1{x > 0}`, `n = 0, 1, 2`, and of the leaky ReLU: Gaussian integrals in polar form, tied by Price's theorem."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Expression, Step
from theory.symbolic.notation import angle, at, between, line, radius, theta

s, t = sp.symbols("s t", positive=True)
slope = sp.Symbol("a", real=True)
_turn = sp.Symbol("vartheta", real=True)

ARCS: tuple[Expression, ...] = (
    sp.pi - theta,
    sp.sin(theta) + (sp.pi - theta) * sp.cos(theta),
    3 * sp.sin(theta) * sp.cos(theta) + (sp.pi - theta) * (1 + 2 * sp.cos(theta) ** 2),
)
"""`2π E[u₊ⁿ v₊ⁿ]/(s t)ⁿ` for degrees 0, 1 and 2."""

_RANGES = {s: between(0, 3), t: between(0, 3), slope: between(-2, 2), _turn: between(-3, 3)}


def dual(degree: int) -> Expression:
    """`E[u₊ⁿ v₊ⁿ]` for `u, v` of standard deviations `s, t` and correlation `cos θ`."""
    return (s * t) ** degree * ARCS[degree] / (2 * sp.pi)


def _polar(degree: int) -> tuple[Step, ...]:
    w1, w2 = radius * sp.cos(angle), radius * sp.sin(angle)
    gaussian = sp.exp(-(w1**2 + w2**2) / 2) / (2 * sp.pi)
    radial = radius * sp.exp(-(radius**2) / 2)
    sums = (
        sp.Integer(1),
        (sp.cos(theta) + sp.cos(2 * angle - theta)) / 2,
        (sp.cos(theta) ** 2 + 2 * sp.cos(theta) * sp.cos(2 * angle - theta) + (1 + sp.cos(4 * angle - 2 * theta)) / 2) / 4,
    )[degree]
    around = sp.Integral(sums / (2 * sp.pi), (angle, theta - sp.pi / 2, sp.pi / 2))
    moment = sp.Integral(radius ** (2 * degree) * radial, (radius, 0, sp.oo))
    count = 2**degree * sp.factorial(degree)
    return (
        *line(
            gaussian * sp.Matrix([w1, w2]).jacobian([radius, angle]).det(),
            (
                "polar coordinates in the plane of x and z: density times Jacobian is a radial times an angular density",
                radial / (2 * sp.pi),
            ),
        ),
        *line(
            s * sp.cos(angle) * w1 + s * sp.sin(angle) * w2,
            ("u = s r cos ω and v = t r cos(ω − θ); both are positive for θ − π/2 < ω < π/2", s * radius, "simplify"),
        ),
        *(_as_sums() if degree else ()),
        *line(
            (s * t) ** degree * moment * around,
            ("radial integral: 2ⁿ n!", (s * t) ** degree * count * around, "evaluate"),
            ("angular integral over the wedge where both are positive", dual(degree), "evaluate"),
        ),
    )


def _as_sums() -> tuple[Step, ...]:
    """What the angular integrand is made of."""
    return (
        *line(sp.cos(angle) * sp.cos(angle - theta), ("a product of cosines as a sum", (sp.cos(theta) + sp.cos(2 * angle - theta)) / 2)),
        *line(sp.cos(_turn) ** 2, ("and a square, ϑ = 2ω − θ", (1 + sp.cos(2 * _turn)) / 2)),
    )


def _price(degree: int) -> tuple[Step, ...]:
    return line(
        -sp.Derivative(dual(degree), theta) / sp.sin(theta) / (s * t),
        ("Price's theorem: d E[σσ]/d(s t ρ) = E[σ'σ'], dρ = −sin θ dθ", degree**2 * dual(degree - 1), "evaluate"),
    )


@cache
def step() -> Chain:
    """Degree 0: the probability that both are positive."""
    return Chain(title="Dual of the step", steps=_polar(0), results={"dual": dual(0)}, ranges=_RANGES)


@cache
def squared() -> Chain:
    """Degree 2, and the dual of its derivative `2x 1{x > 0}`."""
    return Chain(
        title="Dual of the squared ReLU",
        steps=(*_polar(2), *_price(2)),
        results={"dual": dual(2), "derivative dual": 4 * dual(1)},
        ranges=_RANGES,
    )


@cache
def leaky() -> Chain:
    """Degree 1, the mixed expectation `E[u₊ v]`, and their sum for `σ(x) = (1 − a) x₊ + a x`."""
    product = s * t * sp.cos(theta)
    half = sp.Integral((sp.cos(theta) + sp.cos(2 * angle - theta)) / (2 * sp.pi), (angle, -sp.pi / 2, sp.pi / 2))
    closed = (1 - slope) ** 2 * dual(1) + slope * product
    derivative = (1 - slope) ** 2 * dual(0) + slope
    return Chain(
        title="Dual of the leaky ReLU",
        steps=(
            *_polar(1),
            *line(s * t * half, ("E[u₊ v], with the radial integral 2: u > 0 is a half plane", product / 2, "evaluate")),
            *line(
                (1 - slope) ** 2 * dual(1) + 2 * slope * (1 - slope) * product / 2 + slope**2 * product,
                ("σ(u) σ(v) multiplied out, σ(x) = (1 − a) x₊ + a x, E[u v] = s t cos θ", closed),
            ),
            *line(at(closed, slope, 0), ("a = 0 is the ReLU", dual(1), "evaluate")),
            *line(
                -sp.Derivative(closed, theta) / sp.sin(theta) / (s * t),
                ("Price's theorem: d E[σσ]/d(s t ρ) = E[σ'σ'], dρ = −sin θ dθ", derivative, "evaluate"),
            ),
        ),
        results={"dual": closed, "derivative dual": derivative},
        ranges=_RANGES,
    )


@cache
def wedges() -> Chain:
    """The wedges that quadrature works in, and what they give for the leaky ReLU."""
    opening, phi = sp.Symbol("alpha", positive=True), sp.Symbol("varphi", real=True)
    wedge = sp.Integral(sp.sin(opening - phi) * sp.sin(phi), (phi, 0, opening))
    area = (sp.sin(opening) - opening * sp.cos(opening)) / 2
    beta = sp.pi - theta
    both, either = (at(area, opening, value) for value in (beta, theta))
    result = s * t / (2 * sp.pi) * ((1 + slope**2) * ARCS[1] - 2 * slope * (sp.sin(theta) - theta * sp.cos(theta)))
    return Chain(
        title="Gaussian expectations by wedges",
        steps=(
            *line(sp.cos(phi + theta - sp.pi / 2), ("ω = φ + θ − π/2, β = π − θ: u = s r cos ω = s r sin(β − φ)", sp.sin(beta - phi))),
            *line(sp.cos(phi + theta - sp.pi / 2 - theta), ("v = t r cos(ω − θ) = t r sin φ", sp.sin(phi))),
            *line(
                2 * sp.Integral(1 / (2 * sp.pi), (phi, 0, beta)) + 2 * sp.Integral(1 / (2 * sp.pi), (phi, 0, theta)),
                ("two wedges of opening β where u and v have one sign, two of opening θ where they differ", sp.Integer(1), "evaluate"),
            ),
            *line(wedge, ("one wedge, for functions that are linear in it", area, "evaluate")),
            *line(
                s * t * 2 / (2 * sp.pi) * ((1 + slope**2) * both - 2 * slope * either),
                ("leaky ReLU, radial integral 2: u v, a² u v on the opposite wedge, −a |u| |v| on the two others", result, "evaluate"),
            ),
        ),
        results={"dual": result},
        ranges={**_RANGES, opening: between(0, 3), phi: between(-3, 3)},
    )
