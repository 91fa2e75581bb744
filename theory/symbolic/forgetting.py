"""The source residual after fine-tuning, `q_P y_P − H_PQ φ(H_Q) ỹ`, and the rise of the source loss."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.fine_tuning import remaining
from theory.symbolic.notation import F_P, GRAM_BLOCKS, H_P, H_PQ, F_Pt, F_Qt, between, l_P, line, phi_P, phi_Q, q_P

before, change = sp.symbols("a b", real=True)


@cache
def chain() -> Chain:
    """What both stages leave on `P`, and the difference of the losses; it can have either sign."""
    final = q_P * l_P - H_PQ * phi_Q * remaining
    return Chain(
        title="Forgetting",
        steps=(
            *line(
                l_P - F_P * (F_Pt * (phi_P * l_P) + F_Qt * (phi_Q * remaining)),
                ("weights after both stages, seen on P", l_P - H_P * phi_P * l_P - H_PQ * phi_Q * remaining, "expand"),
                ("q = I − Hφ", final, "expand"),
            ),
            *line(
                (before - change) ** 2 / 2 - before**2 / 2,
                (
                    "rise of the loss of a point: residual a before, a − b after; negative where fine-tuning helps P",
                    change**2 / 2 - before * change,
                ),
            ),
        ),
        results={"residual": final, "rise": change**2 / 2 - before * change},
        where=GRAM_BLOCKS,
        ranges={before: between(-2, 2), change: between(-2, 2)},
    )
