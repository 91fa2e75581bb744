"""`H(x, z) = x·z (π − θ)/(2π)`: the tangent kernel of the trained layer, by a Gaussian integral in polar form."""

from __future__ import annotations

from fractions import Fraction
from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import angle, at, between, kappa, line, m, radius, theta, whole

inner = sp.Symbol("s", real=True)
probability = sp.Symbol("p", positive=True)
sign_bit, neuron = sp.symbols("b i", integer=True)
readout = sp.Symbol("a", real=True)
x_norm, z_norm = sp.symbols("|x| |z|", positive=True)


@cache
def chain() -> Chain:
    """From the sum over neurons to the closed form: one neuron, the plane of `x` and `z`, polar form, two integrals."""
    w1, w2 = radius * sp.cos(angle), radius * sp.sin(angle)
    gaussian = sp.exp(-(w1**2 + w2**2) / (2 * kappa**2)) / (2 * sp.pi * kappa**2)
    jacobian = sp.Matrix([w1, w2]).jacobian([radius, angle]).det()
    radial = radius / kappa**2 * sp.exp(-(radius**2) / (2 * kappa**2))
    around = sp.Integral(1 / (2 * sp.pi), (angle, theta - sp.pi / 2, sp.pi / 2))
    wedge = (sp.pi - theta) / (2 * sp.pi)
    closed = inner * wedge
    return Chain(
        title="ReLU Gram function",
        steps=(
            *line(
                sp.Sum((readout / sp.sqrt(m)) ** 2 * inner * probability, (neuron, 1, m)),
                (
                    "∂f/∂w_i(x)·∂f/∂w_i(z) has mean (a/√m)² s p, s = x·z, p = P(w·x ≥ 0, w·z ≥ 0)",
                    readout**2 * inner * probability,
                    "evaluate",
                ),
                ("a = ±1", inner * probability),
            ),
            *line(
                gaussian * jacobian,
                (
                    "polar coordinates in the plane of x and z: density times Jacobian is a radial times an angular density",
                    radial / (2 * sp.pi),
                ),
            ),
            *line(
                sp.Integral(radial, (radius, 0, sp.oo)) * around,
                ("radial integral: 1 for every κ, so κ drops out", around, "evaluate"),
                ("angular integral over the wedge θ − π/2 ≤ ω ≤ π/2, where w·x ≥ 0 and w·z ≥ 0", wedge, "evaluate"),
            ),
            *line(inner * around, ("insert p into s p", closed, "evaluate")),
        ),
        results={"closed form": closed},
        where={readout: (-1) ** sign_bit},
        ranges={inner: between(-2, 2), probability: between(0, 1), sign_bit: whole(0, 1)},
    )


@cache
def limits() -> Chain:
    """Parallel rows, a row with itself, opposite rows, orthogonal rows."""
    closed = x_norm * z_norm * sp.cos(theta) * (sp.pi - theta) / (2 * sp.pi)
    return Chain(
        title="ReLU Gram function at parallel, opposite and orthogonal inputs",
        steps=(
            *line(inner * (sp.pi - theta) / (2 * sp.pi), ("x·z = ‖x‖‖z‖ cos θ", closed)),
            *line(sp.Limit(closed, theta, 0, "+"), ("parallel: θ → 0", x_norm * z_norm / 2, "evaluate")),
            *line(at(x_norm * z_norm / 2, z_norm, x_norm), ("a row with itself", x_norm**2 / 2, "evaluate")),
            *line(sp.Limit(closed, theta, sp.pi, "-"), ("opposite: θ → π", sp.Integer(0), "evaluate")),
            *line(at(closed, theta, sp.pi / 2), ("orthogonal: cos θ = 0", sp.Integer(0), "evaluate")),
        ),
        results={"parallel": x_norm * z_norm / 2, "opposite": sp.Integer(0)},
        where={inner: x_norm * z_norm * sp.cos(theta)},
        ranges={x_norm: between(0, 3), z_norm: between(0, 3), theta: between(Fraction(1, 10), 3)},
    )
