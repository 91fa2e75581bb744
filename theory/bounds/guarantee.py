"""A priori: from the width alone, where a net must lie with probability at least `1 − δ`, and the least width for a given error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np

from theory.arrays import to_numpy
from theory.bounds.chance import check_delta
from theory.bounds.initial_kernel import (
    InitialKernel,
    entrywise_deviation,
    flip_probability,
    flipped_share,
    kernel_change,
    neuron_movement,
    operator_norm,
)
from theory.bounds.transfer import ErrorBounds, KernelErrors, PerturbedTransfer
from theory.errors import DoesNotApply, InvalidInput
from theory.problem import Schedule, TransferProblem, whole

WIDEST = 1 << 80
"""The largest width that `least_width` looks at."""

_ITERATIONS = 400
_HEADROOM = 1e-6
# From this probability on every neuron counts as within reach.
_ALL = 0.999
# Entry by entry takes long for many points, and is the worse bound for them.
_FEW = 32


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """What holds for a random start of the given width, with probability at least `1 − δ`.

    Attributes
    ----------
    width : int
    init_scale, delta : float
        `κ`, `δ`.
    radius : float
        `R`: no neuron moves farther, in either stage or from scratch.
    flipped : float
        Share of neurons that a move up to `R` can turn at a point.
    initial : float
        `‖H(W(0)) − H‖` on all points together.
    errors : KernelErrors
        That hold along the run.
    bounds : ErrorBounds
        What they imply.
    """

    width: int
    init_scale: float
    delta: float
    radius: float
    flipped: float
    initial: float
    errors: KernelErrors
    bounds: ErrorBounds


def guarantee(
    problem: TransferProblem,
    schedule: Schedule | None = None,
    *,
    width: int,
    init_scale: float = 1.0,
    delta: float = 0.05,
) -> Guarantee:
    """Theorems 1 and 2 with their constants, for an antisymmetric start of the two-layer ReLU net.

    Two events of probability at least `1 − δ/2` each, both about `W(0)`: its kernel on all points is near `H`, and few neurons can be
    turned at any point by a move up to `R`. On them, for any slopes the net may have while its neurons stay within `R`, however `W(P)` came
    about, every block of its kernel is within `ε(R)` of `H`; then no neuron moves farther than `Φ(R) = (‖X_P‖ S_P(R) + ‖X_Q‖ S_Q(R))/√m`. A
    radius with `Φ(R) ≤ R` therefore holds step by step, by induction, and with it all of `ErrorBounds`.

    Parameters
    ----------
    problem : TransferProblem with a source and scalar labels
    schedule : Schedule, optional
        Both stages to their end by default.
    width : int, even
        `m`.
    init_scale : float > 0
        `κ`.
    delta : float in (0, 1)

    Raises
    ------
    InvalidInput
        For values out of range, and vector labels.
    DoesNotApply
        If no radius is found that leaves a thousandth of the neurons out of reach at a point: the net is too narrow. (Few steps keep
        some radius at any width; where every neuron may turn it says nothing worth having.)

    Source: the argument of Du et al. 2018 (arXiv 1810.02054), section 3, uniformly over the ball, with every constant kept.
    """
    setting = _Setting(problem, schedule, init_scale, delta)
    try:
        return setting.guarantee(_even(width))
    except DoesNotApply as error:
        needed = least_width(problem, schedule, init_scale=init_scale, delta=delta, wanted=math.inf).width
        raise DoesNotApply(f"does not apply: needs m ≥ {needed:,} at δ = {delta:g}, κ = {init_scale:g} ({error})") from None


def least_width(
    problem: TransferProblem,
    schedule: Schedule | None = None,
    *,
    init_scale: float = 1.0,
    delta: float = 0.05,
    wanted: Callable[[Guarantee], bool] | float = 0.1,
) -> Guarantee:
    """The guarantee of the least width that gives what is wanted.

    Parameters
    ----------
    problem, schedule, init_scale, delta
        As for `guarantee`.
    wanted : number, or function of a `Guarantee`
        A number asks for displacement, `‖u_Q − y_Q‖` at the start of fine-tuning, and displacement from scratch, each within that share
        of its value; `math.inf` for convergence alone.

    Raises
    ------
    InvalidInput
        For values out of range.
    DoesNotApply
        If no width up to 2⁸⁰ gives it.
    """
    setting = _Setting(problem, schedule, init_scale, delta)
    enough = wanted if callable(wanted) else _within(wanted)

    def good(width: int) -> Guarantee | None:
        try:
            found = setting.guarantee(width)
        except DoesNotApply:
            return None
        return found if enough(found) else None

    high, best = 2, good(2)
    while best is None:
        high *= 2
        if high > WIDEST:
            raise DoesNotApply(f"no width up to 2^{WIDEST.bit_length() - 1} guarantees what is wanted at δ = {delta:g}")
        best = good(high)
    low = high // 2
    # Errors fall with the width; bisection to a part in a thousand, and to the even number within it.
    while high - low > max(2, high // 1000):
        middle = (low + high) // 4 * 2
        found = good(middle)
        low, high, best = (middle, high, best) if found is None else (low, middle, found)
    return best


class _Setting:
    """What does not depend on the width."""

    def __init__(self, problem: TransferProblem, schedule: Schedule | None, init_scale: Any, delta: Any) -> None:
        if isinstance(init_scale, bool) or not isinstance(init_scale, Real) or not 0 < float(init_scale) < math.inf:
            raise InvalidInput(f"init_scale is {init_scale!r}; a finite number above 0 is allowed")
        self.init_scale, self.delta = float(init_scale), check_delta(delta)
        self.transfer = PerturbedTransfer(problem, schedule)
        if problem.n_outputs > 1:
            raise InvalidInput(f"labels have {problem.n_outputs} columns; scalar labels (n,) are allowed here")
        assert problem.source is not None
        sets = [problem.source[0], problem.target[0]] + ([] if problem.test is None else [problem.test[0]])
        self.sets = [to_numpy(X).astype(np.float64) for X in sets]
        self.points = np.concatenate(self.sets)
        ends = np.cumsum([0, *map(len, self.sets)])
        self.slices = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.norms = [operator_norm(X) for X in self.sets]
        self.kernel = InitialKernel(self.points)
        self.turns = {key: kernel_change(self.points[a], None if a is b else self.points[b], 1.0) for key, (a, b) in self._blocks().items()}

    def _blocks(self) -> dict[str, tuple[slice, slice]]:
        P, Q = self.slices[:2]
        blocks = {"source": (P, P), "target": (Q, Q), "target_source": (Q, P)}
        if len(self.slices) == 3:
            blocks |= {"test_source": (self.slices[2], P), "test_target": (self.slices[2], Q)}
        return blocks

    def guarantee(self, width: int) -> Guarantee:
        """At one width."""
        neurons = width // 2
        few = len(self.points) <= _FEW
        joint = self.kernel.deviation(neurons, self.delta / (4 if few else 2))
        initial = dict.fromkeys(self._blocks(), joint)
        if few:
            entries = entrywise_deviation(self.points, neurons, self.delta / 4)
            initial = {key: min(joint, operator_norm(entries[a, b])) for key, (a, b) in self._blocks().items()}

        def errors(radius: float) -> tuple[KernelErrors, float]:
            share = flipped_share(radius, self.init_scale, neurons, len(self.points), self.delta / 2)
            at = {key: initial[key] + share * self.turns[key] for key in initial}
            found = KernelErrors(
                source=at["source"],
                target=at["target"],
                target_source=at["target_source"],
                source_target=at["target_source"],
                source_moments=at["source"],
                target_moments=at["target"],
                test_source=at.get("test_source", math.inf),
                test_target=at.get("test_target", math.inf),
            )
            return found, share

        radius = self._radius(errors, width)
        found, share = errors(radius)
        return Guarantee(
            width=width,
            init_scale=self.init_scale,
            delta=self.delta,
            radius=radius,
            flipped=share,
            initial=joint,
            errors=found,
            bounds=self.transfer.bounds(found),
        )

    def _radius(self, errors: Callable[[float], tuple[KernelErrors, float]], width: int) -> float:
        """A radius with `Φ(R) ≤ R`, from below."""
        radius = 0.0
        for _ in range(_ITERATIONS):
            moved = self._moved(errors(radius)[0], width, radius)
            if moved <= radius:
                return radius
            # All neurons within reach: to the end there is no such radius, and after few steps one that says nothing.
            if flip_probability(moved, self.init_scale) > _ALL:
                break
            radius = moved * (1 + _HEADROOM)
        raise DoesNotApply(
            f"at width {width} neurons may move far enough to turn more of the kernel than λ_min = {self.transfer.P.smallest:.3g} on the "
            f"source and {self.transfer.Q.smallest:.3g} on the target bear"
        )

    def _moved(self, errors: KernelErrors, width: int, radius: float) -> float:
        try:
            source = self.transfer.source_stage(errors)
            target = self.transfer.target_stage(errors, self.transfer.start_error(errors, source))
            scratch = self.transfer.target_stage(errors, None)
        except InvalidInput as error:
            raise DoesNotApply(f"at width {width}, with neurons allowed to move by {radius:.3g}: {error}") from None
        in_turn = neuron_movement(self.norms[:2], [source.path, target.path], width)
        return max(in_turn, neuron_movement(self.norms[1:2], [scratch.path], width))


def _within(share: Any) -> Callable[[Guarantee], bool]:
    if isinstance(share, bool) or not isinstance(share, Real) or not float(share) > 0:
        raise InvalidInput(f"wanted is {share!r}; a share above 0, or a function of a Guarantee, is allowed")
    most = float(share)

    def enough(found: Guarantee) -> bool:
        bounds = found.bounds
        start = bounds.gradient_energy
        pairs = [
            (bounds.displacement.error, bounds.displacement.predicted),
            (bounds.displacement_scratch.error, bounds.displacement_scratch.predicted),
            (math.sqrt(start.high) - math.sqrt(start.predicted), math.sqrt(start.predicted)),
        ]
        return most == math.inf or all(error <= most * value for error, value in pairs)

    return enough


def _even(width: int) -> int:
    number = whole(width, "width")
    if number < 2 or number % 2:
        raise InvalidInput(f"width is {width!r}; an even number from 2 is allowed: neurons come in pairs with opposite signs")
    return number
