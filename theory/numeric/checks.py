"""What momentum, decay and the labels of a cross-entropy may be; each check raises `InvalidInput` for anything else."""

from __future__ import annotations

import math
from numbers import Real

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput


def check_momentum(momentum: float) -> None:
    """Raise `InvalidInput` unless `0 ≤ μ < 1`."""
    if isinstance(momentum, bool) or not isinstance(momentum, Real) or not 0 <= momentum < 1:
        raise InvalidInput(f"momentum is {momentum!r}; a number in [0, 1) is allowed")


def check_decay(decay: float) -> None:
    """Raise `InvalidInput` unless `0 ≤ β < ∞`."""
    if isinstance(decay, bool) or not isinstance(decay, Real) or not 0 <= decay < math.inf:
        raise InvalidInput(f"weight_decay is {decay!r}; a finite number ≥ 0 is allowed")


def check_class_labels(labels: Array, name: str = "labels") -> int:
    """Number of outputs that cross-entropy sees: 1 for labels ±1, else the number of classes.

    Raises
    ------
    InvalidInput
        For labels that are neither (n,) of ±1 nor (n, c ≥ 2) of probabilities.
    """
    xp = namespace(labels)
    if labels.ndim == 1:
        wrong = xp.abs(labels) != 1
        if bool(xp.any(wrong)):
            at = int(scalar(xp.argmax(xp.astype(wrong, xp.int8))))
            raise InvalidInput(f"{name}[{at}] is {scalar(labels[at]):g}; ±1 is allowed for cross-entropy of one output")
        return 1
    if labels.shape[1] < 2:
        raise InvalidInput(f"{name} have shape {tuple(labels.shape)}; (n,) of ±1, or (n, c) with c ≥ 2, is allowed for cross-entropy")
    eps = float(xp.finfo(labels.dtype).eps)
    wrong = xp.any(labels < 0, axis=1) | (xp.abs(xp.sum(labels, axis=1) - 1) > labels.shape[1] * eps)
    if bool(xp.any(wrong)):
        at = int(scalar(xp.argmax(xp.astype(wrong, xp.int8))))
        raise InvalidInput(f"{name} row {at} is no probability vector; entries ≥ 0 with sum 1 are allowed for cross-entropy")
    return int(labels.shape[1])
