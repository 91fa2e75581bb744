"""How one stage is trained, as `predict` puts stages together: squared loss in closed form, cross-entropy step by step.

Everything is told by residuals, labels less outputs: at the stage's start, and at the anchor that decay pulls towards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from theory.arrays import Array, namespace, scalar
from theory.errors import InvalidInput, UnstableStep
from theory.numeric import cross_entropy, penalties
from theory.numeric.checks import check_class_labels
from theory.numeric.kernels.composed import Kernel
from theory.numeric.kernels.named import kernel as named_kernel
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.numeric.stability import largest_stable_step
from theory.problem import Schedule


@dataclass(frozen=True, eq=False)
class Start:
    """Where a stage starts.

    Attributes
    ----------
    labels, residual : arrays like the labels, flattened where outputs interact
        Given labels, and labels less outputs at the start.
    anchor : array like `residual`, optional
        Labels less outputs at the anchor; `None` where that is the start, or nothing pulls.
    distance : float, optional
        `‖W_s − A‖_F`; `None` where it is not known.
    """

    labels: Array
    residual: Array
    anchor: Array | None = None
    distance: float | None = None


@dataclass(frozen=True, eq=False)
class Stage:
    """What a stage leaves: `W = A + ω(W_s − A) + Zγ`; loss and displacement from its start at each step asked for.

    `path` holds `(γ, ω)` at each of those steps, where it was asked for.
    """

    coefficients: Array
    remembered: float
    residual: Array
    loss: tuple[float, ...]
    displacement: tuple[float | None, ...]
    path: tuple[tuple[Array, float], ...] = ()


@dataclass(frozen=True)
class SquaredLoss:
    """`½‖u − y‖²`, with momentum and decay."""

    momentum: float = 0.0
    decay: float = 0.0

    def run(self, H: Array, spectrum: GramSpectrum, start: Start, lr: float, steps: Sequence[Steps], path: bool = False) -> Stage:
        """The stage at `steps`, the last of them its end."""
        y = start.residual if start.anchor is None else start.anchor
        hold = None if start.anchor is None else start.anchor - start.residual
        known = start.anchor is None or start.distance is not None

        def moved(k: Steps) -> float | None:
            if not known:
                return 0.0 if k == 0 else None
            return penalties.displacement(
                spectrum, y, lr, k, decay=self.decay, momentum=self.momentum, carried=hold, distance=start.distance or 0.0
            )

        def at(function: Callable, k: Steps) -> Any:
            return function(spectrum, y, lr, k, decay=self.decay, momentum=self.momentum, carried=hold)

        def left(k: Steps) -> tuple[Array, float]:
            kept = 1.0 if start.anchor is None else penalties.remembered(lr, k, self.decay, self.momentum)
            return at(penalties.coefficients, k), kept

        end = steps[-1]
        coefficients, remembered = left(end)
        return Stage(
            coefficients=coefficients,
            remembered=remembered,
            residual=at(penalties.residual, end),
            loss=tuple(at(penalties.loss, k) for k in steps),
            displacement=tuple(moved(k) for k in steps),
            path=(*(left(k) for k in steps[:-1]), (coefficients, remembered)) if path else (),
        )

    def loss(self, labels: Array, residual: Array) -> float:
        """`½‖r‖²`."""
        return self.gradient_energy(labels, residual) / 2

    def gradient_energy(self, labels: Array, residual: Array) -> float:
        """Squared norm of the derivative of the loss by the outputs: `‖r‖²`."""
        return scalar(namespace(residual).sum(residual * residual))

    def check(self, spectrum: GramSpectrum, lr: float, steps: Steps, name: str, allow_unstable: bool) -> bool:
        """Whether `lr` is stable; raises `UnstableStep` if not and that was not allowed, if no limit exists, or if the run overflows."""
        if self.momentum == 0 and self.decay == 0:
            stable = spectrum.check_step(lr, steps, name, allow_unstable)
            spectrum.check_growth(lr, steps, name)
            return stable
        bound = largest_stable_step(spectrum, momentum=self.momentum, decay=self.decay)
        formula = _formula(self.momentum, "2", "1 + momentum", self.decay, "λ_max")
        stable = _is_stable(spectrum, lr, bound)
        if not stable and not allow_unstable:
            raise UnstableStep(
                f"{name} = {lr:.6g} diverges; at most {formula} = {bound:.6g} is allowed (allow_unstable=True runs it all the same)"
            )
        if steps is None and lr >= bound:
            raise UnstableStep(
                f"{name} = {lr:.6g} has no limit to train to; below {formula} = {bound:.6g} is allowed, or a finite number of steps"
            )
        # The larger root of z² − bz + μ, in size.
        middle = lr * (spectrum.largest + self.decay) - 1 - self.momentum
        growth = (middle + math.sqrt(middle * middle - 4 * self.momentum)) / 2 if not stable else 1.0
        room = math.log(float(namespace(spectrum.values).finfo(spectrum.values.dtype).max)) / 2 - 20
        if steps is not None and growth > 1 and steps * math.log(growth) > room:
            raise UnstableStep(
                f"{name} = {lr:.6g} overflows {spectrum.values.dtype} within {steps} steps; at most {formula} = {bound:.6g}, or fewer "
                "steps, is allowed"
            )
        return stable


@dataclass(frozen=True)
class CrossEntropy:
    """Cross-entropy of `outputs` classes, or of labels ±1 (`outputs=1`), with momentum and decay."""

    outputs: int
    momentum: float = 0.0
    decay: float = 0.0

    def run(self, H: Array, spectrum: GramSpectrum, start: Start, lr: float, steps: Sequence[Steps], path: bool = False) -> Stage:
        """The stage at `steps`, the last of them its end."""
        counts = [k for k in steps if k is not None]
        labels, hold = self._rows(start.labels), None if start.anchor is None else self._rows(start.anchor - start.residual)
        found = cross_entropy.descend(
            H,
            labels,
            lr,
            counts,
            start=self._rows(start.labels - start.residual),
            momentum=self.momentum,
            decay=self.decay,
            carried=hold,
            distance=start.distance or 0.0,
            allow_unstable=True,
            path=path,
        )
        known = start.anchor is None or start.distance is not None
        shape = start.labels.shape
        xp = namespace(labels)
        return Stage(
            coefficients=xp.reshape(found.coefficients, shape),
            remembered=1.0 if start.anchor is None else found.remembered,
            path=tuple((xp.reshape(g, shape), 1.0 if start.anchor is None else kept) for g, kept in found.path),
            residual=start.labels - xp.reshape(found.outputs, shape),
            loss=found.loss,
            displacement=found.displacement if known else tuple(0.0 if k == 0 else None for k in counts),
        )

    def loss(self, labels: Array, residual: Array) -> float:
        """Cross-entropy of the outputs, summed over points."""
        return cross_entropy.loss(self._rows(labels - residual), self._rows(labels))

    def gradient_energy(self, labels: Array, residual: Array) -> float:
        """Squared norm of the derivative of the loss by the outputs: `‖softmax u − Y‖²`."""
        slope = cross_entropy.gradient(self._rows(labels - residual), self._rows(labels))
        return scalar(namespace(slope).sum(slope * slope))

    def check(self, spectrum: GramSpectrum, lr: float, steps: Steps, name: str, allow_unstable: bool) -> bool:
        """Whether `lr` is sure to descend; raises `UnstableStep` if not and that was not allowed, `InvalidInput` without an end."""
        stage = name.removesuffix("_lr")
        if steps is None:
            why = "whose limit has no closed form" if self.decay else "which has no limit without weight_decay: outputs can grow for ever"
            raise InvalidInput(f"{stage}_steps is None; a whole number is allowed for cross-entropy, {why}")
        if steps > cross_entropy.MOST_STEPS:
            raise InvalidInput(
                f"{stage}_steps is {steps}; at most {cross_entropy.MOST_STEPS} is allowed for cross-entropy, which is run step by step"
            )
        bound = largest_stable_step(spectrum, momentum=self.momentum, decay=self.decay, loss="cross-entropy", outputs=self.outputs)
        stable = _is_stable(spectrum, lr, bound)
        if not stable and not allow_unstable:
            formula = _formula(self.momentum, "2", "1 − momentum", self.decay, "λ_max/2" if self.outputs > 1 else "λ_max/4")
            raise UnstableStep(
                f"{name} = {lr:.6g} is not sure to descend; at most {formula} = {bound:.6g} is allowed for cross-entropy "
                "(allow_unstable=True runs it all the same)"
            )
        return stable

    def _rows(self, y: Array) -> Array:
        """`y`, flat where outputs interact, with one row a point."""
        return namespace(y).reshape(y, (-1, self.outputs)) if y.ndim == 1 and self.outputs > 1 else y


def rule_of(schedule: Schedule, *labels: Array) -> SquaredLoss | CrossEntropy:
    """The rule that `schedule` trains by.

    Raises
    ------
    InvalidInput
        For labels, shaped as given, that cross-entropy has no meaning for.
    """
    if schedule.loss == "squared":
        return SquaredLoss(schedule.momentum, schedule.weight_decay)
    counts = [check_class_labels(y, f"{name} y") for name, y in zip(("source", "target"), labels, strict=True)]
    return CrossEntropy(counts[-1], schedule.momentum, schedule.weight_decay)


def check_shrinking(kernel: Any) -> None:
    """Raise `InvalidInput` where decay towards zero would change the kernel: that rescales `W(0)`, which only degree 1 does not feel.

    A Gram function of the user's own, like a Gram matrix, is taken to be of that kind.
    """
    if isinstance(kernel, str):
        kernel = named_kernel(kernel)
    if not isinstance(kernel, Kernel):
        return
    first_layer = kernel.depth == 1 and not kernel.trained_readout
    if not (first_layer and kernel.activation.homogeneous and kernel.activation.degree == 1):
        raise InvalidInput(
            "anchor is 'zero' with weight_decay: it shrinks W(0), and the given kernel depends on the scale of W(0); 'initial' or 'start' "
            "is allowed, or a kernel that does not (relu or leaky_relu, the first layer trained)"
        )


def _is_stable(spectrum: GramSpectrum, lr: float, bound: float) -> bool:
    return lr <= bound * (1 + 4 * float(namespace(spectrum.values).finfo(spectrum.values.dtype).eps))


def _formula(momentum: float, plain: str, with_momentum: str, decay: float, curvature: str) -> str:
    above = f"{plain}({with_momentum})" if momentum else plain
    return f"{above}/({curvature} + weight_decay)" if decay else f"{above}/({curvature})" if "/" in curvature else f"{above}/{curvature}"
