"""Losses that a generalisation bound may be about: values in [0, 1], 1-Lipschitz in the output, zero at the label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from theory.arrays import Array, namespace, to_numpy
from theory.errors import InvalidInput

Loss = Callable[[Array, Array], Array]
"""`(outputs, labels) -> losses`, entry by entry."""

# Outputs that a loss is probed at: this far on both sides of a label, this many of them, so that the label is one.
_REACH, _PROBES, _LABELS = 4.0, 257, 16

# A loss may round; what exceeds its range or slope by more than this is no rounding.
_ROUNDING = 1e-9


def ramp(outputs: Array, labels: Array) -> Array:
    """`min(1, |f − y|)`: the largest loss that is bounded by 1, 1-Lipschitz and zero at the label.

    For labels ±1 an output of the wrong sign costs 1, so this loss is at least the error rate.
    """
    xp = namespace(outputs, labels)
    return xp.clip(xp.abs(outputs - labels), max=1.0)


def check_bounded_loss(loss: Loss, labels: Array) -> None:
    """Probe `loss` on a grid of outputs round the labels given (16 different ones at most).

    What breaks a condition only between the points of the grid, 1/32 apart, goes unseen.

    Raises
    ------
    InvalidInput
        With the value found, for a loss outside [0, 1], not zero at a label, or steeper than 1.
    """
    distinct = np.unique(to_numpy(labels).astype(np.float64).ravel())
    if len(distinct) > _LABELS:
        distinct = distinct[np.linspace(0, len(distinct) - 1, _LABELS).astype(int)]
    steps = np.linspace(-_REACH, _REACH, _PROBES)
    for label in distinct.tolist():
        outputs = label + steps
        try:
            values = np.asarray(loss(outputs, np.full(_PROBES, label)), dtype=np.float64)
        except Exception as error:  # the caller's code may raise anything
            raise InvalidInput(f"the loss fails on arrays of {_PROBES} outputs and labels: {type(error).__name__}: {error}") from None
        if values.shape != outputs.shape:
            raise InvalidInput(f"the loss gives shape {values.shape} for {outputs.shape} outputs; one value for each is allowed")
        outside = ~((values >= -_ROUNDING) & (values <= 1 + _ROUNDING))
        if outside.any():
            i = int(outside.argmax())
            raise InvalidInput(
                f"the loss is {values[i]:.6g} at output {outputs[i]:.6g} and label {label:.6g}; values in [0, 1] are allowed"
            )
        at_label = float(values[_PROBES // 2])
        if abs(at_label) > _ROUNDING:
            raise InvalidInput(f"the loss is {at_label:.6g} at output and label {label:.6g}; 0 at the label is allowed")
        slopes = np.abs(np.diff(values)) / np.diff(outputs)
        i = int(slopes.argmax())
        if slopes[i] > 1 + _ROUNDING:
            raise InvalidInput(f"the loss has slope {slopes[i]:.6g} at output {outputs[i]:.6g} and label {label:.6g}; at most 1 is allowed")
