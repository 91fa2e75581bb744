"""Steps to a loss: the loss falls at every stable step, so the least number of steps is where it first meets the target."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Expression
from theory.symbolic import displacement
from theory.symbolic.notation import between, c, line

shrink = sp.Symbol("a", positive=True)
target = sp.Symbol("epsilon", positive=True)


@cache
def acceleration() -> Chain:
    """What pretraining saves in one mode."""
    left = sp.Symbol("d", positive=True)
    start = sp.Symbol("b", positive=True)

    def crossing(size: Expression) -> Expression:
        return sp.log(2 * target / size**2) / (2 * sp.log(shrink))

    saved = sp.log(start / left) / (-sp.log(shrink))
    return Chain(
        title="Steps saved by pretraining",
        steps=(
            *chain().steps,
            *line(
                crossing(start) - crossing(left),
                ("one mode, b = |vᵀy_Q| from scratch and d = |vᵀỹ| pretrained", saved, "numbers"),
            ),
        ),
        results={"mode": chain().results["mode"], "saved": saved},
        ranges={**chain().ranges, left: between(0, 2), start: between(0, 2)},
    )


@cache
def chain() -> Chain:
    """Loss of a mode, its fall, and the crossing of a single mode."""
    left = displacement.loss().results["mode"]
    crossing = sp.log(2 * target / c**2) / (2 * sp.log(shrink))
    return Chain(
        title="Steps to a loss",
        steps=(
            *displacement.loss().steps,
            *line(
                c**2 * sp.exp(2 * crossing * sp.log(shrink)) / 2, ("one mode with |1 − ηλ| = a meets ε at k = log(2ε/c²)/(2 log a)", target)
            ),
        ),
        results={"mode": left},
        ranges={shrink: between(0, 1), target: between(0, 1)},
    )
