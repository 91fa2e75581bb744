"""From the width to all that a net may do: two events at the start, and an induction over steps."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.chance import delta_p, points
from theory.symbolic.notation import between, eta, line, m


@cache
def chain() -> Chain:
    """Events of probability `1 − δ`, the kernel within `ε(R)`, and no neuron beyond `R`."""
    each = sp.Symbol("delta_i", positive=True)
    at_start, f, turn, less = sp.symbols("epsilon_0 f M x", nonnegative=True)
    norm_P, norm_Q, path, more, rest, s_Q = sp.symbols("s_P s_Q S_k a y S_Q", nonnegative=True)
    moved = (norm_P * (path + eta * more) + norm_Q * s_Q) / sp.sqrt(m)
    end = (norm_P * (path + eta * more + rest) + norm_Q * s_Q) / sp.sqrt(m)
    return Chain(
        title="What a width guarantees",
        steps=(
            *line(
                delta_p / 4 + delta_p / 4 + points * each,
                ("what may fail: the kernel at W(0), bounded in two ways, and neurons within reach at n points", delta_p),
            ),
            *line(
                at_start + (2 * f * turn - less),
                (
                    "while no neuron is beyond R: ‖K − H‖ ≤ ‖H(W(0)) − H‖ + ‖K − H(W(0))‖, by kernel_change",
                    at_start + 2 * f * turn,
                    "expand",
                    "≤",
                ),
            ),
            *line(
                moved,
                (
                    "induction: W(0), …, W(k) within R give the slopes of steps up to k, and these ‖r(k)‖; after step k + 1 a neuron has "
                    "moved by what the path so far gives, by neuron_movement, at most Φ(R) ≤ R",
                    end,
                    "simplify",
                    "≤",
                ),
            ),
        ),
        results={"moved": end},
        where={each: delta_p / (2 * points)},
        ranges={
            **{s: between(0, 2) for s in (at_start, f, turn, less, norm_P, norm_Q, path, more, rest, s_Q, delta_p)},
            points: lambda rng: rng.randint(1, 9),
        },
    )
