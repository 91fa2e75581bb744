"""A ReLU net trained on orthogonal inputs, in the mean over neurons, and how far that is from its frozen kernel."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, k, kappa, lam, line, m, whole

preactivation = sp.Symbol("s", real=True)
tau, reach, moved = sp.symbols("tau C epsilon", positive=True)
before, after = sp.symbols("epsilon_0 epsilon_1", positive=True)
norm, label, need, learnt, left = sp.symbols("n y z q mu", positive=True)
slack = sp.Symbol("h", positive=True)

density = sp.exp(-(preactivation**2) / (2 * tau**2)) / (tau * sp.sqrt(2 * sp.pi))
peak = 1 / sp.sqrt(2 * sp.pi)


def bell(x: sp.Expr) -> sp.Expr:
    """`φ(x)`."""
    return sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)


def tail(x: sp.Expr) -> sp.Expr:
    """`Q(x)`."""
    return (1 - sp.erf(x / sp.sqrt(2))) / 2


share = peak - bell(moved) + moved * (sp.Rational(1, 2) + tail(moved))


@cache
def run() -> Chain:
    """One input: pre-activations that are pushed up, pushed down, and switched off; outputs, kernel, and squared way."""
    up, down = tau * peak + reach / 2, tau * bell(reach / tau) - reach * tail(reach / tau)
    output = kappa * norm * sp.sqrt(m) / 2 * share
    return Chain(
        title="Training on orthogonal inputs",
        steps=(
            *line(
                sp.Integral((preactivation + reach) * density, (preactivation, 0, sp.oo)),
                ("active neurons with a = sign y are pushed up by C: their mean activation, s ~ N(0, τ²), τ = κ‖x‖", up, "evaluate"),
            ),
            # In two integrals: of the one over (s − C), SymPy's result depends on the order of a set.
            *line(
                sp.Integral(preactivation * density, (preactivation, reach, sp.oo)),
                ("the others down: those still on, s > C, had the mean activation", tau * bell(reach / tau), "evaluate"),
            ),
            *line(
                sp.Integral(density, (preactivation, reach, sp.oo)),
                (
                    "and are this share, each lower by C; those with s < C are off and stay at their hyperplane",
                    tail(reach / tau),
                    "evaluate",
                ),
            ),
            *line(
                sp.sqrt(m) / 2 * (up - down).subs({reach: moved * tau}).subs(tau, kappa * norm),
                ("output √m · ½ (up − down), C = ετ", output),
            ),
            *line(
                sp.Derivative(share, moved),
                (
                    "its slope: the kernel falls from ‖x‖²/2 by the share of neurons that switched off",
                    sp.Rational(1, 2) + tail(moved),
                    "evaluate",
                ),
            ),
            *line(
                sp.Integral(density.subs(tau, 1), (preactivation, before, after)),
                ("switched off in a step: those between ε₀ and ε₁, after all moves up to ε₁", tail(before) - tail(after), "evaluate"),
            ),
            *line(
                m / norm**2 * (moved * kappa * norm) ** 2 / 2 * (sp.Rational(1, 2) + tail(moved)),
                (
                    "squared displacement of those still active, half of m of either sign: Δw = ετ/‖x‖ along the input",
                    m * kappa**2 / 2 * moved**2 * (sp.Rational(1, 2) + tail(moved)),
                ),
            ),
            *line(
                m / norm**2 * (after * kappa * norm) ** 2 / 2 * (tail(before) - tail(after)),
                ("and of those that switched off in one step", m * kappa**2 / 2 * after**2 * (tail(before) - tail(after))),
            ),
        ),
        results={
            "output": output,
            "active": m * kappa**2 / 2 * moved**2 * (sp.Rational(1, 2) + tail(moved)),
            "switched": m * kappa**2 / 2 * after**2 * (tail(before) - tail(after)),
        },
        ranges={
            tau: between(Fraction(1, 2), 2),
            reach: between(Fraction(1, 4), 2),
            moved: between(Fraction(1, 4), 2),
            before: between(Fraction(1, 4), 1),
            after: between(1, 2),
            norm: between(Fraction(1, 2), 2),
            m: whole(2, 64),
        },
    )


@cache
def leading() -> Chain:
    """To the end and to first order in `z = 2|y|/(κ‖x‖√m)`: the way of active neurons, their number, and those that switched off."""
    further = need + peak * need**2 / 2
    partial = (
        (1 - learnt**k)
        - 2 * learnt * (1 - learnt ** (2 * k)) / (1 + learnt)
        + learnt**2 * (1 - learnt ** (3 * k)) / (1 + learnt + learnt**2)
    )
    total = 1 - 2 * learnt / (1 + learnt) + learnt**2 / (1 + learnt + learnt**2)
    term = (1 - learnt ** (k + 1)) ** 2 * (learnt**k - learnt ** (k + 1))
    drift = total / sp.sqrt(2 * sp.pi) * label / (kappa * norm * sp.sqrt(m))
    return Chain(
        title="Drift of the displacement, orthogonal inputs",
        steps=(
            *line(
                sp.Limit((share.subs(moved, further) - need) / need**2, need, 0, "+"),
                ("the output is y where φ(0) − φ(ε) + ε(½ + Q) = z; ε = z + φ(0)z²/2 solves it to second order", sp.Integer(0), "evaluate"),
            ),
            *line(
                sp.Limit((further**2 * (sp.Rational(1, 2) + tail(further)) - need**2) / need**3, need, 0, "+"),
                ("neurons still active: they move farther, and are fewer; to third order the two cancel", sp.Integer(0), "evaluate"),
            ),
            *line(
                sp.Limit((tail(need * before) - tail(need * (before + slack))) / need, need, 0, "+"),
                ("neurons that switch off between two moves: their density is φ(0)", peak * slack, "evaluate"),
            ),
            *line(
                partial.subs(k, k + 1) - partial,
                (
                    "moves z(1 − q^j), q = 1 − ηλ: the sum of (1 − q^j)²(q^{j−1} − q^j) up to k is this; induction, step",
                    term,
                ),
            ),
            *line(sp.Subs(partial, k, 0), ("base", sp.Integer(0), "evaluate")),
            *line(
                sp.Limit(partial.subs(learnt, 1 / (1 + left)), k, sp.oo),
                ("to the end, q = 1/(1 + μ)", total.subs(learnt, 1 / (1 + left)), "evaluate"),
            ),
            *line(
                sp.Limit((sp.sqrt(1 + peak * total * need) - 1) / need, need, 0, "+") * 2 * label / (kappa * norm * sp.sqrt(m)),
                ("D²/D²_frozen = 1 + φ(0) S z: its root, z = 2|y|/(κ‖x‖√m)", drift, "evaluate"),
            ),
            *line(sp.Limit(total, learnt, 1), ("gradient flow, q → 1: a third of one step's", sp.Rational(1, 3), "evaluate")),
            *line(2 * label**2 / norm**2, ("λ = ‖x‖²/2: weight of an input, its squared displacement", label**2 / lam)),
        ),
        results={"drift": drift, "weight": label**2 / lam},
        where={lam: norm**2 / 2},
        ranges={
            need: between(Fraction(1, 4), 1),
            learnt: between(Fraction(1, 10), Fraction(9, 10)),
            left: between(Fraction(1, 4), 2),
            before: between(Fraction(1, 4), 1),
            slack: between(Fraction(1, 4), 1),
            norm: between(Fraction(1, 2), 2),
            label: between(Fraction(1, 4), 2),
            m: whole(2, 64),
        },
    )
