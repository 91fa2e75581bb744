"""The residual filter `q_k(λ) = (1 − ηλ)^k` and the integral filter `φ_k(λ) = (1 − (1 − ηλ)^k)/λ`, by induction over steps."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic.notation import at, between, c, eta, j, k, lam, line

q = (1 - eta * lam) ** k
phi = (1 - q) / lam
margin = sp.Symbol("mu", positive=True)
factors = sp.Product(1 - eta * lam, (j, 0, k - 1))
terms = eta * sp.Sum((1 - eta * lam) ** j, (j, 0, k - 1))

# |1 − ηλ| < 1 for 0 < ηλ < 2, so it is 1/(1 + μ) for some μ > 0.
shrink = 1 / (1 + margin)
SHRINK_RANGE = {margin: between(1, 4)}


def residual_induction() -> tuple[Step, ...]:
    """Lines that lead from one step on a mode to `k` steps."""
    return (
        *line(c - eta * (lam * c), ("one step on a mode, H v = λ v: what is left of c is c − ηλc", (1 - eta * lam) * c)),
        *line(at(q, k, 0), ("induction, base: no step leaves everything", sp.Integer(1), "evaluate")),
        *line((1 - eta * lam) * q, ("induction, step k → k + 1: one more factor", q.subs(k, k + 1))),
    )


@cache
def residual() -> Chain:
    """`q_k` by induction, on a zero mode, and to the end."""
    return Chain(
        title="Residual filter",
        steps=(
            *residual_induction(),
            *line(factors, ("the filter: k equal factors", q, "evaluate")),
            *line(at(q, lam, 0), ("zero mode: nothing is ever learned", sp.Integer(1), "evaluate")),
            *line(
                sp.Limit(shrink**k, k, sp.oo),
                ("to the end, 0 < ηλ < 2: |1 − ηλ|^k with |1 − ηλ| = 1/(1 + μ) vanishes", sp.Integer(0), "evaluate"),
            ),
        ),
        results={"mode": q, "zero mode": sp.Integer(1), "end": sp.Integer(0)},
        ranges=SHRINK_RANGE,
    )


@cache
def integral() -> Chain:
    """`φ_k` by induction, as a geometric series, on a zero mode, and to the end."""
    return Chain(
        title="Integral filter",
        steps=(
            *line(at(phi, k, 0), ("induction, base: the empty sum", sp.Integer(0), "evaluate")),
            *line(
                phi + eta * q,
                ("induction, step k → k + 1: add η q_k", (1 - (1 - eta * lam) * q) / lam),
                ("(1 − ηλ) q_k = q_{k+1}", phi.subs(k, k + 1)),
            ),
            # SymPy writes the series as a case distinction over ηλ = 0; the induction above is the proof.
            *line(terms, ("geometric series, the two lines above", phi, "numbers")),
            *line(lam * phi, ("H φ_k = I − q_k on a mode: what is learned and what is left add up", 1 - q)),
            *line(sp.Limit(phi, lam, 0, "+"), ("zero mode: λ → 0", eta * k, "evaluate")),
            *line(
                sp.Limit((1 - shrink**k) / lam, k, sp.oo), ("to the end, 0 < ηλ < 2: q → 0, with |1 − ηλ| = 1/(1 + μ)", 1 / lam, "evaluate")
            ),
        ),
        results={"mode": phi, "zero mode": eta * k, "end": 1 / lam},
        ranges=SHRINK_RANGE,
    )
