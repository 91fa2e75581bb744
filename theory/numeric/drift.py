"""The drift of a trained ReLU net from its frozen kernel, in the one case where it has a closed form: orthogonal inputs.

There the components of a neuron's weights along the inputs move apart from each other, and one is told by a single number: how far an
active neuron has moved. Those that are pulled towards their hyperplane switch off when they reach it, and stay. With so many neurons that
their mean decides, outputs and displacement are exact at every step and every `κ√m`; their difference from the frozen kernel is the
deterministic part of the drift.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

from theory.arrays import Array, as_float, to_numpy
from theory.errors import InvalidInput, UnstableStep


@dataclass(frozen=True)
class OrthogonalRun:
    """A net trained on orthogonal inputs, in the mean over neurons.

    Attributes
    ----------
    outputs : tuple of float
        On the inputs.
    displacement : float
        `‖W(k) − W(0)‖_F`.
    """

    outputs: tuple[float, ...]
    displacement: float


def orthogonal_run(norms: Array, labels: Array, lr: float, steps: int, *, width: int, init_scale: float = 1.0) -> OrthogonalRun:
    """Outputs and displacement after `k` gradient steps on orthogonal inputs, from zero outputs, in the mean over neurons.

    With `ε` the way of an active neuron in units of `κ‖x‖` and `Q` the normal tail, an output is `½κ‖x‖√m (φ(0) − φ(ε) + ε(½ + Q(ε)))`:
    its kernel falls from `‖x‖²/2` to half of that.

    Parameters
    ----------
    norms, labels : (n,) arrays
        Norms of the inputs, and their labels.
    lr : float
        Step size, at most `1/λ_max = 2/max‖x‖²`: no neuron then turns back.
    steps : int ≥ 0
    width : int
        Number `m` of neurons; what is neglected is their fluctuation.
    init_scale : float > 0
        `κ`.

    Raises
    ------
    InvalidInput, UnstableStep
        For arguments out of range.
    """
    x, y = _checked(norms, labels, lr, width, init_scale)
    if isinstance(steps, bool) or not isinstance(steps, Integral) or steps < 0:
        raise InvalidInput(f"steps is {steps!r}; a whole number ≥ 0 is allowed")
    outputs, squares = [], []
    for norm, label in zip(x, y, strict=True):
        unit = init_scale * norm * math.sqrt(width) / 2
        moved, switched, tail = 0.0, 0.0, 0.5
        for _ in range(int(steps)):
            left = abs(label) - unit * _learned(moved)
            moved += lr * norm * left / (init_scale * math.sqrt(width))
            before, tail = tail, _tail(moved)
            # Neurons that switch off in this step have made all moves up to it.
            switched += moved**2 * (before - tail)
        outputs.append(math.copysign(unit * _learned(moved), label))
        squares.append(width * init_scale**2 / 2 * (moved**2 * (0.5 + tail) + switched))
    return OrthogonalRun(tuple(outputs), math.sqrt(math.fsum(squares)))


def relative_drift(norms: Array, labels: Array, lr: float, *, width: int, init_scale: float = 1.0) -> float:
    """Leading relative drift of the displacement to the end, orthogonal inputs: positive and `∝ 1/(κ√m)`.

    For one input it is `S(1 − ηλ)/√(2π) · |y|/(κ‖x‖√m)`, `S(q) = 1 − 2q/(1 + q) + q²/(1 + q + q²)`: `1/3` for gradient flow, 1 at
    `η = 1/λ`; several inputs add their squared displacements `2y²/‖x‖²`.

    Parameters and errors are those of `orthogonal_run`.
    """
    x, y = _checked(norms, labels, lr, width, init_scale)
    weights = [(label / norm) ** 2 for norm, label in zip(x, y, strict=True)]
    if not any(weights):
        raise InvalidInput("all labels are zero; a label that is not is needed, or nothing moves")
    drifts = []
    for norm, label in zip(x, y, strict=True):
        q = 1 - lr * norm**2 / 2
        share = 1 - 2 * q / (1 + q) + q * q / (1 + q + q * q)
        drifts.append(share / math.sqrt(2 * math.pi) * abs(label) / (init_scale * norm * math.sqrt(width)))
    return math.fsum(w * d for w, d in zip(weights, drifts, strict=True)) / math.fsum(weights)


def _learned(moved: float) -> float:
    """`φ(0) − φ(ε) + ε(½ + Q(ε))`."""
    return -math.expm1(-(moved**2) / 2) / math.sqrt(2 * math.pi) + moved * (0.5 + _tail(moved))


def _tail(moved: float) -> float:
    """`Q(ε)`, the probability that a standard normal variable exceeds `ε`."""
    return math.erfc(moved / math.sqrt(2)) / 2


def _checked(norms: Array, labels: Array, lr: float, width: int, init_scale: float) -> tuple[list[float], list[float]]:
    x, y = as_float(norms, "norms"), as_float(labels, "labels")
    if x.ndim != 1 or tuple(x.shape) != tuple(y.shape) or x.shape[0] == 0:
        raise InvalidInput(f"norms and labels have shapes {tuple(x.shape)} and {tuple(y.shape)}; (n,) with n ≥ 1 for both is allowed")
    sizes, values = to_numpy(x).tolist(), to_numpy(y).tolist()
    if min(sizes) <= 0:
        raise InvalidInput(f"a norm is {min(sizes)}; numbers above 0 are allowed")
    for name, value in (("lr", lr), ("init_scale", init_scale)):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 < value < math.inf:
            raise InvalidInput(f"{name} is {value!r}; a finite number above 0 is allowed")
    if isinstance(width, bool) or not isinstance(width, Integral) or width < 1:
        raise InvalidInput(f"width is {width!r}; a whole number ≥ 1 is allowed")
    bound = 2 / max(sizes) ** 2
    if lr > bound * (1 + 1e-12):
        raise UnstableStep(f"lr = {lr:.6g} makes neurons turn back; at most 1/λ_max = {bound:.6g} is allowed")
    return sizes, values
