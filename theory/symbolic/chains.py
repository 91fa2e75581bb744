"""A chain of stages: the recursion, how far the weights move, and what a sweep through two sets leaves."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import (
    F_P,
    F_Q,
    GRAM_BLOCKS,
    H_P,
    H_PQ,
    H_Q,
    H_QP,
    F_Pt,
    F_Qt,
    F_x,
    between,
    c,
    l_P,
    l_Q,
    line,
    matrix,
    phi_P,
    phi_Q,
    q_P,
    q_Q,
    with_transpose,
)

F_1, F_1t = with_transpose("F_i", 2, 3)
F_2, F_2t = with_transpose("F_j", 3, 3)
F_s, F_st = with_transpose("F_s", 2, 3)
gamma_1, gamma_1t = with_transpose("gamma_i", 2, 1)
gamma_2, gamma_2t = with_transpose("gamma_j", 3, 1)
gamma_s, gamma_st = with_transpose("gamma_s", 2, 1)
l_s, phi_s, H_s = matrix("y_s", 2, 1), matrix("phi_s", 2, 2), matrix("H_s", 2, 2)
H_s1, H_s2, H_12, H_21 = matrix("H_si", 2, 2), matrix("H_sj", 2, 3), matrix("H_ij", 2, 3), matrix("H_ji", 3, 2)
H_1, H_2 = matrix("H_i", 2, 2), matrix("H_j", 3, 3)
h_1, h_2, h_s = matrix("h_i", 1, 2), matrix("h_j", 1, 3), matrix("h_s", 1, 2)
a_1, a_2, b_1, b_2 = sp.symbols("a_1 a_2 b_1 b_2", real=True)
cosine = sp.Symbol("rho", real=True)
value_P, value_Q = sp.symbols("lambda_P lambda_Q", positive=True)

BLOCKS = {
    H_s: F_s * F_st,
    H_1: F_1 * F_1t,
    H_2: F_2 * F_2t,
    H_s1: F_s * F_1t,
    H_s2: F_s * F_2t,
    H_12: F_1 * F_2t,
    H_21: F_2 * F_1t,
    h_1: F_x * F_1t,
    h_2: F_x * F_2t,
    h_s: F_x * F_st,
}

remaining = l_s - H_s1 * gamma_1 - H_s2 * gamma_2
outputs = h_1 * gamma_1 + h_2 * gamma_2 + h_s * gamma_s
total = gamma_1t * H_1 * gamma_1 + gamma_1t * H_12 * gamma_2 + gamma_2t * H_21 * gamma_1 + gamma_2t * H_2 * gamma_2
after_P = q_P * l_P - H_PQ * phi_Q * (l_Q - H_QP * phi_P * l_P)
after_Q = q_Q * (l_Q - H_QP * phi_P * l_P)


@cache
def recursion() -> Chain:
    """`ỹ_s = y_s − Σ_{j<s} H_sj γ_j`, `γ_s = φ_k(H_s) ỹ_s`, shown with two stages before; outputs at any point."""
    return Chain(
        title="A chain of stages",
        steps=(
            *line(
                l_s - F_s * (F_1t * gamma_1 + F_2t * gamma_2),
                ("each stage has moved the weights by F_jᵀγ_j: what is left on the set of stage s", remaining, "expand"),
            ),
            *line(
                phi_s * (l_s - F_s * (F_1t * gamma_1) - F_s * (F_2t * gamma_2)),
                ("its coefficients: one stage with ỹ_s for labels", phi_s * remaining, "expand"),
            ),
            *line(
                (l_s - F_s * (F_1t * gamma_1 + F_2t * gamma_2)) - F_s * (F_st * gamma_s),
                ("and on that set after the stage, or on any set that the stage does not train on", remaining - H_s * gamma_s, "expand"),
            ),
            *line(
                F_x * (F_1t * gamma_1 + F_2t * gamma_2 + F_st * gamma_s),
                ("outputs at x: f_s(x) = Σ_{j≤s} h_j(x)ᵀγ_j", outputs, "expand"),
            ),
        ),
        results={"coefficients": phi_s * remaining, "remaining": remaining, "after": remaining - H_s * gamma_s, "outputs": outputs},
        where=BLOCKS,
    )


@cache
def displacement() -> Chain:
    """`γ_sᵀH_sγ_s` in a stage, `Σ_ij γᵢᵀH_ijγ_j` in all, shown with two stages."""
    stage, pair = gamma_st * H_s * gamma_s, gamma_1t * H_12 * gamma_2
    return Chain(
        title="Displacements in a chain",
        steps=(
            *line((gamma_st * F_s) * (F_st * gamma_s), ("the stage moves the weights by F_sᵀγ_s; squared", stage, "expand")),
            *line((gamma_1t * F_1) * (F_2t * gamma_2), ("two stages: inner product of their moves", pair, "expand")),
            *line(
                (gamma_1t * F_1 + gamma_2t * F_2) * (F_1t * gamma_1 + F_2t * gamma_2),
                ("both together, squared: the sum over all pairs of stages", total, "expand"),
            ),
        ),
        results={"stage": stage, "pair": pair},
        where=BLOCKS,
    )


@cache
def sweep() -> Chain:
    """What a sweep through two sets leaves on both."""
    gamma_P, left_Q = phi_P * l_P, l_Q - F_Q * F_Pt * phi_P * l_P
    return Chain(
        title="A sweep through two sets",
        steps=(
            *line(l_P - F_P * (F_Pt * gamma_P), ("the first stage leaves q_P r_P on its set", q_P * l_P, "expand")),
            *line(
                l_Q - F_Q * (F_Pt * gamma_P) - F_Q * (F_Qt * (phi_Q * left_Q)),
                ("the second starts from r_Q − H_QP φ_P r_P and leaves", after_Q, "expand"),
            ),
            *line(
                l_P - F_P * (F_Pt * gamma_P) - F_P * (F_Qt * (phi_Q * left_Q)),
                ("and changes what is left on the first set", after_P, "expand"),
            ),
        ),
        results={"first": after_P, "second": after_Q},
        where=GRAM_BLOCKS,
    )


@cache
def alternating() -> Chain:
    """To the end `q = 0`: a round multiplies the residual on `P` by `H_PQ H_Q⁻¹ H_QP H_P⁻¹`, whose eigenvalues are squared cosines."""
    step = H_PQ * H_Q**-1 * H_QP * H_P**-1 * l_P
    return Chain(
        title="Rate of alternating training",
        steps=(
            *line(
                0 * l_P - H_PQ * (H_Q**-1 * (0 * l_Q - H_QP * (H_P**-1 * l_P))),
                ("a sweep with q = 0, φ = H⁻¹, from r_Q = 0, where every round after the first starts", step, "expand"),
            ),
            *line(
                (cosine * sp.sqrt(value_P * value_Q) / value_Q) * (cosine * sp.sqrt(value_P * value_Q) / value_P) * c,
                ("along a pair of canonical directions H_QP is ρ √(λ_P λ_Q): the factor is ρ²", cosine**2 * c),
            ),
            *line(
                (a_1 * b_1 + a_2 * b_2) ** 2,
                ("ρ is a cosine (Cauchy and Schwarz): at most 1", (a_1**2 + a_2**2) * (b_1**2 + b_2**2), "expand", "≤"),
            ),
        ),
        results={"round": step, "factor": cosine**2 * c},
        ranges={
            cosine: between(-1, 1),
            **{s: between(0, 3) for s in (value_P, value_Q)},
            **{s: between(-2, 2) for s in (a_1, a_2, b_1, b_2)},
        },
    )
