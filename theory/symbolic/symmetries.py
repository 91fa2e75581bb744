"""Exact statements that cost nothing: the initial scale, a target inside the source, and sources that teach nothing."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic import filters, gain
from theory.symbolic.degeneracy import gate
from theory.symbolic.notation import F_P, GRAM_BLOCKS, F_Pt, at, between, c, eta, k, kappa, l_P, line, m, matrix, phi_P, q_P, theta

side = sp.Symbol("s", real=True, nonzero=True)
weight, start, pull, output, label, taught, inner = sp.symbols("w w_0 x u y y_P rho", real=True)
energy, distance, ratio = sp.symbols("E d G", real=True)
moved, scratch, phi = sp.symbols("D D_0 phi", positive=True)
chosen = matrix("E", 3, 2)


def relu(argument: sp.Expr) -> sp.Expr:
    """`max(argument, 0)` without a case distinction."""
    return (argument + sp.Abs(argument)) / 2


@cache
def scale() -> Chain:
    """ReLU is homogeneous, its gate does not see the scale, and a gradient step commutes with it; so do all later ones."""
    step = weight - eta / sp.sqrt(m) * (output - label) * gate(side) * pull
    return Chain(
        title="Initial scale",
        steps=(
            *line(relu(kappa * side), ("the activation is homogeneous, so κW has κ times the outputs", kappa * relu(side))),
            *line(gate(kappa * side), ("the gate does not see the scale", gate(side))),
            *line(
                kappa * weight - eta / sp.sqrt(m) * (kappa * output - kappa * label) * gate(kappa * side) * pull,
                ("a gradient step from κw with labels κy is κ times that from w with y; by induction, so is every later one", kappa * step),
            ),
            *line((kappa * output - kappa * label) ** 2, ("losses and energies", kappa**2 * energy)),
            *line(sp.sqrt((kappa * weight - kappa * start) ** 2), ("distances", kappa * distance)),
            *line(1 - kappa * moved / (kappa * scratch), ("gains, which are ratios of distances", ratio)),
        ),
        results={"0": ratio, "1": kappa * distance, "2": kappa**2 * energy},
        where={energy: (output - label) ** 2, distance: sp.Abs(weight - start), ratio: 1 - moved / scratch},
        ranges={
            side: between(Fraction(1, 4), 2),
            weight: between(-2, 2),
            start: between(-2, 2),
            pull: between(-2, 2),
            output: between(-2, 2),
            label: between(-2, 2),
            moved: between(1, 2),
            scratch: between(1, 2),
        },
    )


@cache
def subset() -> Chain:
    """`X_Q ⊂ X_P` with equal labels: what is left is part of the source's residual; to the end nothing, and the gain is 1."""
    left = chosen * q_P * l_P
    return Chain(
        title="A target inside the source",
        steps=(
            *line(
                chosen * l_P - (chosen * F_P) * F_Pt * phi_P * l_P,
                ("F_Q = E F_P and y_Q = E y_P, E choosing the rows: ỹ is the source residual there", left, "expand"),
            ),
            *line(
                c * sp.Limit(filters.shrink**k, k, sp.oo),
                ("to the end, on a mode with |1 − ηλ| = 1/(1 + μ): nothing is left", sp.Integer(0), "evaluate"),
            ),
            *line(at(gain.ratio, gain.left, 0), ("and the gain is perfect", sp.Integer(1), "evaluate")),
        ),
        results={"remaining": left, "gain": sp.Integer(1)},
        where=GRAM_BLOCKS,
        ranges={**filters.SHRINK_RANGE, gain.yy: between(1, 2)},
    )


@cache
def nothing() -> Chain:
    """Orthogonal inputs, or source labels of zero: the target stage never hears of the source."""
    before, after = sp.Matrix([weight, start]), sp.Matrix([weight - eta / sp.sqrt(m) * output * gate(side) * pull, start])
    left = label - inner * (sp.pi - theta) / (2 * sp.pi) * phi * taught
    target = sp.Matrix([0, pull])
    return Chain(
        title="Sources that teach nothing",
        steps=(
            *line(at(left, inner, 0), ("orthogonal inputs: x·z = 0, so H_QP = 0 and all of y_Q is left", label, "evaluate")),
            *line(at(left, taught, 0), ("source labels of zero and u(0) = 0: the same", label, "evaluate")),
            *line(
                (after.T * target)[0],
                (
                    "a real net: a step on P moves w along inputs of P only, so w·x on Q, its gate and the outputs stay as they are",
                    (before.T * target)[0],
                ),
            ),
            *line(at(gain.ratio, gain.left, gain.yy), ("and the gain is zero", sp.Integer(0), "evaluate")),
        ),
        results={"remaining": label, "gain": sp.Integer(0)},
        ranges={
            gain.yy: between(1, 2),
            side: between(Fraction(1, 4), 2),
            phi: between(0, 2),
            **{symbol: between(-2, 2) for symbol in (weight, start, pull, output, label, inner, taught)},
        },
    )
