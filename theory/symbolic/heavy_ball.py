"""Heavy ball on one mode: `p_{k+1} = (1 + μ − ηλ) p_k − μ p_{k−1}`, solved by the two roots `z`, `w` of its characteristic polynomial.

The roots stand for momentum and step size: `μ = zw`, `ηλ = (1 − z)(1 − w)`.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic import filters
from theory.symbolic.notation import between, c, eta, k, lam, line

z, w = sp.symbols("z w", positive=True)
mu = sp.Symbol("mu", nonnegative=True)
beta = sp.Symbol("beta", positive=True)
velocity, before = sp.symbols("v e", real=True)
excess = sp.Symbol("delta", real=True)

x = (1 - z) * (1 - w)
"""`ηλ` by the roots."""

p = (z ** (k + 1) * (1 - w) - w ** (k + 1) * (1 - z)) / (z - w)
double = z**k * (1 + k * (1 - z))
alone = sp.Symbol("omega", real=True)
left = sp.Symbol("p", real=True)

RANGES = {
    z: between(Fraction(1, 2), Fraction(9, 10)),
    w: between(Fraction(1, 10), Fraction(2, 5)),
    mu: between(0, 1),
    beta: between(Fraction(1, 5), 2),
    velocity: between(-2, 2),
    before: between(-2, 2),
    excess: between(Fraction(-1, 2), Fraction(1, 2)),
    alone: between(-1, 1),
    left: between(-1, 1),
}


def recursion() -> tuple[Step, ...]:
    """From momentum and gradient to the recursion in three terms, and its solution by induction."""
    return (
        *line(
            c - (mu * (before - c) + eta * lam * c),
            (
                "one step, the error e − c of the step before as its velocity: c ← c − (μ(e − c) + ηλc)",
                (1 + mu - eta * lam) * c - mu * before,
            ),
        ),
        *line(
            z**2 - (1 + z * w - x) * z + z * w,
            ("z is a root of z² − (1 + μ − ηλ)z + μ for μ = zw, ηλ = (1 − z)(1 − w)", sp.Integer(0), "expand"),
        ),
        *line(sp.Subs(p, k, 0), ("induction, base: p_0 = 1", sp.Integer(1), "evaluate")),
        *line(sp.Subs(p, k, 1), ("p_1 = 1 − ηλ: the buffer starts empty", 1 - x, "evaluate")),
        *line(
            (1 + z * w - x) * p - z * w * p.subs(k, k - 1),
            ("induction, step: p_{k+1} = (1 + μ − ηλ) p_k − μ p_{k−1}", p.subs(k, k + 1)),
        ),
    )


@cache
def residual() -> Chain:
    """`p_k` by the roots; the double root; the zero mode; plain descent."""
    return Chain(
        title="Residual filter of heavy ball",
        steps=(
            *recursion(),
            *line(z**k + w * (1 - z) * (z**k - w**k) / (z - w), ("as a sum of positive terms, which the code evaluates", p)),
            *line(sp.Limit(p, w, z), ("double root, w → z", double, "evaluate")),
            *line(sp.Subs(p, z, 1), ("zero mode: ηλ = 0 has the root 1", sp.Integer(1), "evaluate")),
            *line(sp.Subs(p, w, 0), ("no momentum, w = 0: plain descent with z = 1 − ηλ", z**k, "evaluate")),
            *line(
                sp.Limit(filters.shrink**k, k, sp.oo),
                (
                    "to the end: both roots, or √μ for complex ones, are 1/(1 + a) in size, and their powers vanish",
                    sp.Integer(0),
                    "evaluate",
                ),
            ),
        ),
        results={"mode": p, "double root": double, "zero mode": sp.Integer(1), "end": sp.Integer(0)},
        ranges={**RANGES, **filters.SHRINK_RANGE},
    )


@cache
def integral() -> Chain:
    """`(1 − p_k)/λ` accumulates the velocities."""
    moved, moved_zero = (1 - left) / lam, eta / (1 - mu) * (k - mu * (1 - mu**k) / (1 - mu))
    return Chain(
        title="Integral filter of heavy ball",
        steps=(
            *line(
                (1 + mu - eta * lam) * moved - mu * (1 - before) / lam + eta,
                (
                    "one step on the coefficient of a mode: γ ← (1 + μ − ηλ)γ − μγ⁻ + η",
                    (1 - ((1 + mu - eta * lam) * left - mu * before)) / lam,
                ),
            ),
            *line((1 - sp.Integer(1)) / lam, ("base: p_0 = 1 has moved nothing", sp.Integer(0))),
            *line(1 / lam - left / lam, ("so on a mode, p_k being known", moved)),
            *line(
                (1 + mu) * moved_zero - mu * moved_zero.subs(k, k - 1) + eta,
                ("zero mode, by induction: γ ← (1 + μ)γ − μγ⁻ + η", moved_zero.subs(k, k + 1)),
            ),
            *line(sp.Subs(moved_zero, k, 0), ("with base 0", sp.Integer(0), "evaluate")),
            *line(sp.Subs(moved_zero, k, 1), ("and first step η", eta, "evaluate")),
            *line(
                sp.Limit(eta * (1 - p) / x, z, 1, "-"),
                ("which is the limit λ → 0, z → 1, w → μ", moved_zero.subs(mu, w), "evaluate"),
            ),
            *line(sp.Subs(moved, left, 0), ("to the end: p → 0", 1 / lam, "evaluate")),
        ),
        results={"mode": moved, "zero mode": moved_zero.subs(mu, w), "end": 1 / lam},
        ranges=RANGES,
    )


@cache
def difference() -> Chain:
    """What carries a start that lies outside the span of the features."""
    psi, psi_before = (alone - left) / lam, (velocity - before) / lam
    return Chain(
        title="Carried start",
        steps=(
            *line(
                (1 + mu - eta * (lam + beta)) * psi - mu * psi_before + eta * alone,
                (
                    "one step on the coefficient that answers a carried output: the error at β pulls, the mode at λ + β resists",
                    (((1 + mu - eta * beta) * alone - mu * velocity) - ((1 + mu - eta * (lam + beta)) * left - mu * before)) / lam,
                ),
            ),
            *line((1 - sp.Integer(1)) / lam, ("base: p_0 is 1 at both", sp.Integer(0))),
            *line(
                alone - lam * psi,
                ("so the outputs carried, ω t, less what the coefficients answer, λψ t, are those that the mode itself remembers", left),
            ),
            *line(alone / lam - left / lam, ("so the filter is", psi)),
            *line(sp.Subs(psi, alone, 1), ("without decay ω = 1: the integral filter", (1 - left) / lam, "evaluate")),
        ),
        results={"mode": psi},
        ranges=RANGES,
    )


@cache
def stability() -> Chain:
    """Both roots are at most 1 in size iff `η(λ + β) ≤ 2(1 + μ)`."""
    at_minus_one = 2 * (1 + mu) - eta * (lam + beta)
    bound = 2 * (1 + mu) / (lam + beta)
    return Chain(
        title="Stable step of heavy ball with decay",
        steps=(
            *line(
                c - (mu * (before - c) + eta * (lam * c + beta * c)),
                ("one step on a mode, decay included: λ + β in place of λ", (1 + mu - eta * (lam + beta)) * c - mu * before),
            ),
            *line(
                (-1) ** 2 - (1 + mu - eta * (lam + beta)) * (-1) + mu,
                ("the characteristic polynomial at −1", at_minus_one),
            ),
            *line(
                1 - (1 + mu - eta * (lam + beta)) + mu,
                (
                    "and at 1: positive; with a product of roots μ < 1 no root is larger than 1 in size unless one lies below −1",
                    eta * (lam + beta),
                ),
            ),
            *line(
                sp.Subs(at_minus_one, eta, bound * (1 + excess)),
                ("at η = 2(1 + μ)/(λ + β)·(1 + δ) the polynomial at −1 changes sign at δ = 0", -2 * (1 + mu) * excess, "evaluate"),
            ),
            *line(eta + at_minus_one / (lam + beta), ("so the largest stable step is the step plus its margin over the curvature", bound)),
        ),
        results={"bound": bound},
        ranges=RANGES,
    )
