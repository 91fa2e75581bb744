"""How far a neuron moves, and what neurons within reach can change in the kernel."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, eta, line, m, with_transpose


@cache
def movement() -> Chain:
    """`‖Δw_r‖ ≤ η ‖X‖ ‖r‖/√m` in a step."""
    X, Xt = with_transpose("X", 2, 3)
    r, rt = with_transpose("r_D", 2, 1)
    length, top, rest = sp.symbols("rho_r s_X z", nonnegative=True)
    return Chain(
        title="A neuron's step",
        steps=(
            *line(
                (eta * rt * X) * (eta * Xt * r),
                ("m ‖Δw_r‖² for Δw_r = η a_r Xᵀ D r/√m, a_r² = 1, D the gates", eta**2 * (rt * X * Xt * r), "expand"),
            ),
            *line(
                eta**2 * top**2 * (length**2) / m,
                (
                    "at most the largest eigenvalue of XXᵀ, s² = ‖X‖², times ‖Dr‖² ≤ ‖r‖²",
                    eta**2 * top**2 * (length**2 + rest**2) / m,
                    "expand",
                    "≤",
                ),
            ),
            *line(
                sp.sqrt(eta**2 * top**2 * length**2 / m),
                ("its root, summed over steps and stages", eta * top * length / sp.sqrt(m)),
            ),
        ),
        results={"step": eta * top * length / sp.sqrt(m)},
        ranges={length: between(0, 2), top: between(0, 2), rest: between(0, 2)},
    )


@cache
def kernel_change() -> Chain:
    """`‖ΔK‖ ≤ 2f ‖|XXᵀ|‖`."""
    f, f_1, f_2, both, more_1, more_2 = sp.symbols("f f_i f_j f_ij x y", nonnegative=True)
    a, a_less, b, b_less, size = sp.symbols("a_+ a_- b_+ b_- G", nonnegative=True)
    left = (f - more_1) + (f - more_2)
    return Chain(
        title="Change of the kernel through neurons within reach",
        steps=(
            *line(
                f_1 + f_2 - both,
                ("share of neurons within reach of x or of x', each changing a product of slopes by at most 1", f_1 + f_2, "expand", "≤"),
            ),
            *line(left, ("each share is f at most", 2 * f, "expand", "≤")),
            *line(
                size * (a - a_less) * (b - b_less),
                (
                    "a form is at most that of absolute values: a = a₊ − a₋, |a| = a₊ + a₋",
                    size * (a + a_less) * (b + b_less),
                    "expand",
                    "≤",
                ),
            ),
        ),
        results={"share": 2 * f},
        ranges={s: between(0, 1) for s in (f, f_1, f_2, both, more_1, more_2, a, a_less, b, b_less, size)},
    )
