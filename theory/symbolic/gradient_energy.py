"""`‖∂L/∂X¹‖_F² = ‖u − y‖²`: the gradient with respect to the hidden activations has the size of the residual."""

from __future__ import annotations

from functools import cache

import sympy as sp

from theory.formula import Chain
from theory.symbolic.notation import F_Q, GRAM_BLOCKS, H_QP, F_Pt, between, l_P, l_Q, line, m, phi_P, whole

activation, others, label, residual = sp.symbols("X o y r", real=True)
sign_bit, neuron = sp.symbols("b i", integer=True)
readout = sp.Symbol("a", real=True)


@cache
def chain() -> Chain:
    """Derivative by one activation, its square, the sum over neurons; then the residual that pretraining leaves."""
    output = readout * activation / sp.sqrt(m) + others
    slope = (output - label) * readout / sp.sqrt(m)
    left = l_Q - H_QP * phi_P * l_P
    return Chain(
        title="Gradient energy",
        steps=(
            *line(
                sp.Derivative((output - label) ** 2 / 2, activation),
                ("output u = a X/√m + (other neurons); chain rule", slope, "evaluate"),
            ),
            *line((residual * readout / sp.sqrt(m)) ** 2, ("square for one neuron, a = ±1", residual**2 / m)),
            *line(sp.Sum(residual**2 / m, (neuron, 1, m)), ("sum over the m neurons: the 1/m cancels", residual**2, "evaluate")),
            *line(
                l_Q - F_Q * (F_Pt * (phi_P * l_P)),
                ("after pretraining the residual on Q is ỹ = y_Q − H_QP φ(H_P) y_P", left, "expand"),
            ),
        ),
        results={"per point": residual**2, "remaining": left},
        where={**GRAM_BLOCKS, readout: (-1) ** sign_bit},
        ranges={activation: between(0, 2), others: between(-2, 2), label: between(-2, 2), residual: between(-2, 2), sign_bit: whole(0, 1)},
    )
