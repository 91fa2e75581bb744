"""Tails: what a share of neurons, a mean of matrices, a least eigenvalue may be with probability `δ`.

The exponential-moment inequalities of Chernoff, McDiarmid and Tropp are cited; shown is that the bounds in use are what they give.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import at, between, j, kappa, line, m

share, chance = sp.Symbol("f", positive=True), sp.Symbol("p", positive=True)
tilt = sp.Symbol("s", positive=True)
delta_p = sp.Symbol("delta", positive=True)
points = sp.Symbol("n", positive=True)
_SHARES = {
    share: between(Fraction(1, 2), Fraction(9, 10)),
    chance: between(Fraction(1, 20), Fraction(2, 5)),
    delta_p: between(Fraction(1, 100), Fraction(1, 2)),
    points: between(1, 9),
}
kl = share * sp.log(share / chance) + (1 - share) * sp.log((1 - share) / (1 - chance))


@cache
def divergence() -> Chain:
    """`max_s (s f − log(1 − p + p e^s)) = kl(f‖p)`."""
    exponent = tilt * share - sp.log(1 - chance + chance * sp.exp(tilt))
    best = sp.log(share * (1 - chance) / (chance * (1 - share)))
    return Chain(
        title="Exponent of a binomial tail",
        steps=(
            *line(
                sp.Derivative(exponent, tilt),
                (
                    "P(N ≥ fm) ≤ exp(−m(s f − log E e^{sξ})), Markov for e^{sN}; the best s is where this vanishes",
                    share - chance * sp.exp(tilt) / (1 - chance + chance * sp.exp(tilt)),
                    "evaluate",
                ),
            ),
            *line(
                at(share - chance * sp.exp(tilt) / (1 - chance + chance * sp.exp(tilt)), tilt, best), ("there", sp.Integer(0), "evaluate")
            ),
            *line(
                share * best - sp.log(1 - chance + chance * share * (1 - chance) / (chance * (1 - share))),
                ("the exponent at that s", kl, "numbers"),
            ),
            *line(sp.Derivative(kl, share, 2), ("it is convex in f, with its minimum 0 at f = p", 1 / (share * (1 - share)), "evaluate")),
        ),
        results={"kl": kl},
        ranges={**_SHARES, tilt: between(0, 2)},
    )


@cache
def most_successes() -> Chain:
    """`P(N > fm) ≤ exp(−m kl(f‖p)) = δ`."""
    goal = sp.Symbol("K", positive=True)
    return Chain(
        title="Largest share of successes",
        steps=(
            *divergence().steps,
            *line(sp.exp(-m * goal), ("with K = kl(f‖p) = log(1/δ)/m the tail exp(−m kl) is", delta_p)),
        ),
        results={"probability": delta_p},
        where={goal: sp.log(1 / delta_p) / m},
        ranges={**_SHARES, tilt: between(0, 2)},
    )


@cache
def bernstein() -> Chain:
    """The root of `m t²/2 = L (v + b t/3)`."""
    v, b, log_term = sp.symbols("v b L", positive=True)
    weight = log_term / m
    t = b * weight / 3 + sp.sqrt((b * weight / 3) ** 2 + 2 * v * weight)
    return Chain(
        title="Matrix Bernstein, solved for the deviation",
        steps=(
            *line(m * t**2 / 2 - log_term * (v + b * t / 3), ("t solves m t²/2 = L (v + b t/3)", sp.Integer(0))),
            *line(
                2 * points * sp.exp(-log_term),
                ("Tropp 2012, theorem 1.4, for both ends: P(‖mean‖ ≥ t) ≤ 2n exp(−(m t²/2)/(v + b t/3)), with L = log(2n/δ)", delta_p),
            ),
        ),
        results={"probability": delta_p},
        where={log_term: sp.log(2 * points / delta_p)},
        ranges={**_SHARES, v: between(0, 2), b: between(0, 2)},
    )


@cache
def deviation_of_mean() -> Chain:
    """`√(V/m) + b√(log(1/δ)/(2m))`."""
    V, b = sp.symbols("V b", positive=True)
    less = sp.Symbol("p_1", positive=True)
    first, second = sp.symbols("x_1 x_2", real=True)
    weight = 1 / (1 + less)
    t, terms = sp.Symbol("t", positive=True), sp.Symbol("M", integer=True, positive=True)
    return Chain(
        title="Norm of a mean of independent matrices",
        steps=(
            *line(
                (weight * first + (1 - weight) * second) ** 2,
                (
                    "Jensen: the square of a mean is at most the mean of squares, so E‖M‖ ≤ √(E‖M‖²)",
                    weight * first**2 + (1 - weight) * second**2,
                    "simplify",
                    "≤",
                ),
            ),
            *line(
                sp.Sum(V / terms**2, (j, 1, terms)),
                ("second moments of independent terms of mean zero add", V / terms, "evaluate"),
            ),
            *line(
                sp.exp(-2 * t**2 / (m * (b / m) ** 2)),
                ("McDiarmid, one term changing the norm by b/m at most: P(‖M‖ − E‖M‖ ≥ t) is at most this, for t as stated", delta_p),
            ),
        ),
        results={"probability": delta_p},
        where={t: b * sp.sqrt(sp.log(1 / delta_p) / (2 * m))},
        ranges={
            **_SHARES,
            terms: lambda rng: rng.randint(2, 9),
            V: between(0, 2),
            b: between(Fraction(1, 10), 2),
            less: between(0, 3),
            first: between(-2, 2),
            second: between(-2, 2),
        },
    )


@cache
def least_eigenvalue() -> Chain:
    """`m = log(n/δ) ‖X‖²/(λ(ε + (1 − ε) log(1 − ε)))`."""
    lam_min, norm, e, ratio = sp.symbols("lambda_min s_X e p_e", positive=True)
    exponent = e + (1 - e) * sp.log(1 - e)
    width = sp.Symbol("m_e", positive=True)
    return Chain(
        title="Least eigenvalue of a net's kernel",
        steps=(
            *line(
                points * sp.exp(-width * lam_min / norm**2 * exponent),
                ("matrix Chernoff, Tropp 2012, theorem 1.1: P(λ_min(H(0)) ≤ (1 − ε)λ) ≤ n (e^{−ε}/(1 − ε)^{1 − ε})^{mλ/‖X‖²}", delta_p),
            ),
            *line(
                sp.Derivative(exponent - e**2 / 2, e, 2),
                ("simpler: what ε²/2 leaves of the exponent has value and slope 0 at 0, and this curvature", 1 / (1 - e) - 1, "evaluate"),
            ),
            *line(
                at(1 / (1 - e) - 1, e, ratio / (1 + ratio)),
                ("which is not negative: p for ε = p/(1 + p); so ε²/2 is less", ratio, "evaluate"),
            ),
        ),
        results={"probability": delta_p},
        where={width: norm**2 * sp.log(points / delta_p) / (lam_min * exponent)},
        ranges={
            **_SHARES,
            lam_min: between(Fraction(1, 10), 2),
            norm: between(1, 3),
            e: between(Fraction(1, 10), Fraction(9, 10)),
            ratio: between(0, 9),
        },
    )


@cache
def flip_probability() -> Chain:
    """`P(|w·x| ≤ R‖x‖) = erf(R/(κ√2)) ≤ √(2/π) R/κ`."""
    R, z, x = sp.Symbol("R", positive=True), sp.Symbol("z", real=True), sp.Symbol("x", nonnegative=True)
    density = sp.exp(-(z**2) / (2 * kappa**2)) / (sp.sqrt(2 * sp.pi) * kappa)
    result = sp.erf(R / (kappa * sp.sqrt(2)))
    return Chain(
        title="Neurons within reach of turning",
        steps=(
            *line(sp.Integral(density, (z, -R, R)), ("w·x/‖x‖ ~ N(0, κ²)", result, "evaluate")),
            *line(sp.exp(-x), ("the density is largest at 0: 1 is at most 1 + x ≤ eˣ", sp.Integer(1), "numbers", "≤")),
            *line(result, ("2R times the density there", sp.sqrt(2 / sp.pi) * R / kappa, "numbers", "≤")),
        ),
        results={"probability": result},
        ranges={R: between(Fraction(1, 100), 2), x: between(0, 3)},
    )
