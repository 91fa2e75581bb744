"""Second moments of one neuron's part of the Gram matrix, and what the mean over neurons makes of them."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import at, between, line, m, theta

inner = sp.Symbol("s", real=True)
p = sp.Symbol("p", positive=True)
active = sp.Symbol("b", integer=True)
p_12, p_13, p_23 = sp.symbols("p_12 p_13 p_23", positive=True)
theta_12, theta_13, theta_23 = sp.symbols("theta_12 theta_13 theta_23", positive=True)
entries = sp.symbols("G_11 G_12 G_13 G_22 G_23 G_33", real=True)

both = (sp.pi - theta) / (2 * sp.pi)
triple = sp.Rational(1, 2) - (theta_12 + theta_13 + theta_23) / (4 * sp.pi)
ANGLES = {theta_12: between(Fraction(1, 2), 1), theta_13: between(Fraction(1, 2), 1), theta_23: between(Fraction(1, 2), 1)}


def mean_of(power: int) -> sp.Expr:
    """Mean of `(s b)^power` for `b` 1 with probability `p`, else 0."""
    return sp.Sum((inner * active) ** power * (1 - p + (2 * p - 1) * active), (active, 0, 1))


@cache
def entry_variance() -> Chain:
    """A Bernoulli variable times the inner product; independent neurons; pairs of neurons."""
    variance = inner**2 * (sp.pi - theta) * (sp.pi + theta) / (4 * sp.pi**2)
    return Chain(
        title="Variance of an entry of the Gram matrix",
        steps=(
            *line(mean_of(1), ("one neuron: s with probability p, else 0; mean", inner * p, "evaluate")),
            *line(mean_of(2), ("mean square", inner**2 * p, "evaluate")),
            *line(
                inner**2 * p - (inner * p) ** 2,
                ("variance", inner**2 * p * (1 - p)),
                ("p = (π − θ)/(2π)", variance),
            ),
            *line(m * variance / m**2, ("the mean of m independent neurons", variance / m)),
            *line(
                at(variance / m, m, m / 2),
                ("antisymmetric: each neuron twice, so m/2 independent ones", 2 * variance / m, "evaluate"),
            ),
        ),
        results={"neuron": variance, "independent": variance / m, "antisymmetric": 2 * variance / m},
        where={p: both},
        ranges={inner: between(-2, 2)},
    )


@cache
def matrix_variance() -> Chain:
    """The probability that three are active by inclusion and exclusion; the sum over the middle point as products of matrices."""
    g11, g12, g13, g22, g23, g33 = entries
    G = sp.ImmutableMatrix([[g11, g12, g13], [g12, g22, g23], [g13, g23, g33]])
    p_of = sp.ImmutableMatrix([[sp.Rational(1, 2), p_12, p_13], [p_12, sp.Rational(1, 2), p_23], [p_13, p_23, sp.Rational(1, 2)]])
    H = sp.ImmutableMatrix(3, 3, lambda i, j: G[i, j] * p_of[i, j])

    def three(i: int, j: int, k: int) -> sp.Expr:
        # Also right where points coincide: three active is then two active.
        return (p_of[i, j] + p_of[j, k] + p_of[i, k]) / 2 - sp.Rational(1, 4)

    second = sp.ImmutableMatrix(3, 3, lambda i, j: sum(G[i, k] * G[k, j] * three(i, k, j) for k in range(3)))
    square = G * G
    products = sp.ImmutableMatrix(3, 3, lambda i, j: (H * G + G * H)[i, j] / 2 - square[i, j] / 4 + p_of[i, j] * square[i, j] / 2)
    union = 3 * sp.Rational(1, 2) - (p_12 + p_13 + p_23)
    chance = (p_12 + p_13 + p_23) / 2 - sp.Rational(1, 4)
    return Chain(
        title="Matrix variance of one neuron",
        steps=(
            *line(
                (1 - union) / 2,
                (
                    "P(all three) = P(none), as −w is as likely as w; 1 − P(none) = Σ P(i) − Σ P(i, j) + P(all three), with P(i) = ½",
                    chance,
                ),
                ("P(i, j) = (π − θ)/(2π)", triple),
            ),
            *line(
                at(chance, p_12, sp.Rational(1, 2)), ("if two coincide, p = ½ and p₁₃ = p₂₃: two conditions", (p_13 + p_23) / 2, "evaluate")
            ),
            *line(
                second,
                (
                    "(A²)_ij = Σ_k G_ik G_kj 1{i, k, j active}; its mean over the middle point is ½(HG + GH) − ¼G² + ½p∘G²",
                    products,
                    "expand",
                ),
            ),
        ),
        results={"triple": triple},
        where={
            p_12: (sp.pi - theta_12) / (2 * sp.pi),
            p_13: (sp.pi - theta_13) / (2 * sp.pi),
            p_23: (sp.pi - theta_23) / (2 * sp.pi),
        },
        ranges={**ANGLES, **{e: between(-2, 2) for e in entries}},
    )
