"""The generalisation bound of the kernel regime, step by step: complexity of a ball, contraction, McDiarmid, a union over radii."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic import displacement
from theory.symbolic.notation import between, line, whole

B = sp.Symbol("B", positive=True)
D = sp.Symbol("D", positive=True)
n = sp.Symbol("n", positive=True)
trace = sp.Symbol("T", positive=True)
delta = sp.Symbol("delta", positive=True)
margin = sp.Symbol("epsilon", positive=True)
norm = sp.Symbol("rho", positive=True)

# Sums of signed features so far, a further feature, and vectors in the plane.
total, a, b, v_1, v_2 = sp.symbols("s a b v_1 v_2", real=True)
# Two outputs and a label; what two functions of the class add elsewhere.
f, g, y, rest_f, rest_g = sp.symbols("f g y A_f A_g", real=True)
radius = sp.Symbol("j", integer=True, positive=True)
last = sp.Symbol("N", integer=True, positive=True)

complexity = B / n * sp.sqrt(trace)
unit_rows = B / sp.sqrt(2 * n)
confidence = 3 * sp.sqrt(sp.log(2 * B * (B + 1) / delta) / (2 * n))
training = norm / sp.sqrt(n)

_REAL = between(-2, 2)
RANGES = {
    **dict.fromkeys((total, a, b, v_1, v_2, f, g, y, rest_f, rest_g), _REAL),
    B: between(1, 4),
    D: between(Fraction(1, 10), 4),
    n: between(2, 50),
    trace: between(1, 4),
    delta: between(Fraction(1, 100), Fraction(1, 2)),
    margin: between(Fraction(1, 10), 1),
    norm: between(0, 3),
    radius: whole(1, 9),
    last: whole(1, 40),
}


def _ramp(output: sp.Expr, label: sp.Expr) -> sp.Expr:
    return sp.Min(1, sp.Abs(output - label))


def _jensen(words: str) -> tuple[Step, ...]:
    return line(((f + g) / 2) ** 2, (words, (f**2 + g**2) / 2, "simplify", "≤"))


@cache
def complexity_of_a_ball() -> Chain:
    """`E sup_v (1/n) Σᵢ ξᵢ zᵢ·v ≤ (B/n) √Σ‖zᵢ‖²`, the right side being the root mean square over signs."""
    return Chain(
        title="Rademacher complexity of a ball of weights",
        steps=(
            *line(
                (a * v_1 + b * v_2) ** 2,
                ("Cauchy and Schwarz: what remains is (av₂ − bv₁)²", (a**2 + b**2) * (v_1**2 + v_2**2), "simplify", "≤"),
            ),
            *line(
                (a * a + b * b) * B / sp.sqrt(a**2 + b**2),
                ("attained at v = B s/‖s‖: the supremum over the ball is B ‖Σ ξᵢzᵢ‖", B * sp.sqrt(a**2 + b**2)),
            ),
            *_jensen("Jensen: the square of a mean of lengths is at most the mean of their squares"),
            *line(
                ((total + a) ** 2 + (total - a) ** 2) / 2,
                ("one point more, either sign: the mean square grows by its own; by induction E‖Σ ξᵢzᵢ‖² = Σ‖zᵢ‖² = tr H", total**2 + a**2),
            ),
            *line(B * sp.sqrt(a**2 + b**2) / n, ("root mean square of the supremum of the mean, T = tr H", complexity)),
            *line(complexity.subs(trace, n / 2), ("unit rows: H(x, x) = ½, tr H = n/2", unit_rows)),
        ),
        results={"complexity": complexity, "unit rows": unit_rows},
        where={trace: a**2 + b**2},
        ranges=RANGES,
    )


@cache
def measure() -> Chain:
    """The displacement, and twice the complexity of the ball that just holds it."""
    moved = displacement.squared()
    return Chain(
        title="Complexity measure",
        steps=(
            *moved.steps,
            *line(
                2 * unit_rows.subs(B, D),
                ("twice the complexity of the ball whose radius is the displacement D", sp.sqrt(2) * D / sp.sqrt(n)),
            ),
        ),
        results={**moved.results, "measure": sp.sqrt(2) * D / sp.sqrt(n)},
        where=moved.where,
        ranges={**moved.ranges, **RANGES},
    )


def _contraction() -> tuple[Step, ...]:
    return (
        *line(
            sp.Abs(_ramp(f, y) - _ramp(g, y)),
            ("the ramp min(1, |f − y|) is 1-Lipschitz", sp.Abs(f - g), "numbers", "≤"),
        ),
        *line(
            (rest_f + _ramp(f, y) + rest_g - _ramp(g, y)) / 2,
            (
                "contraction, one sign averaged: the loss of two functions by their difference",
                (rest_f + rest_g + sp.Abs(f - g)) / 2,
                "numbers",
                "≤",
            ),
        ),
        *line(
            (rest_f + rest_g + sp.Abs(f - g)) / 2,
            (
                "which, names exchanged where f < g, is the same average without the loss",
                sp.Max((rest_f + f + rest_g - g) / 2, (rest_g + g + rest_f - f) / 2),
                "numbers",
            ),
        ),
    )


def _concentration() -> tuple[Step, ...]:
    deviation = sp.sqrt(sp.log(2 / delta) / (2 * n))
    return (
        *line(
            sp.exp(-2 * margin**2 / (n * (1 / n) ** 2)),
            ("McDiarmid: one point changes the supremum, and the complexity, by at most 1/n", sp.exp(-2 * n * margin**2)),
        ),
        *line(
            sp.exp(-2 * n * margin**2).subs(margin, deviation),
            ("which is δ/2 at ε = √(log(2/δ)/(2n))", delta / 2),
        ),
        *line(
            2 * (unit_rows + deviation) + deviation,
            ("symmetrisation: E sup ≤ 2 E R̂; both deviations, together of probability δ", 2 * unit_rows + 3 * deviation),
        ),
    )


@cache
def bound() -> Chain:
    """Ball by ball, then all radii at once."""
    share = delta / (radius * (radius + 1))
    return Chain(
        title="Rademacher bound of the kernel regime",
        steps=(
            *_contraction(),
            *_concentration(),
            *line(
                share,
                ("a share of δ for the ball of each whole radius", delta / radius - delta / (radius + 1)),
            ),
            *line(
                sp.Sum(share, (radius, 1, last)),
                ("the shares telescope", delta - delta / (last + 1), "evaluate"),
            ),
            *line(sp.Limit(delta - delta / (last + 1), last, sp.oo), ("and add up to δ", delta, "evaluate")),
            *line(D, ("the ball that is used holds the displacement: B = max(1, ⌈D⌉)", sp.Max(1, sp.ceiling(D)), "numbers", "≤")),
            *line(2 * unit_rows, ("twice the complexity of that ball", sp.sqrt(2) * B / sp.sqrt(n))),
            *line(
                3 * sp.sqrt(sp.log(2 / (delta / (B * (B + 1)))) / (2 * n)),
                ("and its share of δ in place of δ", confidence),
            ),
            *line(_ramp(f, y), ("the training loss: the ramp is below the absolute residual", sp.Abs(f - y), "numbers", "≤")),
            *_jensen("whose mean is below the root mean square"),
            *line(sp.sqrt(norm**2 / n), ("that of the residual, of norm ρ", training)),
        ),
        results={"training": training, "complexity": sp.sqrt(2) * B / sp.sqrt(n), "confidence": confidence},
        ranges=RANGES,
    )
