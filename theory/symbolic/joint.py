"""Sequential against joint training: `ỹᵀH_Q⁻¹ỹ ≤ ỹᵀ(H_Q − H_QP H_P⁻¹ H_PQ)⁻¹ỹ = B_joint² − B_P²`."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import H_P, H_PQ, H_Q, H_QP, between, c, l_P, l_Q, line, matrix, with_transpose

# Joint coefficients of the target; what is left on it; the Schur complements of both blocks; a free matrix Z of the shape of T.
b = matrix("b_Q", 3, 1)
left, left_t = with_transpose("y~_Q", 3, 1)
row_P, row_Q = matrix("y_P^T", 1, 2), matrix("y_Q^T", 1, 3)
S, T, Z = matrix("S_Q", 3, 3), matrix("T_P", 2, 2), matrix("Z_P", 2, 2)
spread = sp.Symbol("mu", positive=True)

source = row_P * H_P**-1 * l_P
sequential = left_t * H_Q**-1 * left
joint = left_t * S**-1 * left
repair = left_t * H_Q**-1 * H_QP * T**-1 * H_PQ * H_Q**-1 * left
gap = H_P - H_PQ * H_Q**-1 * H_QP - T
candidate = H_Q**-1 + H_Q**-1 * H_QP * Z**-1 * H_PQ * H_Q**-1


@cache
def chain() -> Chain:
    """Block elimination, the squared norm of the joint fit, Woodbury's identity, and the inequality by canonical directions."""
    rest = l_Q - H_QP * H_P**-1 * l_P
    return Chain(
        title="Sequential against joint training",
        steps=(
            *line(
                H_QP * (H_P**-1 * (l_P - H_PQ * b)) + H_Q * b - l_Q,
                (
                    "fit P: H_P a + H_PQ b = y_P; inserted into the fit of Q: S b = ỹ with S = H_Q − H_QP H_P⁻¹ H_PQ",
                    S * b - rest,
                    "expand",
                ),
            ),
            *line(
                row_P * (H_P**-1 * (l_P - H_PQ * b)) + row_Q * b,
                (
                    "squared norm of the joint fit, y_Pᵀa + y_Qᵀb: B_P² and ỹᵀb",
                    row_P * H_P**-1 * l_P + (row_Q - row_P * H_P**-1 * H_PQ) * b,
                    "expand",
                ),
            ),
            *line(row_P * (H_P**-1 * l_P), ("the source alone, B_P²", source, "identity")),
            *line(left_t * (H_Q**-1 * left), ("fine-tuning to the end moves the weights by ỹᵀH_Q⁻¹ỹ, squared", sequential, "identity")),
            *line(left_t * (S**-1 * left), ("with b = S⁻¹ỹ the rest is B_joint² − B_P²", joint, "identity")),
            *line(
                (H_Q - H_QP * H_P**-1 * H_PQ) * candidate * left,
                (
                    "S times a candidate for its inverse, with any regular Z",
                    left + H_QP * H_P**-1 * (H_P - H_PQ * H_Q**-1 * H_QP - Z) * Z**-1 * H_PQ * H_Q**-1 * left,
                    "expand",
                ),
            ),
            *line(
                left + H_QP * H_P**-1 * gap * T**-1 * H_PQ * H_Q**-1 * left,
                ("for Z = T = H_P − H_PQ H_Q⁻¹ H_QP it is the inverse (Woodbury)", left, "expand"),
            ),
            *line(
                left_t * (H_Q**-1 + H_Q**-1 * H_QP * T**-1 * H_PQ * H_Q**-1) * left - sequential,
                ("ỹᵀS⁻¹ỹ − ỹᵀH_Q⁻¹ỹ = uᵀT⁻¹u, u = H_PQ H_Q⁻¹ ỹ: what fine-tuning changes on P", repair, "expand"),
            ),
            *line(
                c**2,
                (
                    "along a canonical direction H_Q = 1 and S = 1 − ρ² = 1/(1 + μ): not less, equal only where ρ or c is 0",
                    c**2 * (1 + spread),
                    "expand",
                    "≤",
                ),
            ),
        ),
        results={"source": source, "sequential": sequential, "joint": joint, "repair": repair},
        where={S: H_Q - H_QP * H_P**-1 * H_PQ, T: H_P - H_PQ * H_Q**-1 * H_QP},
        ranges={spread: between(0, 4)},
    )


# Orthonormal bases of both spans of features, F = L U with U Uᵀ = I; C = U_P U_Qᵀ holds the cosines between them.
L_P, L_Pt = with_transpose("L_P", 2, 2)
L_Q, L_Qt = with_transpose("L_Q", 3, 3)
C, C_t = with_transpose("C_PQ", 2, 3)
v = matrix("v_C", 2, 1)
u_1, u_2, w_1, w_2 = sp.symbols("u_1 u_2 w_1 w_2", real=True)


@cache
def canonical() -> Chain:
    """`H_PQ H_Q⁻¹ H_QP H_P⁻¹` is similar to `C Cᵀ`: its eigenvalues are squared cosines, whatever the bases."""
    there_and_back = H_PQ * H_Q**-1 * H_QP * H_P**-1
    return Chain(
        title="Canonical correlations",
        steps=(
            *line(
                L_P * C * C_t * L_P**-1,
                ("C = U_P U_Qᵀ with F = L U, U Uᵀ = I, so that H_P = L_P L_Pᵀ and H_PQ = L_P C L_Qᵀ", there_and_back, "expand"),
            ),
            *line(
                there_and_back * (L_P * v),
                ("where C Cᵀ v = ρ² v this has the eigenvector L_P v: the same eigenvalues", L_P * (C * C_t * v), "expand"),
            ),
            *line(
                (u_1 * w_1 + u_2 * w_2) ** 2,
                ("they are cosines of unit vectors, squared (Cauchy and Schwarz)", (u_1**2 + u_2**2) * (w_1**2 + w_2**2), "expand", "≤"),
            ),
        ),
        results={"there and back": there_and_back},
        where={H_P: L_P * L_Pt, H_Q: L_Q * L_Qt, H_PQ: L_P * C * L_Qt, H_QP: L_Q * C_t * L_Pt},
        ranges={s: between(-1, 1) for s in (u_1, u_2, w_1, w_2)},
    )
