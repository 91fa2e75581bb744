"""How far the weights have moved and what loss is left after `k` steps, mode by mode."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic import filters
from theory.symbolic.notation import F_P, GRAM_BLOCKS, H_P, F_Pt, at, c, eta, k, lam, line, with_transpose

gamma, gamma_t = with_transpose("gamma_k", 2, 1)
phi = sp.Symbol("phi", positive=True)
moved = c**2 * (1 - filters.q) ** 2 / lam


@cache
def squared() -> Chain:
    """`‖W(k) − W(0)‖² = γᵀHγ`, per mode `c²(1 − (1 − ηλ)^k)²/λ`; monotone where `ηλ ≤ 1`."""
    return Chain(
        title="Displacement after k steps",
        steps=(
            *line((gamma_t * F_P) * (F_Pt * gamma), ("W(k) − W(0) = Fᵀγ, squared", gamma_t * H_P * gamma, "expand")),
            *line(
                lam * (phi * c) ** 2,
                ("on a mode γ = φ c and H = λ, with φ = (1 − (1 − ηλ)^k)/λ", moved),
            ),
            *line(
                (1 - filters.q.subs(k, k + 1)) - (1 - filters.q),
                ("what step k + 1 adds to 1 − q_k: not negative for ηλ ≤ 1, alternating beyond", eta * lam * filters.q),
            ),
            *line(sp.Limit(moved, lam, 0, "+"), ("zero mode: does not move the weights", sp.Integer(0), "evaluate")),
            *line(
                sp.Limit(c**2 * (1 - filters.shrink**k) ** 2 / lam, k, sp.oo),
                ("to the end: q → 0, with |1 − ηλ| = 1/(1 + μ)", c**2 / lam, "evaluate"),
            ),
        ),
        results={"mode": moved, "zero mode": sp.Integer(0), "end": c**2 / lam},
        where={**GRAM_BLOCKS, phi: filters.phi},
        ranges=filters.SHRINK_RANGE,
    )


@cache
def loss() -> Chain:
    """`½‖q_k y‖²`, per mode `½ c² (1 − ηλ)^{2k}`."""
    left = c**2 * (1 - eta * lam) ** (2 * k) / 2
    return Chain(
        title="Loss after k steps",
        steps=(
            *filters.residual_induction(),
            *line((c * filters.factors) ** 2 / 2, ("half the squared residual of a mode, k equal factors", left, "evaluate")),
            *line(left - left.subs(k, k + 1), ("it falls at every step for 0 < ηλ < 2", left * eta * lam * (2 - eta * lam))),
            *line(at(left, lam, 0), ("zero mode: its loss stays", c**2 / 2, "evaluate")),
        ),
        results={"mode": left, "zero mode": c**2 / 2},
    )
