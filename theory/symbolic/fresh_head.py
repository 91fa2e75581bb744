"""A fresh output head sees nothing of pretraining: mean zero and variance `O(1/m)`, with its constant in closed form."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, line, m, whole

g_1, g_2, sign_1, sign_2, z_1, z_2 = sp.symbols("g_1 g_2 a_1 a_2 z_1 z_2", real=True)
bits = sign_bit_1, sign_bit_2 = sp.symbols("n_1 n_2", integer=True)
b_11, b_12, b_22, square = sp.symbols("B_11 B_12 B_22 g^2", real=True)
neuron = sp.Symbol("r", integer=True)
T_11, T_12, T_22 = sp.symbols("T_11 T_12 T_22", positive=True)
both_12, both_13, both_23, all_three = sp.symbols("p_12 p_13 p_23 p_123", positive=True)
theta_12, theta_13, theta_23 = sp.symbols("theta_12 theta_13 theta_23", positive=True)

three = sp.Rational(1, 2) - (theta_12 + theta_13 + theta_23) / (4 * sp.pi)
mean_square = z_1**2 * T_11 + 2 * z_1 * z_2 * T_12 + z_2**2 * T_22
moved = (sign_1 * g_1 + sign_2 * g_2) / 2


@cache
def chain() -> Chain:
    """Signs average out; a neuron's mean square over its half-spaces; the probability of three of them."""
    pairs = both_12 + both_13 + both_23
    return Chain(
        title="A fresh output head",
        steps=(
            *line(
                moved / 2 + moved.subs(sign_1, -sign_1) / 2,
                ("mean over the new sign of neuron 1, whose product a' a of new and old sign is ±1: its term goes", sign_2 * g_2 / 2),
            ),
            *line(sign_2 * g_2 / 4 - sign_2 * g_2 / 4, ("mean over that of neuron 2, and so on: E u' = 0", sp.Integer(0))),
            *line(
                (b_11 * g_1**2 + 2 * b_12 * g_1 * g_2 + b_22 * g_2**2) / 4,
                ("mean square of u' = (b₁g₁ + b₂g₂)/2, b = a'a independent signs, B_ij = E b_i b_j = δ_ij", g_1**2 / 4 + g_2**2 / 4),
            ),
            *line(sp.Sum(square / m**2, (neuron, 1, m)), ("m neurons alike, g² in the mean each", square / m, "evaluate")),
            *line(
                z_1**2 * (T_11 - T_12) + z_2**2 * (T_22 - T_12) + (z_1 + z_2) ** 2 * T_12,
                (
                    "g = v(w)·x 1{w·x ≥ 0}, z_p = α_p x_p·x: mean of g² over neurons active at x and at one source point, or at both; "
                    "T_pq the probability of x, p and q",
                    mean_square,
                ),
            ),
            *line(
                1 - sp.Rational(3, 2) + pairs - all_three,
                (
                    "none of three half-spaces, by inclusion and exclusion: as likely as all three, since −w is as likely as w",
                    all_three,
                ),
                ("solved for it, with p = (π − θ)/(2π) of pairs", three),
            ),
        ),
        results={"per width": square / m, "mean square": mean_square, "three": three},
        where={
            sign_1: (-1) ** sign_bit_1,
            sign_2: (-1) ** sign_bit_2,
            b_11: sp.Integer(1),
            b_22: sp.Integer(1),
            b_12: sp.Integer(0),
            all_three: (pairs - sp.Rational(1, 2)) / 2,
            **{p: (sp.pi - t) / (2 * sp.pi) for p, t in ((both_12, theta_12), (both_13, theta_13), (both_23, theta_23))},
        },
        ranges={
            **{s: between(-2, 2) for s in (g_1, g_2, z_1, z_2)},
            **{s: whole(0, 1) for s in bits},
            **{s: between(0, 1) for s in (T_11, T_12, T_22)},
            **{s: between(0, 2) for s in (square,)},
            **{s: between(Fraction(1, 10), 2) for s in (theta_12, theta_13, theta_23)},
        },
    )
