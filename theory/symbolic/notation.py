"""Symbols shared by the derivations, the values they may take, and short forms to write chains in.

Scalars commute; matrices are non-commutative symbols with a shape, and the transpose of `F` is the symbol `Ft`.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from random import Random
from typing import Any

import sympy as sp

from theory.formula import Expression, Method, Relation, Step

Draw = Callable[[Random], Any]


def between(low: Fraction | int, high: Fraction | int) -> Draw:
    """Sampler of rational numbers with 60 random bits in an open interval."""
    return lambda rng: low + (high - low) * Fraction(2 * rng.getrandbits(60) + 1, 2**61)


def whole(low: int, high: int) -> Draw:
    """Sampler of whole numbers from `low` to `high`."""
    return lambda rng: rng.randint(low, high)


# One mode of a Gram matrix under gradient descent. The ranges keep ηλ below 2, where descent is stable.
eta = sp.Symbol("eta", positive=True)
lam = sp.Symbol("lambda", positive=True)
k = sp.Symbol("k", integer=True, nonnegative=True)
t = sp.Symbol("t", positive=True)
c = sp.Symbol("c", real=True)
j = sp.Symbol("j", integer=True, nonnegative=True)

# Gaussian expectations: the scale of the initial weights, the angle between two inputs, polar coordinates.
kappa = sp.Symbol("kappa", positive=True)
theta = sp.Symbol("theta", positive=True)
radius = sp.Symbol("r", positive=True)
angle = sp.Symbol("omega", real=True)
m = sp.Symbol("m", positive=True)

RANGES: dict[Expression, Draw] = {
    eta: between(Fraction(1, 10), Fraction(9, 10)),
    lam: between(Fraction(1, 5), 2),
    k: whole(1, 9),
    t: between(Fraction(1, 10), 3),
    c: between(-2, 2),
    j: whole(0, 9),
    kappa: between(Fraction(1, 4), 4),
    theta: between(Fraction(1, 100), Fraction(313, 100)),
    radius: between(0, 3),
    angle: between(-3, 3),
    m: whole(2, 64),
}

SHAPES: dict[Expression, tuple[int, int]] = {}


def matrix(name: str, rows: int, columns: int) -> Expression:
    """A non-commutative symbol that numeric checks draw as a `rows × columns` matrix."""
    symbol = sp.Symbol(name, commutative=False)
    if SHAPES.get(symbol, (rows, columns)) != (rows, columns):
        raise ValueError(f"{name} is {rows} × {columns} here and {SHAPES[symbol]} elsewhere; one shape for each name is allowed")
    SHAPES[symbol] = (rows, columns)
    return symbol


TRANSPOSES: dict[Expression, Expression] = {}


def with_transpose(name: str, rows: int, columns: int) -> tuple[Expression, Expression]:
    """A matrix symbol and the symbol of its transpose; numeric checks draw the one and transpose it for the other."""
    symbol, transpose = matrix(name, rows, columns), matrix(f"{name}^T", columns, rows)
    TRANSPOSES[transpose] = symbol
    return symbol, transpose


# Tangent features of P, Q and a test point: one row a point, one column a weight; three columns keep H_P and H_Q regular.
F_P, F_Pt = with_transpose("F_P", 2, 3)
F_Q, F_Qt = with_transpose("F_Q", 3, 3)
F_x, F_xt = with_transpose("F_x", 1, 3)
H_P, H_Q = matrix("H_P", 2, 2), matrix("H_Q", 3, 3)
H_QP, H_PQ = matrix("H_QP", 3, 2), matrix("H_PQ", 2, 3)
h_P, h_Q = matrix("h_P", 1, 2), matrix("h_Q", 1, 3)
phi_P, phi_Q = matrix("phi_P", 2, 2), matrix("phi_Q", 3, 3)
q_P, q_Q = matrix("q_P", 2, 2), matrix("q_Q", 3, 3)
W_0 = matrix("W_0", 3, 1)
l_P, l_Q = matrix("y_P", 2, 1), matrix("y_Q", 3, 1)

GRAM_BLOCKS: dict[Expression, Expression] = {
    H_P: F_P * F_Pt,
    H_Q: F_Q * F_Qt,
    H_QP: F_Q * F_Pt,
    H_PQ: F_P * F_Qt,
    h_P: F_x * F_Pt,
    h_Q: F_x * F_Qt,
    q_P: 1 - F_P * F_Pt * phi_P,
    q_Q: 1 - F_Q * F_Qt * phi_Q,
}
"""Gram blocks as products of features, and `q = 1 − Hφ`, which `theory.symbolic.filters` derives."""


MEANINGS: dict[Expression, str] = {
    eta: "step size of gradient descent",
    lam: "an eigenvalue of a Gram matrix",
    k: "number of steps",
    t: "time of gradient flow, ηk",
    c: "coefficient of what is to be learnt on an eigenvector, vᵀy",
    j: "index of a step",
    kappa: "scale of the initial weights",
    theta: "angle between two inputs",
    radius: "length, in polar coordinates",
    angle: "angle, in polar coordinates or of an eigenvector",
    m: "number of neurons",
    F_P: "tangent features of the source, one row a point",
    F_Q: "tangent features of the target",
    F_x: "tangent features of a test point",
    H_P: "Gram matrix of the source",
    H_Q: "Gram matrix of the target",
    H_QP: "Gram matrix between target and source",
    H_PQ: "Gram matrix between source and target",
    h_P: "Gram row between a test point and the source",
    h_Q: "Gram row between a test point and the target",
    phi_P: "integral filter on the source, φ_k(H_P)",
    phi_Q: "integral filter on the target, φ_k(H_Q)",
    q_P: "residual filter on the source",
    q_Q: "residual filter on the target",
    W_0: "initial weights",
    l_P: "source labels, less initial outputs",
    l_Q: "target labels, less initial outputs",
}
"""What the symbols above stand for, in words."""


def at(expr: Expression, symbol: Expression, value: Expression | int) -> Expression:
    """`expr` with a value in place of a symbol, kept as written until the step is evaluated."""
    return sp.Subs(expr, symbol, value)


Move = tuple[str, Expression] | tuple[str, Expression, Method] | tuple[str, Expression, Method, Relation]


def line(first: Expression, *moves: Move) -> tuple[Step, ...]:
    """The line `first = … ≤ …`: each move names its rule and gives the next expression, then a method and `"≤"` where they differ."""
    steps: list[Step] = []
    left = first
    for number, move in enumerate(moves):
        method: Method = move[2] if len(move) > 2 else "simplify"
        relation: Relation = move[3] if len(move) > 3 else "="
        steps.append(Step(rule=move[0], left=left, right=move[1], method=method, opens=number == 0, relation=relation))
        left = move[1]
    return tuple(steps)
