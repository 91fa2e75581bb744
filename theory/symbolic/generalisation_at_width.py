"""Complexity of nets near a start, linear in the weights but for neurons that turn; and the price of a bound over all radii."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import between, line, m


@cache
def chain() -> Chain:
    """`(B/n)√(tr H(W(0))) + C f`."""
    B, C, n, f = sp.symbols("B C n f", positive=True)
    z_1, z_2, w_P, w_1, w_2 = sp.symbols("z_1 z_2 w_P w_1 w_2", real=True)
    share, length, active = sp.symbols("p x N_a", positive=True)
    before, after = sp.symbols("v u", nonnegative=True)
    trace, spread = sp.Symbol("T", positive=True), sp.Symbol("V", nonnegative=True)
    turned, move, linear = sp.symbols("N s_C L", positive=True)
    return Chain(
        title="Complexity of nets near a start",
        steps=(
            *line(
                w_P * (z_1 + z_2) / 4 + w_P * (z_1 - z_2) / 4 + w_P * (-z_1 + z_2) / 4 + w_P * (-z_1 - z_2) / 4,
                ("with the gates of W(0), at W(P) + V: what Σ ξᵢ zᵢ is along W(P) averages out over signs", sp.Integer(0), "expand"),
            ),
            *line(
                (w_1 * z_1 + w_2 * z_2) ** 2,
                ("along V it is at most ‖V‖ ‖Σ ξᵢ zᵢ‖, by Cauchy's inequality", (w_1**2 + w_2**2) * (z_1**2 + z_2**2), "expand", "≤"),
            ),
            *line(
                ((z_1 + z_2) ** 2 + (z_1 - z_2) ** 2 + (-z_1 + z_2) ** 2 + (-z_1 - z_2) ** 2) / 4,
                ("E‖Σ ξᵢ zᵢ‖² over signs: products of different signs average out", z_1**2 + z_2**2, "expand"),
            ),
            *line(
                active * (length / sp.sqrt(m)) ** 2,
                ("‖zᵢ‖²: of m neurons N_a = p m are active, each with xᵢ/√m; it is H(W(0))ᵢᵢ", share * length**2),
            ),
            *line(
                (B / n) ** 2 * (trace - spread),
                (
                    "linear part, ((B/n) E‖Σ ξᵢ zᵢ‖)²: the mean of squares, Σ‖zᵢ‖² = tr H(W(0)) = T, less a variance",
                    (B / n) ** 2 * trace,
                    "expand",
                    "≤",
                ),
            ),
            *line(
                after,
                (
                    "a neuron whose gate turned: pre-activation u ≥ 0 now, −v ≤ 0 at the start, so |u| is at most the move",
                    after + before,
                    "expand",
                    "≤",
                ),
            ),
            *line(
                turned * move / sp.sqrt(m),
                ("N = m f neurons at most, each by C/√m, readouts 1/√m", C * f),
            ),
            *line(linear + turned * move / sp.sqrt(m), ("together", C * f + B * sp.sqrt(trace) / n)),
            *line(1 / B - 1 / (B + 1), ("for a bound over all whole B: shares 1/(B(B + 1)) telescope", 1 / (B * (B + 1)))),
            *line(1 - 1 / B + 1 / (B * (B + 1)), ("so that those up to B cost 1 − 1/(B + 1), less than 1", 1 - 1 / (B + 1))),
        ),
        results={"complexity": C * f + B * sp.sqrt(trace) / n},
        where={active: m * share, turned: m * f, move: C / sp.sqrt(m), linear: B / n * sp.sqrt(trace)},
        ranges={s: between(0, 3) for s in (B, C, n, f, before, after, trace, spread, share, length)}
        | {s: between(-2, 2) for s in (z_1, z_2, w_P, w_1, w_2)},
    )
