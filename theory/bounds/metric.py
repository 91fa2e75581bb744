"""Feasibility in two metrics: the gain of theorems 2 and 3, from the gradient energies of theorem 1 alone."""

from __future__ import annotations

import math
from numbers import Real

from theory.errors import InvalidInput


def gain_range(energy_ratio: float, condition: float) -> tuple[float, float]:
    """The interval that the gain `1 − √(ỹᵀH_Q⁻¹ỹ/y_QᵀH_Q⁻¹y_Q)` lies in, from `‖ỹ‖²/‖y_Q‖²` and `cond H_Q`.

    `[1 − √(κ r), 1 − √(r/κ)]` for the ratio `r` and the condition number `κ`: transfer that multiplies the gradient energy by less than
    `1/κ` shortens the way of the weights, by more than `κ` lengthens it; between, the Euclidean metric does not decide.

    Parameters
    ----------
    energy_ratio : float ≥ 0
        Gradient energy after pretraining over that from scratch.
    condition : float ≥ 1
        `λ_max/λ_min` of `H_Q`.

    Raises
    ------
    InvalidInput
        For numbers out of range.

    Source: arXiv 1909.12031, feasibility of transfer; the bounds on a Rayleigh quotient of `H_Q⁻¹`.
    """
    for name, value, least in (("energy_ratio", energy_ratio, 0), ("condition", condition, 1)):
        if isinstance(value, bool) or not isinstance(value, Real) or not least <= value < math.inf:
            raise InvalidInput(f"{name} is {value!r}; a finite number ≥ {least} is allowed")
    # (Roots first: a product of large numbers overflows.)
    ratio, root = math.sqrt(energy_ratio), math.sqrt(condition)
    return 1 - root * ratio, 1 - ratio / root
