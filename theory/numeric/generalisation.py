"""How well a trained net generalises, told from training data alone: a Rademacher bound, and cross-validation in closed form.

In fine-tuning `y` stands for what pretraining leaves to learn, `ỹ = y_Q − y_{P→Q}`; from scratch for the labels themselves.
`n` is the number of points. Where the Gram matrix comes from is not asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from theory.arrays import Array, namespace, scalar, to_numpy
from theory.bounded_loss import Loss, check_bounded_loss
from theory.errors import InvalidInput
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.numeric.stages import displacement, loss, mode_energy


def complexity_measure(spectrum: GramSpectrum, y: Array, lr: float, steps: Steps) -> float:
    """`√2 ‖W(k) − W(0)‖/√n`, the leading term of the bound; to the end `√(2 yᵀH⁺y/n)`.

    It orders tasks and starts even where the bound itself is vacuous. Columns of vector labels add up.

    Source: Arora et al. 2019 (arXiv 1901.08584), theorem 5.1, from scratch; arXiv 1909.12031, improved generalisation, with `ỹ`.
    """
    return math.sqrt(2 / spectrum.size) * displacement(spectrum, y, lr, steps)


def rademacher_complexity(spectrum: GramSpectrum, radius: float) -> float:
    """Bound `(B/n) √(tr H)` on the empirical Rademacher complexity of `{x ↦ z(x)·v, ‖v‖ ≤ B}`; `B/√(2n)` for unit rows.

    The complexity itself is at least `1/√2` of it (Khintchine and Kahane).

    Raises
    ------
    InvalidInput
        For a radius that is negative or infinite.

    Source: Bartlett and Mendelson 2002, lemma 22.
    """
    if not 0 <= radius < math.inf:
        raise InvalidInput(f"radius is {radius!r}; a finite number ≥ 0 is allowed")
    return radius / spectrum.size * math.sqrt(scalar(namespace(spectrum.values).sum(spectrum.values)))


@dataclass(frozen=True, kw_only=True)
class RademacherBound:
    """A bound on the expected loss that holds with probability `1 − delta` over the target sample.

    Attributes
    ----------
    training : float
        `‖q(k)ỹ‖/√n`, at least the mean training loss.
    complexity : float
        `√2 B/√n`, twice the Rademacher complexity.
    confidence : float
        `3 √(log(2B(B + 1)/δ)/(2n))`.
    radius : int
        `B = max(1, ⌈D⌉)`, with `D` the displacement.
    delta : float
    """

    training: float
    complexity: float
    confidence: float
    radius: int
    delta: float

    @classmethod
    def of(cls, *, displacement: float, residual_norm: float, n: int, delta: float) -> RademacherBound:
        """The bound for weights `displacement` away from a start that does not depend on the `n` target points.

        Raises
        ------
        InvalidInput
            For `delta` outside (0, 1), a negative or infinite length, or `n` below 1.
        """
        if not 0 < delta < 1:
            raise InvalidInput(f"delta is {delta!r}; a number in (0, 1) is allowed")
        for name, value in (("displacement", displacement), ("residual_norm", residual_norm)):
            if not 0 <= value < math.inf:
                raise InvalidInput(f"{name} is {value!r}; a finite number ≥ 0 is allowed")
        if n < 1:
            raise InvalidInput(f"n is {n!r}; a whole number ≥ 1 is allowed")
        radius = max(1, math.ceil(displacement))
        return cls(
            training=residual_norm / math.sqrt(n),
            complexity=math.sqrt(2 / n) * radius,
            # The logarithm of each factor: their product overflows for weights that move far.
            confidence=3 * math.sqrt((math.log(2 / delta) + math.log(radius) + math.log(radius + 1)) / (2 * n)),
            radius=radius,
            delta=delta,
        )

    @property
    def total(self) -> float:
        """Sum of the three terms."""
        return self.training + self.complexity + self.confidence

    @property
    def vacuous(self) -> bool:
        """Whether it says nothing: a loss in [0, 1] is never above 1."""
        return self.total >= 1


def rademacher_bound(
    spectrum: GramSpectrum,
    labels: Array,
    remaining: Array,
    lr: float,
    steps: Steps,
    delta: float = 0.1,
    loss_function: Loss | None = None,
) -> RademacherBound:
    """Bound `‖q(k)ỹ‖/√n + √2 B/√n + 3√(log(2B(B+1)/δ)/(2n))` on the expected loss after `k` steps on the target.

    It holds, with probability `1 − δ` over the target sample, for every number of steps at once, and so for the best of them.

    Parameters
    ----------
    spectrum : GramSpectrum of the target's infinite-width Gram matrix, unit rows
    labels : (n,) array in [−1, 1]
        `y_Q`.
    remaining : (n,) array
        `ỹ`, from a source sample that is independent of the target sample; `labels` again for training from scratch.
    lr, steps : step size, and number of steps or `None` for the end
    delta : float in (0, 1)
        Probability with which the bound may fail.
    loss_function : callable, optional
        `(outputs, labels) -> losses`, the loss that is bounded; by default `theory.bounded_loss.ramp`.

    Raises
    ------
    InvalidInput
        For rows without unit norm, labels beyond ±1, more than one output, a loss outside [0, 1], steeper than 1 or not zero at
        the label, or `delta` outside (0, 1); with the value that is not allowed.

    Notes
    -----
    Vector labels are refused, because contraction holds for one output. Labels up to 1 are what the theorem assumes; no step of
    this form uses it.

    Source: arXiv 1909.12031, improved generalisation; Mohri, Rostamizadeh and Talwalkar 2018, theorem 3.3, for the constant 3.
    """
    n = spectrum.size
    if tuple(labels.shape) != (n,) or tuple(remaining.shape) != (n,):
        raise InvalidInput(
            f"labels have shape {tuple(labels.shape)} and what remains of them {tuple(remaining.shape)}; "
            f"({n},) is allowed: the bound is for one output"
        )
    xp = namespace(spectrum.values)
    norms = xp.sum(2 * spectrum.vectors * spectrum.vectors * spectrum.values[None, :], axis=1)
    # √eps: far above what a decomposition rounds, far below a row that was not normalised.
    _check_all(norms, xp.abs(norms - 1) <= float(xp.finfo(norms.dtype).eps) ** 0.5, "the squared norm of row", "1 (unit rows)")
    _check_all(labels, xp.abs(labels) <= 1, "the label of row", "a number in [−1, 1]")
    if loss_function is not None:
        check_bounded_loss(loss_function, labels)
    return RademacherBound.of(
        displacement=displacement(spectrum, remaining, lr, steps),
        residual_norm=math.sqrt(2 * loss(spectrum, remaining, lr, steps)),
        n=n,
        delta=delta,
    )


def _check_all(values: Array, allowed: Array, what: str, range_text: str) -> None:
    wrong = ~to_numpy(allowed)
    if wrong.any():
        row = int(wrong.argmax())
        raise InvalidInput(f"{what} {row} is {float(to_numpy(values)[row]):.6g}; {range_text} is allowed")


def generalised_cross_validation(spectrum: GramSpectrum, y: Array, lr: float, steps: Steps) -> float | None:
    """Estimate `(‖q y‖²/n)/(tr q/n)²` of the mean squared error on new points, `q = q(k)`; columns of vector labels add up.

    To the end both `‖q y‖` and `tr q` vanish for a regular `H`. What is returned is the limit of ridge regression for a vanishing
    penalty, `(1/n) yᵀH⁻²y/(tr H⁻¹/n)²`: the mean square of `leave_one_out` after a rotation of the data that makes all points
    alike. For a singular `H` it is the ratio with `q` the projection on the null space.

    `None` where `tr q` is 0, so that the ratio says nothing.

    Notes
    -----
    For ever longer training the ratio at `k` steps does not tend to its value at the end, but to `n (vᵀy)²`, with `v` the slowest
    mode. Where `q` is no longer smooth over the spectrum, `ηλ_min k > 1`, it says little about new points.

    It takes all points for alike. On images they are not, and its level is too low (0.30 on MNIST parity, 100 points, where the
    leave-one-out and the test error are 0.40 and 0.41): it orders, `leave_one_out` measures.

    Source: Golub, Heath and Wahba 1979; Craven and Wahba 1979.
    """
    xp = namespace(spectrum.values)
    weights = _relative_filter(spectrum, lr, steps)
    trace = scalar(xp.sum(weights))
    if abs(trace) <= spectrum.size * float(xp.finfo(weights.dtype).eps) * scalar(xp.sum(xp.abs(weights))):
        return None
    return spectrum.size * scalar(xp.sum(weights * weights * mode_energy(spectrum, y))) / trace**2


def _relative_filter(spectrum: GramSpectrum, lr: float, steps: Steps) -> Array:
    """The residual filter over its largest value, which the ratio does not feel: the filter itself underflows in long training."""
    xp = namespace(spectrum.values)
    values, one = spectrum.values, xp.ones_like(spectrum.values)
    positive = values > 0
    if steps is None:
        return spectrum.smallest / values if spectrum.smallest > 0 else xp.where(positive, xp.zeros_like(values), one)
    if steps == 0:
        return one
    x = lr * values
    alive = x != 1
    size = xp.where(x < 0.5, xp.log1p(-xp.where(x < 0.5, x, 0 * x)), xp.log(xp.where(alive, xp.abs(1 - x), one)))
    if not bool(xp.any(alive)):
        return xp.zeros_like(values)
    slowest = scalar(xp.max(xp.where(alive, size, xp.min(size) + 0 * size)))
    # (A mode that one step learns has no logarithm; it is given the slowest one's before it is set to 0.)
    relative = xp.where(alive, xp.exp(steps * (xp.where(alive, size, slowest + 0 * size) - slowest)), xp.zeros_like(values))
    return xp.where((x > 1) & (steps % 2 == 1), -relative, relative)


def leave_one_out(spectrum: GramSpectrum, y: Array) -> Array:
    """What each point's label is off the prediction of the net trained to the end on all other points: `(H⁻¹y)ᵢ/(H⁻¹)ᵢᵢ`.

    For a singular `H`, with `P` the projection on its null space: `(Py)ᵢ/Pᵢᵢ` for points whose features the others span
    (`Pᵢᵢ > 0`), and `(H⁺y)ᵢ/(H⁺)ᵢᵢ` for the others. Exact, without a single refit.

    Parameters
    ----------
    y : (n,) or (n, c) array
        In fine-tuning `ỹ`, from a source that stays as it is.

    Returns
    -------
    Array of the shape of `y`; the mean of its squares estimates the mean squared error on new points, without bias for one point
    fewer.

    Source: Allen 1974 (PRESS); Golub, Heath and Wahba 1979, for ridge regression, here with a vanishing penalty.
    """
    xp = namespace(spectrum.values)
    positive = spectrum.values > 0
    zero, one = xp.zeros_like(spectrum.values), xp.ones_like(spectrum.values)
    inverse = xp.where(positive, 1 / xp.where(positive, spectrum.values, one), zero)
    outside = xp.where(positive, zero, one)
    squares = spectrum.vectors * spectrum.vectors
    leverage = squares @ outside
    # A squared length: rounding leaves n·eps of it, √eps is far above that.
    spanned = leverage > float(xp.finfo(leverage.dtype).eps) ** 0.5
    divisor = xp.where(spanned, leverage, squares @ inverse)
    fitted, free = spectrum.apply(inverse, y), spectrum.apply(outside, y)
    if y.ndim == 2:
        spanned, divisor = spanned[:, None], divisor[:, None]
    return xp.where(spanned, free, fitted) / divisor
