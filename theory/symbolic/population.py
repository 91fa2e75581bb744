"""Infinitely many samples: each eigenspace is learnt on its own, by source and target alike."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic.notation import at, between, c, eta, j, k, lam, line, t, whole

n = sp.Symbol("n", positive=True)
count = sp.Symbol("N", positive=True)
p = sp.Symbol("p", real=True)
source, target = sp.symbols("E_P E_Q", positive=True)
cross = sp.Symbol("C", real=True)
share = sp.Symbol("s", real=True)
left, scratch = sp.symbols("D D_0", positive=True)
steps = sp.Symbol("tau", positive=True)
feature = sp.Symbol("f", positive=True)

q = (1 - eta * n * lam) ** k
RANGES = {
    n: between(Fraction(1, 5), 1),
    p: between(-2, 2),
    source: between(0, 2),
    target: between(0, 2),
    cross: between(-2, 2),
    share: between(0, 1),
    left: between(0, 2),
    scratch: between(0, 2),
    j: whole(0, 9),
    count: whole(2, 9),
}


def learning() -> tuple[Step, ...]:
    """What steps leave of an eigenfunction's coefficient."""
    factor = 1 - eta * n * lam
    return (
        *line(
            c - eta * sp.Sum(lam * c, (j, 1, count)),
            (
                "a step: each sample moves the outputs by η h(x, x_i) r(x_i); its mean is λ times the coefficient (law of large numbers)",
                c - eta * count * lam * c,
                "evaluate",
            ),
        ),
        *line(c - eta * n * lam * c, ("factor", factor * c)),
        *line(c * sp.Product(factor, (j, 1, k)), ("k such steps", c * q, "evaluate")),
    )


@cache
def error() -> Chain:
    """`Σ ‖f_ℓ‖² (1 − ηnλ_ℓ)^{2k}`, and its limit."""
    flow = sp.exp(-n * lam * t)
    return Chain(
        title="Error from infinitely many samples",
        steps=(
            *learning(),
            *line(
                (c * q) ** 2,
                ("mean square of an orthonormal eigenfunction's part", c**2 * (1 - eta * n * lam) ** (2 * k)),
            ),
            *line(at(c**2 * (1 - eta * n * lam) ** (2 * k), lam, 0), ("eigenvalue 0: it stays, the floor", c**2, "evaluate")),
            *line(
                sp.Limit(c**2 * (1 + steps) ** (-2 * k), k, sp.oo), ("to the end, with |1 − ηnλ| = 1/(1 + τ)", sp.Integer(0), "evaluate")
            ),
            *line(
                sp.Limit((1 - t * n * lam / count) ** count, count, sp.oo),
                ("flow: steps of size η = t/N, N → ∞", flow, "evaluate"),
            ),
            *line((c * flow) ** 2, ("its mean square", c**2 * sp.exp(-2 * n * lam * t))),
        ),
        results={
            "mode": c**2 * (1 - eta * n * lam) ** (2 * k),
            "floor": c**2,
            "end": sp.Integer(0),
            "flow": c**2 * sp.exp(-2 * n * lam * t),
        },
        ranges={**RANGES, steps: between(Fraction(1, 5), 2)},
    )


@cache
def transfer() -> Chain:
    """What the source leaves of the target, by eigenspace; where that is least; the gain."""
    remaining = target - 2 * share * cross + share**2 * source
    c_1, c_2, p_1, p_2 = sp.symbols("c_1 c_2 p_1 p_2", real=True)
    return Chain(
        title="Transfer from infinitely many samples",
        steps=(
            *learning(),
            *line((p - p * q) / p, ("share learnt of the source's coefficient", 1 - q)),
            *line(
                (c_1 - share * p_1) ** 2 + (c_2 - share * p_2) ** 2,
                (
                    "what is left of the target in an eigenspace, two of its functions; E_Q = Σ c², E_P = Σ p², C = Σ cp, s = 1 − q",
                    remaining.subs({target: c_1**2 + c_2**2, source: p_1**2 + p_2**2, cross: c_1 * p_1 + c_2 * p_2}),
                    "expand",
                ),
            ),
            *line(
                sp.Derivative(remaining, share),
                ("it falls until the share C/E_P is learnt, and then rises", 2 * source * (share - cross / source), "evaluate"),
            ),
            *line(
                (target - share * cross) - share * (cross - share * source),
                ("in energies: ⟨f̃, f_Q⟩ − s ⟨f̃, f_P⟩", remaining, "expand"),
            ),
            *line(remaining / feature**2, ("weights that fit it, each of a feature f = √λ, have this squared norm", remaining / lam)),
            *line(
                (sp.sqrt(scratch) - sp.sqrt(left)) / sp.sqrt(scratch),
                ("gain, D and D_0 the sums of these with and without source", 1 - sp.sqrt(left / scratch)),
            ),
        ),
        results={"share": 1 - q, "remaining": remaining, "weights": remaining / lam, "gain": 1 - sp.sqrt(left / scratch)},
        where={feature: sp.sqrt(lam)},
        ranges={**RANGES, **{s: between(-2, 2) for s in (c_1, c_2, p_1, p_2)}},
    )
