"""Loss, gradient and their change along the gradient: moments `rᵀHᵖr` of the residual."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain, Step
from theory.symbolic.notation import at, between, c, eta, lam, line

f_11, f_12, f_21, f_22, w_1, w_2, y_1, y_2 = sp.symbols("f_11 f_12 f_21 f_22 w_1 w_2 y_1 y_2", real=True)
lam_1, lam_2, c_1, c_2, feature = sp.symbols("lambda_1 lambda_2 c_1 c_2 f", positive=True)
change, distance = sp.symbols("Delta d", positive=True)
s_0, s_1, s_2, s_3 = sp.symbols("s_0 s_1 s_2 s_3", positive=True)
ahead = (c**2 - 2 * eta * (lam * c**2) + eta**2 * (lam**2 * c**2)) / 2
parabola = (s_0 - 2 * eta * s_1 + eta**2 * s_2) / 2
MOMENTS = {s: lam_1**p * c_1**2 + lam_2**p * c_2**2 for p, s in enumerate((s_0, s_1, s_2, s_3))}
"""`s_p = rᵀHᵖr`, written out for two modes."""

RANGES = {s: between(-2, 2) for s in (f_11, f_12, f_21, f_22, w_1, w_2, y_1, y_2)} | {s: between(0, 2) for s in (lam_1, lam_2, c_1, c_2)}


def gradient_lines() -> tuple[Step, ...]:
    """The gradient of two weights on two points, and its squared length as `rᵀHr`."""
    r_1, r_2 = y_1 - f_11 * w_1 - f_12 * w_2, y_2 - f_21 * w_1 - f_22 * w_2
    loss = (r_1**2 + r_2**2) / 2
    slope_1, slope_2 = -(f_11 * r_1 + f_21 * r_2), -(f_12 * r_1 + f_22 * r_2)
    F, r = sp.Matrix([[f_11, f_12], [f_21, f_22]]), sp.Matrix([r_1, r_2])
    return (
        *line(sp.Derivative(loss, w_1), ("∂L/∂W = −Fᵀr, first weight", slope_1, "evaluate")),
        *line(sp.Derivative(loss, w_2), ("∂L/∂W = −Fᵀr, second weight", slope_2, "evaluate")),
        *line(slope_1**2 + slope_2**2, ("its squared length is rᵀ F Fᵀ r = rᵀHr", (r.T * F * F.T * r)[0], "expand")),
    )


@cache
def gradient_norm() -> Chain:
    """`‖∂L/∂W‖² = rᵀHr`, per mode `λc²`."""
    return Chain(
        title="Gradient norm",
        steps=(
            *gradient_lines(),
            *line((feature * c) ** 2, ("on a mode, a feature f = √λ", lam * c**2)),
        ),
        results={"mode": lam * c**2},
        where={feature: sp.sqrt(lam)},
        ranges=RANGES,
    )


@cache
def loss_along_gradient() -> Chain:
    """One step of size `η` leaves `(1 − ηλ)c` of a mode: a parabola in `η`."""
    return Chain(
        title="Loss along the gradient",
        steps=(
            *gradient_lines(),
            *line(
                ((1 - eta * lam) * c) ** 2 / 2,
                ("multiply out: moments rᵀr, rᵀHr, rᵀH²r of a mode", ahead),
            ),
        ),
        results={"mode": ahead},
        ranges=RANGES,
    )


@cache
def loss_range() -> Chain:
    """The parabola's vertex and its value there; on an interval the extremes are the vertex or the ends."""
    least = (s_0 - s_1**2 / s_2) / 2
    return Chain(
        title="Range of the loss along the gradient",
        steps=(
            *line(
                (((1 - eta * lam_1) * c_1) ** 2 + ((1 - eta * lam_2) * c_2) ** 2) / 2,
                ("loss one step ahead, two modes; s_p = rᵀHᵖr", parabola),
            ),
            *line(sp.Derivative(parabola, eta), ("slope in the step size, with s_p = rᵀHᵖr", eta * s_2 - s_1, "evaluate")),
            *line(at(eta * s_2 - s_1, eta, s_1 / s_2), ("zero at the vertex η = s₁/s₂", sp.Integer(0), "evaluate")),
            *line(
                sp.Derivative(parabola, eta, 2),
                ("curvature s₂ > 0: the vertex is the least, an end of the interval the largest", s_2, "evaluate"),
            ),
            *line(at(parabola, eta, s_1 / s_2), ("value at the vertex", least, "evaluate")),
        ),
        results={"slope": eta * s_2 - s_1, "least": least, "ahead": parabola},
        where=MOMENTS,
        ranges=RANGES,
    )


@cache
def gradient_change() -> Chain:
    """A step changes a mode's residual by `ηλc`, and its gradient by `√λ` times that."""
    return Chain(
        title="Change of the gradient",
        steps=(
            *gradient_lines(),
            *line(c - (1 - eta * lam) * c, ("change of the residual of a mode over a step", eta * lam * c)),
            *line((feature * (eta * lam * c)) ** 2, ("change of the gradient, squared; a feature f = √λ", eta**2 * lam**3 * c**2)),
        ),
        results={"mode": eta**2 * lam**3 * c**2},
        where={feature: sp.sqrt(lam)},
        ranges=RANGES,
    )


@cache
def effective_smoothness() -> Chain:
    """Change of the gradient per distance along it; `η` drops out."""
    return Chain(
        title="Effective smoothness",
        steps=(
            *line(
                (sp.sqrt(lam_1) * eta * lam_1 * c_1) ** 2 + (sp.sqrt(lam_2) * eta * lam_2 * c_2) ** 2,
                ("squared change of the gradient, two modes: Δ = η² s₃", change),
            ),
            *line(
                (eta * sp.sqrt(lam_1) * c_1) ** 2 + (eta * sp.sqrt(lam_2) * c_2) ** 2,
                ("squared distance moved: d = η² s₁", distance),
            ),
            *line(sp.sqrt(change) / sp.sqrt(distance), ("the root of their ratio: η drops out", sp.sqrt(s_3 / s_1))),
        ),
        results={"smoothness": sp.sqrt(s_3 / s_1)},
        where={**MOMENTS, change: eta**2 * s_3, distance: eta**2 * s_1},
        ranges=RANGES,
    )
