"""Transformed labels `y_{P→Q}(k) = H_QP φ_k(H_P) y_P`: what a net trained on `P` outputs on `Q`."""

from __future__ import annotations

from functools import cache

from theory.formula import Chain
from theory.symbolic import filters
from theory.symbolic.notation import F_P, F_Q, GRAM_BLOCKS, H_P, H_QP, W_0, F_Pt, eta, k, l_P, line, phi_P, q_P


@cache
def chain() -> Chain:
    """Weights after pretraining, seen on `Q`; the filter by induction."""
    transformed = H_QP * phi_P * l_P
    return Chain(
        title="Transformed labels",
        steps=(
            *line(
                F_Pt * (phi_P * l_P) - eta * F_Pt * (F_P * (F_Pt * (phi_P * l_P)) - l_P),
                ("a gradient step on P, from weights that have moved by F_Pᵀ φ y_P", F_Pt * ((phi_P + eta * q_P) * l_P), "expand"),
            ),
            *line(filters.phi + eta * filters.q, ("on a mode φ_k + η q_k = φ_{k+1}", filters.phi.subs(k, k + 1))),
            *line(
                F_Q * (W_0 + F_Pt * (phi_P * l_P)) - F_Q * W_0,
                ("change of the outputs on Q", F_Q * F_Pt * phi_P * l_P, "expand"),
                ("H_QP = F_Q F_Pᵀ", transformed, "expand"),
            ),
            *line(H_P * phi_P * l_P, ("on P itself it is what has been learned: (I − q) y_P", (1 - q_P) * l_P, "expand")),
        ),
        results={"transformed": transformed},
        where=GRAM_BLOCKS,
    )
