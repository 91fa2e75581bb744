"""What gradient descent leaves after `k` steps, `y − u(k) = (I − ηH)^k y`, and the dual coefficients `φ_k(H) y`."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic import filters, flow
from theory.symbolic.notation import F_P, GRAM_BLOCKS, H_P, W_0, F_Pt, at, c, eta, k, l_P, lam, line, matrix, phi_P, q_P, t

gamma = matrix("gamma", 2, 1)


def one_step() -> tuple[Step, ...]:
    """The residual after one step on the weights of a linear model."""
    r = l_P - F_P * W_0
    return line(
        l_P - F_P * (W_0 - eta * F_Pt * (F_P * W_0 - l_P)),
        ("gradient step W ← W − η Fᵀ(F W − y): multiply out", r - eta * F_P * F_Pt * r, "expand"),
        ("H = F Fᵀ, and factor", (1 - eta * H_P) * r, "expand"),
    )


@cache
def residual() -> Chain:
    """One step in weight space, then induction on a mode."""
    return Chain(
        title="Residual after k steps",
        steps=(
            *one_step(),
            *filters.residual_induction(),
            *line(c * filters.factors, ("a mode after k steps: k equal factors", c * filters.q, "evaluate")),
            *line(at(c * filters.q, lam, 0), ("zero mode", c, "evaluate")),
            *line(sp.Limit(c * filters.shrink**k, k, sp.oo), ("to the end, with |1 − ηλ| = 1/(1 + μ)", sp.Integer(0), "evaluate")),
        ),
        results={"mode": c * filters.q, "zero mode": c, "end": sp.Integer(0)},
        where=GRAM_BLOCKS,
        ranges=filters.SHRINK_RANGE,
    )


@cache
def flow_residual() -> Chain:
    """The flow in weight space, then its solution on a mode."""
    r = l_P - F_P * W_0
    return Chain(
        title="Residual of gradient flow",
        steps=(
            *line(-F_P * (-F_Pt * (F_P * W_0 - l_P)), ("dr/dt = −F dW/dt with dW/dt = −Fᵀ(F W − y), r = y − F W", -H_P * r, "expand")),
            *flow.residual_lines(),
            *line(c * sp.Limit((1 - t * lam / flow.n) ** flow.n, flow.n, sp.oo), ("a mode at time t", c * flow.q, "evaluate")),
        ),
        results={"mode": c * flow.q},
        where=GRAM_BLOCKS,
    )


@cache
def coefficients() -> Chain:
    """Weights stay in the span of the features; the coefficients add up to `φ_k(H) y`."""
    return Chain(
        title="Dual coefficients after k steps",
        steps=(
            *line(F_P * (F_Pt * gamma), ("weights that moved by Fᵀγ have moved the outputs by Hγ", H_P * gamma, "expand")),
            *line(
                F_Pt * gamma - eta * F_Pt * (F_P * (F_Pt * gamma) - l_P),
                (
                    "a gradient step stays in the span of the features: γ ← γ + η(y − Hγ)",
                    F_Pt * (gamma + eta * (l_P - H_P * gamma)),
                    "expand",
                ),
            ),
            *line(
                phi_P * l_P + eta * (l_P - H_P * phi_P * l_P),
                ("induction: for γ = φ y, with q = I − Hφ, the next is (φ + ηq) y", (phi_P + eta * q_P) * l_P, "expand"),
            ),
            *line(filters.phi + eta * filters.q, ("and φ_k + η q_k = φ_{k+1} on a mode", filters.phi.subs(k, k + 1))),
            *line(c * filters.terms, ("a mode after k steps: the geometric series, shown by this induction", c * filters.phi, "numbers")),
            *line(c * sp.Limit(filters.phi, lam, 0, "+"), ("zero mode", c * eta * k, "evaluate")),
            *line(c * sp.Limit((1 - filters.shrink**k) / lam, k, sp.oo), ("to the end, with |1 − ηλ| = 1/(1 + μ)", c / lam, "evaluate")),
        ),
        results={"mode": c * filters.phi, "zero mode": c * eta * k, "end": c / lam},
        where=GRAM_BLOCKS,
        ranges=filters.SHRINK_RANGE,
    )
