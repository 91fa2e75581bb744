"""Rank of the ReLU Gram matrix: which combinations of features `x 1{w·x > 0}` vanish for almost every `w`."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, line, whole

side = sp.Symbol("s", real=True, nonzero=True)
component, others = sp.symbols("x R", real=True)
weight, partner = sp.symbols("c d", real=True)
scale = sp.Symbol("l", positive=True)
rows, directions, pairs, span = sp.symbols("n D k S", integer=True, nonnegative=True)


def gate(value: sp.Expr) -> sp.Expr:
    """`1{value > 0}` for `value ≠ 0`."""
    return (1 + value / sp.Abs(value)) / 2


@cache
def chain() -> Chain:
    """Repeated directions, opposite ones, and why nothing else can cancel: the jump across a hyperplane; then the count."""
    above = weight * component + others
    pair_above, pair_below = weight * component + others, -partner * scale * component + others
    lost = (rows - directions) + (pairs - span)
    return Chain(
        title="Rank of the ReLU Gram matrix",
        steps=(
            *line(
                scale * component * gate(scale * side),
                (
                    "a positive multiple: the feature of l x is l times that of x, and a direction counts once",
                    scale * component * gate(side),
                ),
            ),
            *line(
                component * gate(side) + component * gate(-side),
                ("x and −x: x 1{s > 0} − (−x) 1{−s > 0} is the row x itself, for every w, s = w·x", component),
            ),
            *line(
                above - others,
                (
                    "a combination of features, across the hyperplane w·x = 0 of a direction without its opposite: only its own term c x "
                    "jumps, so a combination that vanishes has c = 0",
                    weight * component,
                ),
            ),
            *line(
                pair_above - pair_below,
                (
                    "where x and −l x are both there, the jump is (c + d l) x: it vanishes for c = −d l",
                    (weight + partner * scale) * component,
                ),
            ),
            *line(
                -partner * scale * component * gate(side) - partner * scale * component * gate(-side),
                ("and their two terms then add up to c x, on both sides", -partner * scale * component),
            ),
            *line(
                rows - lost,
                (
                    "so what vanishes, beyond repeated directions, are the linear relations of the k rows with an opposite: k − S of them, "
                    "S the dimension of their span",
                    directions - pairs + span,
                ),
            ),
        ),
        results={"rank": directions - pairs + span},
        ranges={
            side: between(Fraction(1, 4), 2),
            component: between(-2, 2),
            others: between(-2, 2),
            weight: between(-2, 2),
            partner: between(-2, 2),
            scale: between(Fraction(1, 4), 4),
            rows: whole(6, 9),
            directions: whole(4, 6),
            pairs: whole(2, 3),
            span: whole(1, 2),
        },
    )
