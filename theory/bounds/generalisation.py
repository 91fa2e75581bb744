"""Theorem 3 at finite width: how far the loss on new points may be above that on the target sample."""

from __future__ import annotations

import math
from dataclasses import dataclass

from theory.arrays import to_numpy
from theory.bounds.chance import check_delta
from theory.bounds.guarantee import Guarantee
from theory.bounds.initial_kernel import flipped_share
from theory.errors import InvalidInput
from theory.problem import TransferProblem


@dataclass(frozen=True, kw_only=True)
class GeneralisationBound:
    """The expected loss is at most the sum of the terms.

    Attributes
    ----------
    training : float
        Loss on the sample, `‖u_Q − y_Q‖/√n` at most.
    complexity : float
        Twice the Rademacher complexity of the linearised nets within `B` of `W(P)`.
    flips : float
        Twice what neurons that turn may add to it.
    confidence : float
        `3√(log(4B(B+1)C(C+1)/δ)/(2n))`.
    radius, reach : int
        `B` and `C`.
    """

    training: float
    complexity: float
    flips: float
    confidence: float
    radius: int
    reach: int

    @property
    def total(self) -> float:
        """The bound."""
        return self.training + self.complexity + self.flips + self.confidence

    @property
    def vacuous(self) -> bool:
        """Whether it is no less than 1, which every loss in [0, 1] keeps."""
        return self.total >= 1


def net_complexity(trace: float, radius: float, reach: float, flipped: float, points: int) -> float:
    """Empirical Rademacher complexity of nets within `B` of `W(P)`, no neuron farther than `C/√m` from `W(0)`: `(B/n)√(tr H(W(0))) + C f`.

    On the sample, a net with the gates of `W(0)` is linear in `W`, of complexity at most `(B/n) E‖Σᵢ ξᵢ zᵢ‖ ≤ (B/n)√(Σ‖zᵢ‖²)`. A
    neuron whose gate differs has `|w·x| ≤ |(w − w(0))·x| ≤ (C/√m)‖x‖`, and only a share `f` can: at most `C f` in the output.

    Parameters
    ----------
    trace : float
        `tr H(W(0))` on the sample.
    radius, reach : float
        `B` in Frobenius norm, `C`.
    flipped : float
        `f`, the mean over points of the share of neurons with `|w_r(0)·xᵢ| ≤ (C/√m)‖xᵢ‖`; inputs of norm at most 1.
    points : int
        `n`.

    Source: Arora et al. 2019 (arXiv 1901.08584), lemma 5.4, with the gate's own inequality in place of `2R` for each neuron, and
    `tr H(W(0))` in place of its bound.
    """
    return radius / points * math.sqrt(trace) + reach * flipped


def generalisation_bound(problem: TransferProblem, guaranteed: Guarantee, *, delta: float = 0.05) -> GeneralisationBound:
    """The expected loss of the fine-tuned net on a new target point, with probability at least `1 − δ` besides the guarantee's.

    For a loss in [0, 1], 1-Lipschitz in the output and 0 at the label; the target sample independent and identically distributed,
    and independent of the source sample and of `W(0)`. `B ≥ 1` and `C ≥ 1` are the whole numbers above the guaranteed displacement
    and `√m R`. Half of `δ` pays for the share of neurons within reach, `δ/(2B(B+1)C(C+1))` for each pair.

    Parameters
    ----------
    problem : TransferProblem
        Target inputs of norm at most 1.
    guaranteed : Guarantee of that problem
    delta : float in (0, 1)

    Raises
    ------
    InvalidInput
        For longer inputs and values out of range.

    Source: arXiv 1909.12031, improved generalisation, reconstructed; Mohri, Rostamizadeh & Talwalkar 2018, theorem 3.3, for the
    empirical complexity.
    """
    check_delta(delta)
    X = to_numpy(problem.target[0])
    longest = float((X**2).sum(axis=1).max()) ** 0.5
    if longest > 1 + 1e-12:
        raise InvalidInput(f"a target input has norm {longest:.6g}; at most 1 is allowed in this bound")
    n = len(X)
    bounds = guaranteed.bounds
    B = max(1, math.ceil(bounds.displacement.high))
    C = max(1, math.ceil(math.sqrt(guaranteed.width) * guaranteed.radius))
    flipped = flipped_share(C / math.sqrt(guaranteed.width), guaranteed.init_scale, guaranteed.width // 2, n, delta / 2)
    trace = float((X**2).sum()) / 2 + n * guaranteed.initial
    return GeneralisationBound(
        training=math.sqrt(2 * bounds.target_loss.high / n),
        complexity=2 * net_complexity(trace, B, 0, 0, n),
        flips=2 * net_complexity(0, 0, C, flipped, n),
        confidence=3 * math.sqrt(math.log(4 * B * (B + 1) * C * (C + 1) / delta) / (2 * n)),
        radius=B,
        reach=C,
    )
