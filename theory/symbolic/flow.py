"""Gradient flow: `q(t, λ) = exp(−tλ)` and `φ(t, λ) = (1 − exp(−tλ))/λ`, the limit of small steps."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic.notation import at, c, lam, line, t

n = sp.Symbol("n", positive=True)
moment = sp.Symbol("u", positive=True)
q = sp.exp(-t * lam)
phi = (1 - q) / lam


def residual_lines() -> tuple[Step, ...]:
    """The flow's equation on a mode, its initial value, and the limit of descent."""
    return (
        *line(sp.Derivative(c * q, t), ("the flow on a mode: dc/dt = −λc", -lam * (c * q), "evaluate")),
        *line(at(c * q, t, 0), ("initial value", c, "evaluate")),
        *line(sp.Limit((1 - t * lam / n) ** n, n, sp.oo), ("descent with n steps of size η = t/n, n → ∞", q, "evaluate")),
    )


@cache
def residual() -> Chain:
    """`exp(−tλ)` solves the flow and is the limit of descent."""
    return Chain(
        title="Residual filter of gradient flow",
        steps=(
            *residual_lines(),
            *line(at(q, lam, 0), ("zero mode", sp.Integer(1), "evaluate")),
        ),
        results={"mode": q, "zero mode": sp.Integer(1)},
    )


@cache
def integral() -> Chain:
    """The time integral of `exp(−sλ)`, and its value on a zero mode."""
    return Chain(
        title="Integral filter of gradient flow",
        steps=(
            *line(sp.Integral(q.subs(t, moment), (moment, 0, t)), ("integrate the residual filter from 0 to t", phi, "evaluate")),
            *line(lam * phi, ("H φ = I − q on a mode", 1 - q)),
            *line(sp.Derivative(phi, t), ("dφ/dt = q", q, "evaluate")),
            *line(sp.Limit(phi, lam, 0, "+"), ("zero mode: λ → 0", t, "evaluate")),
        ),
        results={"mode": phi, "zero mode": t},
    )
