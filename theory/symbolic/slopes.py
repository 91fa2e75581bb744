"""How far a neuron moves, and what neurons within reach can change in the kernel."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, eta, line, m, matrix, with_transpose


@cache
def movement() -> Chain:
    """`‖Δw_r‖ ≤ η ‖X‖ ‖r‖/√m` in a step."""
    X, Xt = with_transpose("X", 2, 3)
    r, rt = with_transpose("r_D", 2, 1)
    step, step_t = matrix("d_r", 3, 1), matrix("d_r^T", 1, 3)
    length, after, top, rest = sp.symbols("rho_r rho_s s_X z", nonnegative=True)
    total = top * eta * (length + after) / sp.sqrt(m)
    return Chain(
        title="A neuron's step",
        steps=(
            *line(
                step_t * step,
                ("m ‖Δw_r‖² = d·d for Δw_r = a_r d/√m, d = η Xᵀ D r, a_r² = 1, D the gates", eta**2 * (rt * X * Xt * r), "expand"),
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
                eta * top * length / sp.sqrt(m) + eta * top * after / sp.sqrt(m),
                ("its root, summed over steps; stages add", total, "expand"),
            ),
        ),
        results={"moved": total},
        where={step: eta * Xt * r, step_t: eta * rt * X},
        ranges={length: between(0, 2), after: between(0, 2), top: between(0, 2), rest: between(0, 2)},
    )


@cache
def kernel_change() -> Chain:
    """`‖ΔK‖ ≤ 2f ‖|XXᵀ|‖`."""
    f, f_1, f_2, both, more_1, more_2 = sp.symbols("f f_i f_j f_ij x y", nonnegative=True)
    a, a_less, b, b_less, size = sp.symbols("a_+ a_- b_+ b_- G", nonnegative=True)
    left = (f - more_1) + (f - more_2)
    below, above, p, q = sp.symbols("z_- z_+ p q", positive=True)
    return Chain(
        title="Change of the kernel through neurons within reach",
        steps=(
            *line(
                above / (below + above),
                (
                    "slope along a step from −z₋ to z₊, where the sign changes; where it does not, as beyond reach, it is the gate",
                    sp.Integer(1),
                    "simplify",
                    "≤",
                ),
            ),
            *line(
                1 / ((1 + p) * (1 + q)),
                ("so are products of slopes 1/(1 + p) and 1/(1 + q), which differ by 1 at most", sp.Integer(1), "simplify", "≤"),
            ),
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
        ranges={s: between(0, 1) for s in (f, f_1, f_2, both, more_1, more_2, a, a_less, b, b_less, size)}
        | {s: between(0, 3) for s in (below, above, p, q)},
    )
