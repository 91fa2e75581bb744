"""The angle of nearly parallel or opposite unit vectors: `θ = 2 atan2(‖u − v‖, ‖u + v‖)`, and the kernel's weight from it."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import at, between, line

tau = sp.Symbol("tau", positive=True)
inner = sp.Symbol("s", real=True)
theta = sp.Symbol("theta", positive=True)
apart, together = sp.symbols("delta sigma", positive=True)


@cache
def chain() -> Chain:
    """With `τ = tan(θ/2)`: the two distances, their ratio, the angle, and the weight `(π − θ)/(2π)` without a cancellation."""
    cosine, sine = (1 - tau**2) / (1 + tau**2), 2 * tau / (1 + tau**2)
    u, v = sp.Matrix([1, 0]), sp.Matrix([cosine, sine])
    far, near = 2 * tau / sp.sqrt(1 + tau**2), 2 / sp.sqrt(1 + tau**2)
    weight = sp.atan2(together, apart) / sp.pi
    gap = sp.pi / 2 - sp.atan(tau) - sp.atan(1 / tau)
    return Chain(
        title="Angle of nearly parallel vectors",
        steps=(
            *line(cosine**2 + sine**2, ("v = (cos θ, sin θ) in terms of τ = tan(θ/2) is a unit vector", sp.Integer(1))),
            *line(
                ((u - v).T * (u - v))[0],
                ("δ² = ‖u − v‖²", 4 * tau**2 / (1 + tau**2)),
            ),
            *line(sp.sqrt(4 * tau**2 / (1 + tau**2)), ("δ = 2 sin(θ/2), free of cancellation", far)),
            *line(((u + v).T * (u + v))[0], ("σ² = ‖u + v‖²", 4 / (1 + tau**2))),
            *line(sp.sqrt(4 / (1 + tau**2)), ("σ = 2 cos(θ/2)", near)),
            *line(
                2 * sp.atan2(far, near, evaluate=False),
                ("2 atan2(δ, σ) = 2 atan(δ/σ), σ > 0", 2 * sp.atan(tau), "evaluate"),
                ("τ = tan(θ/2)", theta, "identity"),
            ),
            *line(sp.Derivative(gap, tau), ("π/2 − atan τ − atan(1/τ) is constant", sp.Integer(0), "evaluate")),
            *line(at(gap, tau, 1), ("and zero at τ = 1", sp.Integer(0), "evaluate")),
            *line(
                (sp.pi - theta) / (2 * sp.pi),
                ("θ = 2 atan τ", (sp.pi / 2 - sp.atan(tau)) / sp.pi),
                # The derivative and the value above show it; SymPy has no rule for atan(1/τ).
                ("π/2 − atan τ = atan(1/τ), the two lines above", sp.atan(1 / tau) / sp.pi, "numbers"),
                ("1/τ = σ/δ", weight, "simplify"),
            ),
            *line(inner * (sp.pi - theta) / (2 * sp.pi), ("the Gram function with this weight", inner * weight, "numbers")),
        ),
        results={"closed form": inner * weight},
        where={theta: 2 * sp.atan(tau), apart: far, together: near},
        ranges={tau: between(Fraction(1, 10**6), 10), inner: between(-2, 2)},
    )
