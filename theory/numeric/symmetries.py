"""What follows from ReLU being homogeneous, `σ(κs) = κσ(s)`: the initial scale is no parameter of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

from theory.errors import InvalidInput

DEGREES: Mapping[str, int] = {
    "gradient_energy": 2,
    "gradient_energy_scratch": 2,
    "displacement": 1,
    "displacement_scratch": 1,
    "gain": 0,
    "measured_gain": 0,
    "target_loss": 2,
    "target_loss_scratch": 2,
    "source_loss_pretrained": 2,
    "source_loss": 2,
    "forgetting": 2,
    "test_error": 0,
    "test_error_scratch": 0,
    "test_mse": 2,
    "test_mse_scratch": 2,
}
"""Power of the scale that each number of a `TransferOutcome` carries."""


def at_scale(scalars: Mapping[str, float | None], init_scale: float) -> dict[str, float | None]:
    """Numbers of a run at initial scale `κ` from those at scale 1: `(κ, y, η)` trains as `κ × (1, y/κ, η)`.

    Weights and outputs are `κ` times theirs at every step, of a trained net too and at every width; so it is `y/κ` that tells how lazily
    a net trains, and small labels are as good as a large scale.

    Parameters
    ----------
    scalars : mapping
        `TransferOutcome.scalars()` of the run at scale 1 with labels `y/κ`.
    init_scale : float > 0
        `κ`.

    Returns
    -------
    dict
        The scalars of the run at scale `κ` with labels `y`.

    Raises
    ------
    InvalidInput
        For a name that is no scalar of an outcome, or a scale that is not positive and finite.
    """
    if isinstance(init_scale, bool) or not isinstance(init_scale, Real) or not 0 < init_scale < math.inf:
        raise InvalidInput(f"init_scale is {init_scale!r}; a finite number above 0 is allowed")
    unknown = [name for name in scalars if name not in DEGREES]
    if unknown:
        raise InvalidInput(f"{unknown[0]!r} is no scalar of an outcome; {', '.join(DEGREES)} are allowed")
    return {name: None if value is None else value * float(init_scale) ** DEGREES[name] for name, value in scalars.items()}
