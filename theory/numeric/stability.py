"""The largest step size at which a method is stable on a Gram matrix."""

from __future__ import annotations

import math

from theory.errors import InvalidInput
from theory.numeric.checks import check_decay, check_momentum
from theory.numeric.spectrum import GramSpectrum


def largest_stable_step(
    spectrum: GramSpectrum, *, momentum: float = 0.0, decay: float = 0.0, loss: str = "squared", outputs: int = 1
) -> float:
    """Step size up to which a stage is stable; infinite where nothing ever moves.

    - Squared loss: `2(1 + μ)/(λ_max + β)`. No error grows for ever up to it, and beyond it some error does.
    - Cross-entropy: `2(1 − μ)/(sλ_max + β)`, `s = ½` for the softmax of two classes or more and `¼` for the logistic loss of labels
      ±1, both the largest curvature of the loss in an output. Up to it the loss plus penalty never rises (with momentum: that plus
      `μ/(2η)` times the square of the last step). It is attained by undecided outputs of two classes; beyond it descent is not
      promised, which is not to say that it fails.

    Parameters
    ----------
    spectrum : GramSpectrum of `H`
    momentum, decay : float
        `0 ≤ μ < 1`, `β ≥ 0`.
    loss : "squared" or "cross-entropy"
    outputs : int
        Classes of the cross-entropy; 1 for labels ±1.

    Raises
    ------
    InvalidInput
        For anything else.

    Source: the roots of heavy ball's recursion (Polyak 1964); the descent lemma with momentum (Zavriev and Kostyuk 1993).
    """
    check_momentum(momentum)
    check_decay(decay)
    if loss not in ("squared", "cross-entropy"):
        raise InvalidInput(f"loss is {loss!r}; 'squared' or 'cross-entropy' is allowed")
    if loss == "squared":
        factor, curvature = 2 * (1 + momentum), spectrum.largest + decay
    else:
        factor, curvature = 2 * (1 - momentum), (spectrum.largest / 2 if outputs > 1 else spectrum.largest / 4) + decay
    return factor / curvature if curvature > 0 else math.inf
