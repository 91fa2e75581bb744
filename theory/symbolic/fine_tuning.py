"""Both stages: what is left on `Q`, how far fine-tuning moves the weights, and the outputs at any point."""

from __future__ import annotations

from functools import cache

from theory.formula import Chain
from theory.symbolic.notation import (
    F_P,
    F_Q,
    GRAM_BLOCKS,
    H_Q,
    H_QP,
    SHAPES,
    W_0,
    F_Pt,
    F_Qt,
    F_x,
    h_P,
    h_Q,
    l_P,
    l_Q,
    line,
    matrix,
    phi_P,
    phi_Q,
    q_Q,
    with_transpose,
)

remaining = l_Q - H_QP * phi_P * l_P
"""`ỹ(k_P)`; the labels stand for labels less initial outputs."""

start = matrix("f_0", 1, 1)
gamma, gamma_t = with_transpose("gamma_Q", SHAPES[l_Q][0], 1)
given_P, given_Q = matrix("Y_P", 2, 1), matrix("Y_Q", 3, 1)


@cache
def residual() -> Chain:
    """`y_Q − u_Q = q_Q(k_Q) ỹ(k_P)`."""
    pretrained = F_Pt * (phi_P * l_P)
    return Chain(
        title="Residual after fine-tuning",
        steps=(
            *line(
                given_Q - F_Q * (W_0 + F_Pt * (phi_P * (given_P - F_P * W_0))),
                (
                    "initial outputs only shift the labels: y = labels − F W(0)",
                    (given_Q - F_Q * W_0) - H_QP * phi_P * (given_P - F_P * W_0),
                    "expand",
                ),
            ),
            *line(l_Q - F_Q * pretrained, ("pretraining leaves ỹ on Q", remaining, "expand")),
            *line(
                l_Q - F_Q * (pretrained + F_Qt * (phi_Q * remaining)),
                ("fine-tuning starts there: the same recursion with ỹ for y", remaining - H_Q * phi_Q * remaining, "expand"),
                ("q = I − Hφ", q_Q * remaining, "expand"),
            ),
        ),
        results={"residual": q_Q * remaining, "remaining": remaining},
        where=GRAM_BLOCKS,
    )


@cache
def displacement() -> Chain:
    """`‖W(Q) − W(P)‖² = γᵀH_Qγ` with `γ = φ(H_Q) ỹ`."""
    return Chain(
        title="Displacement in fine-tuning",
        steps=(
            *line(l_Q - F_Q * (F_Pt * (phi_P * l_P)), ("what fine-tuning has to learn", remaining, "expand")),
            *line(phi_Q * (l_Q - F_Q * F_Pt * phi_P * l_P), ("its coefficients", phi_Q * remaining, "expand")),
            *line((gamma_t * F_Q) * (F_Qt * gamma), ("weights move by F_Qᵀγ; squared", gamma_t * H_Q * gamma, "expand")),
        ),
        results={"coefficients": phi_Q * remaining, "squared": gamma_t * H_Q * gamma},
        where=GRAM_BLOCKS,
    )


@cache
def anywhere() -> Chain:
    """`f(x) = f_0(x) + h_P(x)ᵀ φ(H_P) y_P + h_Q(x)ᵀ φ(H_Q) ỹ(k_P)`."""
    outputs = start + h_P * phi_P * l_P + h_Q * phi_Q * remaining
    return Chain(
        title="Outputs at any point after both stages",
        steps=(
            *line(
                F_x * (W_0 + F_Pt * (phi_P * l_P) + F_Qt * (phi_Q * remaining)),
                ("weights after both stages, seen at x", F_x * W_0 + F_x * F_Pt * phi_P * l_P + F_x * F_Qt * phi_Q * remaining, "expand"),
                ("h_S(x) = F_x F_Sᵀ and f_0(x) = F_x W(0)", outputs, "expand"),
            ),
        ),
        results={"outputs": outputs},
        where={**GRAM_BLOCKS, start: F_x * W_0},
    )
