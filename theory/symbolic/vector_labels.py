"""Several outputs at finite width: what blocks between outputs add to the error, and readouts whose columns are orthogonal."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.gram_fluctuation import active, inner, mean_of, p
from theory.symbolic.notation import between, line, m, whole

outputs = sp.Symbol("c", integer=True, positive=True)
first_bit, second_bit, third_bit = sp.symbols("i j k", integer=True)
half = sp.Symbol("h", integer=True, positive=True)
variance, between_blocks = sp.symbols("V C", positive=True)
e_11, e_22, e_12 = sp.symbols("M_11 M_22 M_12", real=True)

_RANGES = {
    inner: between(-2, 2),
    p: between(0, 1),
    outputs: whole(1, 5),
    half: whole(1, 9),
    variance: between(0, 2),
    between_blocks: between(0, 2),
    e_11: between(-2, 2),
    e_22: between(-2, 2),
    e_12: between(-2, 2),
}


def _signed(power: int) -> sp.Expr:
    """Mean of `(a_p a_q s b)^power`, `a = ±1` with probability ½ each."""
    weight = 1 - p + (2 * p - 1) * active
    return sp.Sum(
        ((-1) ** first_bit * (-1) ** second_bit * inner * active) ** power * weight / 4,
        (first_bit, 0, 1),
        (second_bit, 0, 1),
        (active, 0, 1),
    )


@cache
def gram_error() -> Chain:
    """Blocks within one output, blocks between outputs with independent and with orthogonal signs, and their number."""
    independent = (outputs * inner**2 * p * (1 - p) + outputs * (outputs - 1) * inner**2 * p) / m
    orthogonal = outputs**2 * inner**2 * p * (1 - p) / m
    return Chain(
        title="Gram matrix of a net with several outputs",
        steps=(
            *line(mean_of(2) - mean_of(1) ** 2, ("within an output a_r² = 1: as for one output", inner**2 * p * (1 - p), "evaluate")),
            *line(_signed(1), ("between outputs, independent signs: mean", sp.Integer(0), "evaluate")),
            *line(_signed(2), ("mean square, all of it variance", inner**2 * p, "evaluate")),
            *line(
                half * inner * p - half * inner * p,
                ("between orthogonal columns, as many neurons with a_p a_q = 1 as with −1: the common part s p cancels", sp.Integer(0)),
            ),
            *line(
                2 * half * inner**2 * p * (1 - p) / (2 * half) ** 2,
                ("what is left of m = 2h neurons is their variance, signs or not", inner**2 * p * (1 - p) / (2 * half)),
            ),
            *line(
                outputs * variance / m + outputs * (outputs - 1) * between_blocks / m,
                ("c blocks within, c(c − 1) between; independent signs: V = s²p(1 − p), C = s²p", independent),
            ),
            *line(
                outputs * variance / m + outputs * (outputs - 1) * variance / m,
                ("orthogonal columns: C = V", orthogonal),
            ),
        ),
        results={"independent": independent, "orthogonal": orthogonal},
        where={variance: inner**2 * p * (1 - p), between_blocks: inner**2 * p},
        ranges=_RANGES,
    )


@cache
def readout_energy() -> Chain:
    """The squared gradient by the hidden activations as a quadratic form of the readouts; its variance over signs."""
    a, b = (-1) ** first_bit, (-1) ** second_bit
    form = a**2 * e_11 + b**2 * e_22 + 2 * a * b * e_12

    def mean(expr: sp.Expr) -> sp.Expr:
        return sp.Sum(expr / 4, (first_bit, 0, 1), (second_bit, 0, 1))

    return Chain(
        title="Gradient energy with several outputs",
        steps=(
            *line(mean(form), ("one neuron, M = EᵀE: mean of aᵀMa over signs, the trace", e_11 + e_22, "evaluate")),
            *line(mean(sp.expand((form - e_11 - e_22) ** 2)), ("variance: only the pair of outputs varies", 4 * e_12**2, "evaluate")),
            *line(
                sp.Sum(a * b * a * (-1) ** third_bit / 8, (first_bit, 0, 1), (second_bit, 0, 1), (third_bit, 0, 1)),
                ("two different pairs do not correlate", sp.Integer(0), "evaluate"),
            ),
            *line(m * 4 * e_12**2 / m**2, ("the mean of m independent neurons: each pair of outputs adds", 4 * e_12**2 / m)),
            *line(
                half * form.subs({first_bit: 0, second_bit: 0}) / (2 * half) + half * form.subs({first_bit: 0, second_bit: 1}) / (2 * half),
                ("orthogonal columns, ab = 1 as often as −1: the trace, without any variance", e_11 + e_22),
            ),
        ),
        results={"pair": 4 * e_12**2 / m},
        ranges=_RANGES,
    )
