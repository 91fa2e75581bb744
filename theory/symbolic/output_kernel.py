"""Covariance of the initial outputs: `κ²‖x‖‖z‖ (sin θ + (π − θ) cos θ)/(2π)`, exact at any width."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import angle, between, kappa, line, m, radius, theta, whole

x_norm, z_norm = sp.symbols("|x| |z|", positive=True)
sign_bit, neuron = sp.symbols("b i", integer=True)
readout, other = sp.symbols("a u", real=True)
second = sp.Symbol("C", real=True)


@cache
def chain() -> Chain:
    """Neurons with random signs do not correlate; one neuron by a Gaussian integral in polar form."""
    radial = radius**3 / kappa**2 * sp.exp(-(radius**2) / (2 * kappa**2))
    limits = (angle, theta - sp.pi / 2, sp.pi / 2)
    product = sp.cos(angle) * sp.cos(angle - theta) / (2 * sp.pi)
    spread = (sp.cos(theta) + sp.cos(2 * angle - theta)) / (4 * sp.pi)
    wedge = (sp.sin(theta) + (sp.pi - theta) * sp.cos(theta)) / (4 * sp.pi)
    closed = kappa**2 * x_norm * z_norm * (sp.sin(theta) + (sp.pi - theta) * sp.cos(theta)) / (2 * sp.pi)
    return Chain(
        title="Covariance of the initial outputs",
        steps=(
            *line(
                sp.Sum((-1) ** sign_bit * other / 2, (sign_bit, 0, 1)),
                ("two neurons, independent signs: a a' has mean zero, whatever their activations", sp.Integer(0), "evaluate"),
            ),
            *line(
                sp.Sum((readout / sp.sqrt(m)) ** 2 * second, (neuron, 1, m)),
                ("so only a neuron with itself is left, C = E[σ(w·x) σ(w·z)]; sum over neurons", readout**2 * second, "evaluate"),
                ("a = ±1: exact at any width", second),
            ),
            *line(
                sp.Integral(radial, (radius, 0, sp.oo)),
                (
                    "polar coordinates, x at 0 and z at θ: w·x = r‖x‖ cos ω, w·z = r‖z‖ cos(ω − θ); radial integral",
                    2 * kappa**2,
                    "evaluate",
                ),
            ),
            *line(product, ("in the plane, over the angle", spread)),
            *line(sp.Integral(spread, limits), ("angular integral over the wedge where both are active", wedge, "evaluate")),
            *line(2 * kappa**2 * x_norm * z_norm * wedge, ("together", closed)),
            *line(
                closed,
                (
                    "κ² times the Gram function, plus a part that only vanishes for parallel inputs",
                    kappa**2
                    * (x_norm * z_norm * sp.cos(theta) * (sp.pi - theta) / (2 * sp.pi) + x_norm * z_norm * sp.sin(theta) / (2 * sp.pi)),
                ),
            ),
        ),
        results={"closed form": closed},
        where={readout: (-1) ** sign_bit},
        ranges={
            x_norm: between(0, 3),
            z_norm: between(0, 3),
            sign_bit: whole(0, 1),
            other: between(-2, 2),
            second: between(-2, 2),
        },
    )
