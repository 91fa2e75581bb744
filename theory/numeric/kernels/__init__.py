"""Kernels of infinitely wide nets: ReLU and other activations, both layers trained, any depth, any activation by quadrature."""

__all__ = [
    # by name
    "kernel",
    "both_layers",
    "deep",
    "gram_function",
    "NAMES",
    # what they are made of
    "Kernel",
    "Activation",
    "Correlated",
    "LeakyReLU",
    "Step",
    "SquaredReLU",
    "Monomial",
    "Erf",
    "GELU",
    "Quadrature",
]

from theory.numeric.kernels.base import Activation, Correlated
from theory.numeric.kernels.closed import GELU, Erf, LeakyReLU, Monomial, SquaredReLU, Step
from theory.numeric.kernels.composed import Kernel
from theory.numeric.kernels.named import NAMES, both_layers, deep, gram_function, kernel
from theory.numeric.kernels.quadrature import Quadrature
