"""Functions of a symmetric matrix act mode by mode: `f(H) y = V diag(f(λ)) Vᵀ y`, and energies add up."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import angle, between, c, eta, k, line, whole

lam_1, lam_2 = sp.symbols("lambda_1 lambda_2", positive=True)
y_1, y_2 = sp.symbols("y_1 y_2", real=True)
gain, other = sp.symbols("g g'", real=True)

V = sp.ImmutableMatrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])
"""Any orthonormal basis of the plane, up to a reflection."""

y = sp.ImmutableMatrix([y_1, y_2])
RANGES = {
    lam_1: between(1, 2),
    lam_2: between(0, 1),
    y_1: between(-2, 2),
    y_2: between(-2, 2),
    gain: between(-2, 2),
    other: between(-2, 2),
    k: whole(1, 6),
}


def diagonal(first: sp.Expr, second: sp.Expr) -> sp.ImmutableMatrix:
    """A diagonal 2 × 2 matrix."""
    return sp.ImmutableMatrix([[first, 0], [0, second]])


@cache
def spectral_filter() -> Chain:
    """Orthonormality, products, powers by induction, and the coefficient of one mode."""
    H = V * diagonal(lam_1, lam_2) * V.T
    left_1, left_2 = 1 - eta * lam_1, 1 - eta * lam_2
    step = sp.eye(2) - eta * H
    power = V * diagonal(left_1**k, left_2**k) * V.T
    mode = (V[:, 0].T * (power * y))[0]
    return Chain(
        title="Functions of a Gram matrix",
        steps=(
            *line(sp.ImmutableMatrix(V.T * V), ("eigenvectors are orthonormal", sp.ImmutableMatrix(sp.eye(2)))),
            *line(sp.ImmutableMatrix(step), ("I − ηH in the eigenbasis", sp.ImmutableMatrix(V * diagonal(left_1, left_2) * V.T))),
            *line(
                sp.ImmutableMatrix(V * diagonal(left_1**0, left_2**0) * V.T),
                ("induction, base: the zeroth power", sp.ImmutableMatrix(sp.eye(2))),
            ),
            *line(
                sp.ImmutableMatrix(step * power),
                ("induction, step: inner Vᵀ V cancel", sp.ImmutableMatrix(V * diagonal(left_1 ** (k + 1), left_2 ** (k + 1)) * V.T)),
            ),
            *line(mode, ("v₁ᵀ f(H) y = f(λ₁) v₁ᵀ y", left_1**k * (V[:, 0].T * y)[0])),
            *line(
                (V[:, 0].T * (V * diagonal(gain, other) * V.T * y))[0],
                ("so, for any filter values g, g', a mode's coefficient c = v₁ᵀ y becomes g c", gain * c),
            ),
        ),
        results={"mode": gain * c},
        where={c: (V[:, 0].T * y)[0]},
        ranges=RANGES,
    )


@cache
def mode_energy() -> Chain:
    """The energy of a mode as a quadratic form of the spectral projector, and Parseval's identity."""
    H = V * diagonal(lam_1, lam_2) * V.T
    coefficient_1, coefficient_2 = (V[:, 0].T * y)[0], (V[:, 1].T * y)[0]
    projector = (H - lam_2 * sp.eye(2)) / (lam_1 - lam_2)
    return Chain(
        title="Energy by mode",
        steps=(
            *line(
                sp.ImmutableMatrix(projector),
                ("Sylvester: the projector on v₁ is a polynomial in H", sp.ImmutableMatrix(V[:, 0] * V[:, 0].T)),
            ),
            *line((y.T * projector * y)[0], ("so the energy of mode 1 is yᵀ P₁ y, with c = v₁ᵀ y", c**2)),
            *line(coefficient_1**2 + coefficient_2**2, ("Parseval: the energies add up", y_1**2 + y_2**2)),
        ),
        results={"mode": c**2},
        where={c: (V[:, 0].T * y)[0]},
        ranges=RANGES,
    )
