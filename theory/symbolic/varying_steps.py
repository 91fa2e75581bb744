"""Gradient descent with step sizes that vary: products in place of powers."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, c, eta, lam, line

left, moved = sp.symbols("p s", real=True)
RANGES = {left: between(-1, 1), moved: between(-1, 1)}


@cache
def residual() -> Chain:
    """One more factor a step."""
    return Chain(
        title="Residual filter of varying steps",
        steps=(
            *line(c - eta * (lam * c), ("one step of size η on a mode", (1 - eta * lam) * c)),
            *line(left * c - eta * (lam * (left * c)), ("after steps that leave p c: one more factor", (1 - eta * lam) * left * c)),
            *line(left - eta * (lam * left), ("so p ← (1 − ηλ) p from p = 1, a product over the steps", (1 - eta * lam) * left)),
        ),
        results={"next": (1 - eta * lam) * left},
        ranges=RANGES,
    )


@cache
def integral() -> Chain:
    """`(1 − p)/λ`: every step adds `η p`."""
    mode = (1 - left) / lam
    return Chain(
        title="Integral filter of varying steps",
        steps=(
            *line(moved - eta * (lam * moved - 1), ("one step on the coefficient of a mode", moved + eta * (1 - lam * moved))),
            *line(mode + eta * (1 - lam * mode), ("induction: for s = (1 − p)/λ the next is", (1 - (1 - eta * lam) * left) / lam)),
            *line(sp.Subs(mode, left, 1), ("from p = 1", sp.Integer(0), "evaluate")),
            *line(1 / lam - left / lam, ("so after all steps", mode)),
            *line(
                sp.Subs(moved + eta * (1 - lam * moved), lam, 0),
                ("zero mode: the steps add up", moved + eta, "evaluate"),
            ),
        ),
        results={"mode": mode, "zero mode": moved + eta},
        ranges=RANGES,
    )
