"""Between its kinks a ReLU net is linear in its first layer: the Hessian of the loss is `ZᵀZ`, with the Gram matrix's spectrum."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, line, matrix, whole, with_transpose

Z, Z_t = with_transpose("Z_W", 2, 3)
v, v_t = with_transpose("v_W", 2, 1)
K = matrix("K_W", 2, 2)
w_1, w_2, x_1, x_2, label, readout = sp.symbols("w_1 w_2 x_1 x_2 y a", real=True)
z_1, z_2 = sp.symbols("z_1 z_2", real=True)
gate = sp.Symbol("g", integer=True, nonnegative=True)


@cache
def chain() -> Chain:
    """Second derivatives of one output vanish, those of the loss are products of first ones; eigenvectors are carried over by `Zᵀ`."""
    output = readout * gate * (w_1 * x_1 + w_2 * x_2)
    loss = (z_1 * w_1 + z_2 * w_2 - label) ** 2 / 2
    return Chain(
        title="Equal flatness",
        steps=(
            *line(
                sp.Derivative(output, w_1, w_2),
                ("an output of a neuron whose gate 1{w·x ≥ 0} stays as it is: linear in w", sp.Integer(0), "evaluate"),
            ),
            *line(sp.Derivative(output, w_1), ("its derivative, z = a g x up to 1/√m", readout * gate * x_1, "evaluate")),
            *line(
                sp.Derivative(loss, w_1, w_2),
                ("the Hessian of ½(u − y)² with u linear: no residual is left in it", z_1 * z_2, "evaluate"),
            ),
            *line(
                (Z_t * Z) * (Z_t * v),
                (
                    "summed over points the Hessian is ZᵀZ; of Zᵀv it makes ZᵀKv, K = ZZᵀ: an eigenvector where v is one of K",
                    Z_t * K * v,
                    "expand",
                ),
            ),
            *line((v_t * Z) * (Z_t * v), ("and Zᵀv is not zero unless Kv is", v_t * K * v, "expand")),
            *line(Z * Z_t, ("the Gram matrix at these weights", K, "expand")),
        ),
        results={"hessian": z_1 * z_2, "gram": K, "derivative": readout * gate * x_1},
        where={K: Z * Z_t},
        ranges={
            **{s: between(-2, 2) for s in (w_1, w_2, x_1, x_2, label, readout, z_1, z_2)},
            gate: whole(0, 1),
        },
    )
