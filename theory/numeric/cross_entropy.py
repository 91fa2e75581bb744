"""Cross-entropy in the kernel regime: no closed form, but an exact recursion in output space.

Two conventions, by the shape of the labels. `(n, c)`, `c ≥ 2`, rows that are probabilities (one-hot, or soft): the loss is
`−Σᵢ Yᵢ · log softmax(fᵢ)`. `(n,)` of ±1: the logistic loss `Σᵢ log(1 + exp(−yᵢfᵢ))`, which is the same of the two outputs `(f/2, −f/2)`.
Sums over points, not means, as for the squared loss. Without decay there is no limit: on data that can be separated the outputs grow for
ever, and to say so of given data is to train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput, UnstableStep
from theory.numeric.checks import check_class_labels, check_decay, check_momentum
from theory.numeric.spectrum import GramSpectrum
from theory.numeric.stability import largest_stable_step

MOST_STEPS = 10**7
"""Steps beyond this are refused: each one is a product with the Gram matrix."""


@dataclass(frozen=True, eq=False)
class CrossEntropyStage:
    """A stage at recorded steps.

    Attributes
    ----------
    coefficients : array like the labels
        `γ_k` at the last recorded step: the weights have moved by `Zγ_k` in the span of the features.
    remembered : float
        `ω_k`, the share left of the distance from the anchor; 1 without decay.
    outputs : array like the labels
        At the last recorded step.
    loss : tuple of float
        Without the penalty, at each recorded step.
    displacement : tuple of float
        `‖W(k) − W_s‖_F` at each.
    path : tuple of (array, float)
        `γ_k` and `ω_k` at each, where asked for.
    """

    coefficients: Array
    remembered: float
    outputs: Array
    loss: tuple[float, ...]
    displacement: tuple[float, ...]
    path: tuple[tuple[Array, float], ...] = ()


def gradient(outputs: Array, labels: Array) -> Array:
    """Derivative of the loss by the outputs: `softmax(f) − Y`, or `−y/(1 + exp(yf))` for labels ±1; shaped like the labels."""
    xp = namespace(outputs, labels)
    if labels.ndim == 1:
        # exp of a negative number only.
        margin = labels * outputs
        small = xp.exp(-xp.abs(margin))
        return -labels * xp.where(margin > 0, small, xp.ones_like(small)) / (1 + small)
    powers = xp.exp(outputs - xp.max(outputs, axis=1, keepdims=True))
    return powers / xp.sum(powers, axis=1, keepdims=True) - labels


def loss(outputs: Array, labels: Array) -> float:
    """`−Σᵢ Yᵢ · log softmax(fᵢ)`, or `Σᵢ log(1 + exp(−yᵢfᵢ))` for labels ±1."""
    xp = namespace(outputs, labels)
    if labels.ndim == 1:
        margin = labels * outputs
        return scalar(xp.sum(xp.log1p(xp.exp(-xp.abs(margin))) + xp.where(margin < 0, -margin, xp.zeros_like(margin))))
    # Everything relative to each row's likely class: what is left of a loss near zero keeps its digits.
    top = xp.max(outputs, axis=1, keepdims=True)
    below = xp.exp(outputs - top)
    best = xp.astype(outputs == top, outputs.dtype)
    best = best * xp.astype(xp.cumulative_sum(best, axis=1) == 1, outputs.dtype)
    normaliser = xp.log1p(xp.sum(below * (1 - best), axis=1))
    return scalar(xp.sum(xp.sum(labels * (top - outputs), axis=1) + xp.sum(labels, axis=1) * normaliser))


def descend(
    H: Array,
    labels: Array,
    lr: float,
    steps: Sequence[int],
    *,
    start: Array | None = None,
    momentum: float = 0.0,
    decay: float = 0.0,
    carried: Array | None = None,
    distance: float = 0.0,
    allow_unstable: bool = False,
    path: bool = False,
) -> CrossEntropyStage:
    """Gradient descent on the cross-entropy, step by step: `γ ← γ − η(softmax(f) − Y + βγ)`, `f = f_A + ω t + Hγ`, `ω ← (1 − ηβ)ω`.

    Exact for a linear model, and for a net with its kernel frozen, at every step size. With momentum `γ` and `ω` carry velocities.

    Parameters
    ----------
    H : (n, n) array, or (n·c, n·c) of outputs that interact, points major
    labels : (n,) array of ±1, or (n, c) array of probabilities
    lr : float > 0
    steps : ascending whole numbers, each once
        Steps to record; the last one is the last one taken.
    start : array like the labels, optional
        Outputs at the start of the stage; zero by default.
    momentum, decay : float
        `0 ≤ μ < 1`; `β ≥ 0` of the penalty `½β‖W − A‖²`.
    carried, distance
        The start's outputs less the anchor's, and `‖W_s − A‖_F`, where the stage does not start at its anchor `A`.
    allow_unstable : bool
        Run a step size at which descent is not promised.
    path : bool
        Keep the coefficients of every recorded step.

    Raises
    ------
    InvalidInput
        For labels, momentum, decay or steps out of range.
    UnstableStep
        For `lr` above `largest_stable_step`, unless allowed.
    """
    xp = namespace(H, labels)
    outputs = check_class_labels(labels)
    check_momentum(momentum)
    check_decay(decay)
    wanted = list(steps)
    whole = all(isinstance(k, Integral) for k in wanted)
    if not wanted or not whole or wanted != sorted(set(wanted)) or wanted[0] < 0 or wanted[-1] > MOST_STEPS:
        raise InvalidInput(f"steps are {wanted}; ascending whole numbers from 0 to {MOST_STEPS} are allowed for cross-entropy")
    if not allow_unstable:
        bound = largest_stable_step(GramSpectrum.of(H), momentum=momentum, decay=decay, loss="cross-entropy", outputs=outputs)
        if not lr <= bound * (1 + 4 * float(xp.finfo(H.dtype).eps)):
            raise UnstableStep(
                f"lr = {lr:.6g} is not sure to descend; at most {bound:.6g} is allowed (allow_unstable=True runs it all the same)"
            )
    kernel = _Kernel(H, labels)
    zero = xp.zeros_like(labels)
    start = zero if start is None else start
    # A stage that starts at its anchor has nothing to forget.
    hold, distance = (zero, 0.0) if carried is None else (carried, distance)
    gamma, velocity, share, share_velocity = zero, zero, 1.0, 0.0
    f = start
    losses, moved, passed = [], [], []
    for step in range(wanted[-1] + 1):
        if step in wanted:
            losses.append(loss(f, labels))
            moved.append(_displacement(kernel(gamma), gamma, hold, 1 - share, distance))
            if path:
                passed.append((gamma, share))
        if step == wanted[-1]:
            break
        slope = gradient(f, labels) + decay * gamma
        velocity = momentum * velocity + slope
        share_velocity = momentum * share_velocity + decay * share
        gamma, share = gamma - lr * velocity, share - lr * share_velocity
        f = start + (share - 1) * hold + kernel(gamma)
    return CrossEntropyStage(gamma, share, f, tuple(losses), tuple(moved), tuple(passed))


class _Kernel:
    """Product of a Gram matrix with coefficients, whether or not the outputs interact."""

    def __init__(self, H: Array, labels: Array) -> None:
        n, c = labels.shape[0], 1 if labels.ndim == 1 else labels.shape[1]
        if H.ndim != 2 or H.shape[0] != H.shape[1] or H.shape[0] not in (n, n * c):
            raise InvalidInput(f"the Gram matrix has shape {tuple(H.shape)}; ({n}, {n}) is needed for labels {tuple(labels.shape)}")
        self._H, self._coupled = H, H.shape[0] != n

    def __call__(self, gamma: Array) -> Array:
        if not self._coupled:
            return self._H @ gamma
        xp = namespace(gamma)
        return xp.reshape(self._H @ xp.reshape(gamma, (-1,)), gamma.shape)


def _displacement(moved_outputs: Array, gamma: Array, carried: Array, forgotten: float, distance: float) -> float:
    xp = namespace(gamma)
    square = scalar(xp.sum(gamma * moved_outputs)) - 2 * forgotten * scalar(xp.sum(gamma * carried)) + (forgotten * distance) ** 2
    return max(0.0, square) ** 0.5
