"""Functions of a symmetric matrix act mode by mode: `f(H) y = V diag(f(λ)) Vᵀ y`, and energies add up."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import angle, between, c, eta, k, line, whole

lam_1, lam_2 = sp.symbols("lambda_1 lambda_2", positive=True)
y_1, y_2 = sp.symbols("y_1 y_2", real=True)
gain, other = sp.symbols("g h", real=True)

# Short names, so that matrices stay readable: v₁ = (C, S), v₂ = (−S, C), and what a step leaves of each mode.
cosine, sine = sp.symbols("C S", real=True)
left_1, left_2 = sp.symbols("q_1 q_2", real=True)

V = sp.ImmutableMatrix([[cosine, -sine], [sine, cosine]])
"""Any orthonormal basis of the plane, up to a reflection."""

y = sp.ImmutableMatrix([y_1, y_2])
IDENTITY = sp.ImmutableMatrix(sp.eye(2))
WHERE = {
    cosine: sp.cos(angle),
    sine: sp.sin(angle),
    left_1: 1 - eta * lam_1,
    left_2: 1 - eta * lam_2,
    c: sp.cos(angle) * y_1 + sp.sin(angle) * y_2,
}
RANGES = {
    lam_1: between(1, 2),
    lam_2: between(0, 1),
    y_1: between(-2, 2),
    y_2: between(-2, 2),
    gain: between(-2, 2),
    other: between(-2, 2),
    k: whole(1, 6),
}


def composed(first: sp.Expr, second: sp.Expr) -> sp.ImmutableMatrix:
    """`V diag(first, second) Vᵀ`."""
    return sp.ImmutableMatrix(V * sp.diag(first, second) * V.T)


@cache
def spectral_filter() -> Chain:
    """Orthonormality, products, powers by induction, and the coefficient of one mode."""
    H, step = composed(lam_1, lam_2), composed(left_1, left_2)
    power = composed(left_1**k, left_2**k)
    v_1 = V[:, 0].T
    return Chain(
        title="Functions of a Gram matrix",
        steps=(
            *line(sp.ImmutableMatrix(V.T * V), ("eigenvectors are orthonormal", IDENTITY)),
            *line(
                sp.ImmutableMatrix(IDENTITY - eta * H), ("I − ηH, H = V diag(λ) Vᵀ, in the eigenbasis: q₁ = 1 − ηλ₁, q₂ = 1 − ηλ₂", step)
            ),
            *line(composed(left_1**0, left_2**0), ("induction, base: the zeroth power", IDENTITY)),
            *line(
                sp.ImmutableMatrix(step * power),
                ("induction, step: (I − ηH) (I − ηH)^k, the inner Vᵀ V cancels", composed(left_1 ** (k + 1), left_2 ** (k + 1))),
            ),
            *line((v_1 * (power * y))[0], ("v₁ᵀ (I − ηH)^k y = q₁^k v₁ᵀ y", left_1**k * (v_1 * y)[0])),
            *line((v_1 * (composed(gain, other) * y))[0], ("for any filter values g, h: the coefficient c = v₁ᵀ y becomes g c", gain * c)),
        ),
        results={"mode": gain * c},
        where=WHERE,
        ranges=RANGES,
    )


@cache
def mode_energy() -> Chain:
    """The energy of a mode as a quadratic form of the spectral projector, and Parseval's identity."""
    projector = sp.ImmutableMatrix((composed(lam_1, lam_2) - lam_2 * IDENTITY) / (lam_1 - lam_2))
    return Chain(
        title="Energy by mode",
        steps=(
            *line(projector, ("Sylvester: P₁ = (H − λ₂)/(λ₁ − λ₂) projects on v₁", sp.ImmutableMatrix(V[:, 0] * V[:, 0].T))),
            *line((y.T * projector * y)[0], ("so the energy of mode 1 is yᵀ P₁ y, with c = v₁ᵀ y", c**2)),
            *line((V[:, 0].T * y)[0] ** 2 + (V[:, 1].T * y)[0] ** 2, ("Parseval: the energies add up", y_1**2 + y_2**2)),
        ),
        results={"mode": c**2},
        where=WHERE,
        ranges=RANGES,
    )
