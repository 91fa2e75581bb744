"""Steps to a loss: the loss falls at every stable step, so the least number of steps is where it first meets the target."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic import displacement
from theory.symbolic.notation import between, c, line

shrink = sp.Symbol("a", positive=True)
target = sp.Symbol("epsilon", positive=True)


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
