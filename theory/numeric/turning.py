"""Why transferability rises and then falls with pretraining (result g): the curve over source steps, and its turns.

Gradient energy, squared displacement and squared test error after `k` source steps are all of one form,
`F(k) = ‖ρ − Σᵢ (1 − qᵢ^k) gᵢ‖²_M` with `qᵢ = 1 − ηλᵢ`, `λᵢ, vᵢ` the eigenpairs of `H_P`, `gᵢ = T vᵢ vᵢᵀy_P/λᵢ`, and `ρ`, `T` and the
metric `M` depending on the quantity. Between its start and its limit such a sum of exponentials can turn, more than once.

Where it turns is read off differences, `F(l) − F(k) = −s·(2L(k) − s)` with `L(k) = ρ − Σᵢ (1 − qᵢ^k) gᵢ` and `s = L(k) − L(l)`: next to a
minimum the difference of two values of `F` would be rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import array_api_compat as compat
import numpy as np

from theory.arrays import Array, namespace, scalar, to_numpy
from theory.errors import InvalidInput
from theory.numeric.fractional import largest_fraction, least_fraction
from theory.numeric.mode_contributions import ModeContributions
from theory.numeric.spectrum import GramSpectrum, Steps, integral_filter, residual_filter
from theory.numeric.turn_bound import ExponentialSum, TurnBound
from theory.numeric.turn_search import SlopeSearch

# A sum over n modes is rounded by n·eps of its terms' sizes; an exponential by eps times its argument, at most −log of the least float64.
_DEEPEST = 745


@dataclass(frozen=True, eq=False)
class PretrainingCurve:
    """`F(k) = ‖ρ − Σᵢ (1 − (1 − ηλᵢ)^k) gᵢ‖²`, the metric taken into `ρ` and `g`.

    Attributes
    ----------
    spectrum : GramSpectrum of `H_P`
    lr : float, source step size
    start : (p, c) array
        `ρ`: what is left at `k = 0`.
    modes : (n_P, p, c) array
        `gᵢ`, zero where `λᵢ = 0`.
    noise : (n_P,) array
        `‖T vᵢ‖²/λᵢ²`: what unit noise on source labels adds through each mode, per label column; zero where `λᵢ = 0`.
    """

    spectrum: GramSpectrum
    lr: float
    start: Array
    modes: Array
    noise: Array

    @classmethod
    def of(cls, spectrum: GramSpectrum, lr: float, y_source: Array, start: Array, transfer: Array) -> PretrainingCurve:
        """The curve of source labels, of what is left without pretraining, and of what pretraining carries over.

        With `T = H_QP` and `ρ = y_Q` the curve is the gradient energy; with `H_Q^{-1/2}` before both, the squared
        displacement to the end; with `T = H_TP − H_TQ φ(H_Q) H_QP` and `ρ = y_T − H_TQ φ(H_Q) y_Q` the squared test error.

        Parameters
        ----------
        spectrum : GramSpectrum of `H_P`
        lr : float
            Source step size, `0 < η < 2/λ_max`.
        y_source : (n_P,) or (n_P, c) array
            `y_P`; as everywhere, labels less initial outputs.
        start : (p,) or (p, c) array
            `ρ`.
        transfer : (p, n_P) array
            `T`, its rows in the range of `H_P`, as rows of a kernel are.

        Raises
        ------
        InvalidInput
            For shapes that do not fit together, or `lr` not above 0.
        UnstableStep
            For `lr` at or above `2/λ_max`, where the curve has no limit.
        """
        xp = namespace(spectrum.values)
        _check(spectrum, transfer, lr, None)
        columns, rest = (xp.reshape(a, (a.shape[0], -1)) for a in (y_source, start))
        if columns.shape[0] != spectrum.size or rest.shape != (transfer.shape[0], columns.shape[1]):
            raise InvalidInput(
                f"y_source has shape {tuple(y_source.shape)}, start {tuple(start.shape)}, transfer {tuple(transfer.shape)}; "
                f"({spectrum.size},), (p,) and (p, {spectrum.size}) are allowed, or the first two with equally many columns"
            )
        inverse = integral_filter(spectrum.values, lr, None)
        weights = inverse[:, None] * spectrum.project(columns)
        directions = (transfer @ spectrum.vectors).T
        noise = inverse**2 * xp.sum(directions * directions, axis=1)
        return cls(spectrum, lr, rest, directions[:, :, None] * weights[:, None, :], noise)

    def __call__(self, steps: Steps) -> float:
        """`F(k)`; `None` for the limit.

        Raises
        ------
        InvalidInput
            For negative `steps`.
        """
        _check_steps(steps)
        left = self._left(steps)
        return scalar(namespace(left).sum(left * left))

    def turns(self, last: int) -> list[int]:
        """Steps in `(0, last)` at which `F` has a local minimum, ascending.

        That is where `F` falls and then rises; of a flat stretch between, the first step. For `η > 1/λ_max` modes overshoot and
        `F` zigzags from step to step; a minimum then has to be one among the two steps on either side, so that a zigzag, which
        along even steps and along odd steps is smooth, counts once and not at every other step.

        The search divides an interval of steps until a bound on the exponentials' change over it rules out a change of sign of
        `F(k + 1) − F(k)`, or it is shorter than 2⁻¹² of its start. Missed can therefore be only a minimum shallower than
        `2⁻²² (‖ρ‖ + 2 Σᵢ ‖gᵢ‖)²`, whose fall and rise lie within such an interval. Falls and rises within rounding count as flat.

        Raises
        ------
        InvalidInput
            If `last < 1`.
        """
        _check_last(last)
        found = self._minima(last)
        if self._stride == 2:
            found = [k for k in found if self._falls(k - 1, k) and not self._falls(k, k + 1)]
        return found

    def best(self, last: int) -> int | None:
        """The step up to `last` with the least `F`, the earliest where several have it; `None` where the limit is lower still.

        Raises
        ------
        InvalidInput
            If `last < 1`.
        """
        _check_last(last)
        chosen: Steps = 0
        # The limit comes before the last steps: an exponential that has underflowed is equal to its limit, which it never is.
        for candidate in (1, *self._minima(last), None, last - 1, last):
            if chosen is None or (candidate is not None and candidate <= chosen):
                lower = candidate is not None and self._rises(candidate, chosen)
            else:
                lower = self._falls(chosen, candidate)
            if lower:
                chosen = candidate
        return chosen

    def initial_slope(self) -> float:
        """`F(1) − F(0)`: whether the first step of pretraining helps; for small `η` it is `−2η ρᵀT y_P`.

        A difference, not a derivative: at `η = 1/λ_max` the top mode is learnt in one step. All its digits hold at any `η`.
        """
        return self._change(0, 1)[0]

    def turn_bound(self) -> TurnBound:
        """How often `F` can turn at most: Laguerre's rule on `F(k + 1) − F(k) = −Σ (1 − b) A_b b^k`, bases `qᵢ` and `qᵢqⱼ`.

        Where a partial sum is within rounding of zero, the sign that gives most turns is counted: the bound holds all the same.

        Raises
        ------
        InvalidInput
            For `η > 1/λ_max`, where some `qᵢ` are negative and the rule does not hold.
        """
        return self._slope_terms().turn_bound()

    def late_trend(self) -> int:
        """Whether `F` at last rises to its limit (1) or falls to it (−1); 0 where it stands still, or within rounding does.

        Sign of the slowest term of `F(k + 1) − F(k)`: with `λ₁` the least eigenvalue and `g₁·ρ_∞ ≠ 0`, `F` rises iff `g₁·ρ_∞ < 0`.

        Raises
        ------
        InvalidInput
            For `η > 1/λ_max`, where `F` may zigzag to its limit.
        """
        return self._slope_terms().late_sign()

    def turn_is_certain(self) -> bool:
        """Whether the first step helps and `F` at last rises: then some finite `k > 0` is better than both ends.

        Enough, not necessary: `F` may rise at first, or fall at last, and yet be least in between (`best` decides).

        Raises
        ------
        InvalidInput
            For `η > 1/λ_max`.
        """
        return self.late_trend() > 0 and self._falls(0, 1)

    def with_source_noise(self, variance: float) -> PretrainingCurve:
        """The mean of `F` over independent noise of this variance on every source label, as a curve: `F(k) + c σ² N(k)`.

        `N(k) = Σᵢ (1 − qᵢ^k)² ‖T vᵢ‖²/λᵢ²`, `c` the number of label columns.

        Raises
        ------
        InvalidInput
            For a negative `variance`.
        """
        if not 0 <= variance < math.inf:
            raise InvalidInput(f"variance is {variance}; a finite number of 0 or more is allowed")
        xp, (n, _, c) = namespace(self.modes), self.modes.shape
        like: dict[str, Any] = {"dtype": self.modes.dtype, "device": compat.device(self.modes)}
        # One more component for each mode, which starts at zero and ends at its noise.
        added, room = xp.sqrt(variance * c * self.noise)[:, None] * xp.eye(n, **like), xp.zeros((n, n, c - 1), **like)
        start = xp.concat([self.start, xp.zeros((n, c), **like)])
        return replace(self, start=start, modes=xp.concat([self.modes, xp.concat([added[:, :, None], room], axis=2)], axis=1))

    def noise_window(self, last: int) -> tuple[float, float]:
        """The variances `σ² > 0` of source noise at which a finite `k > 0` is best: exactly those in the open interval `(low, high)`.

        `low = min_k (F(k) − F(∞))/(N(∞) − N(k))`, `0 < k ≤ last`: above it some `k` beats training to the end. `high = max_k (F(0) −
        F(k))/N(k)`, the end included: below it some `k` beats no pretraining. Both are divided by the number of label columns, and 0 for
        less. Where `low ≥ high` no variance has such a `k`. What holds at one variance holds above it (first) or below it (second),
        because `N` grows with `k`: and the `k` that is lowest then beats both ends, if each is beaten by any.

        Raises
        ------
        InvalidInput
            If `last < 1`, for `η > 1/λ_max` (where `N` need not grow), or where no source label reaches the quantity.
        NotConverged
            If the search does not settle.
        """
        _check_last(last)
        self._check_monotone()
        if not scalar(namespace(self.noise).sum(self.noise)) > 0:
            raise InvalidInput("the transfer matrix is zero on every mode of the source; one that is not is allowed")
        c = self.modes.shape[2]

        def beats_the_end(k: Steps) -> float:
            left = self._noise_left(k)
            # Nothing is left to learn, so the end is no worse.
            return -self._change(k, None)[0] / (c * left) if k is not None and left > 0 else math.inf

        def beats_the_start(k: Steps) -> float:
            return -self._change(0, k)[0] / (c * self._noise_at(k))

        def lowest_at(variance: float) -> Steps:
            if last == 1:
                return 1
            lowest = self.with_source_noise(variance)._after_one_step().best(last - 1)
            return None if lowest is None else lowest + 1

        powers = [min(2**power, last) for power in range(last.bit_length() + 1)]
        return least_fraction(beats_the_end, lowest_at, powers), largest_fraction(beats_the_start, lowest_at, powers)

    def contributions(self, steps: Steps) -> ModeContributions:
        """What each mode of the source adds to `F(k) − F(0)`, and what share of it would be best.

        Raises
        ------
        InvalidInput
            For negative `steps`.
        """
        _check_steps(steps)
        values = self.spectrum.values
        return ModeContributions.of(values, values * integral_filter(values, self.lr, steps), self.modes, self.start, self._left(steps))

    # Differences -------------------------------------------------------------------------------------------------------------

    def _left(self, steps: Steps) -> Array:
        """`L(k)`, with `1 − q^k` as `λφ_k`, which keeps the digits of a mode that has hardly begun to move."""
        values = self.spectrum.values
        learnt = values * integral_filter(values, self.lr, steps)
        return self.start - namespace(learnt).sum(learnt[:, None, None] * self.modes, axis=0)

    def _change(self, first: int, then: Steps) -> tuple[float, float]:
        """`F(then) − F(first)` for `first < then`, and how much of it may be rounding."""
        xp, values = namespace(self.start), self.spectrum.values
        gone = residual_filter(values, self.lr, first)
        if then is not None:
            gone = gone * values * integral_filter(values, self.lr, then - first)
        shift = xp.sum(gone[:, None, None] * self.modes, axis=0)
        change = -scalar(xp.sum(shift * (2 * self._left(first) - shift)))
        return change, self._rounding * scalar(xp.sum(xp.abs(gone) * self._sizes))

    def _falls(self, first: int, then: Steps) -> bool:
        change, rounding = self._change(first, then)
        return change < -rounding

    def _rises(self, first: int, then: Steps) -> bool:
        change, rounding = self._change(first, then)
        return change > rounding

    @property
    def _sizes(self) -> Array:
        """`‖gᵢ‖`."""
        xp = namespace(self.modes)
        return xp.sqrt(xp.sum(self.modes * self.modes, axis=(1, 2)))

    @property
    def _rounding(self) -> float:
        """Rounding of `−s·(2L − s)`, in units of the sizes added up in `s`."""
        xp = namespace(self.start)
        size = 2 * scalar(xp.sqrt(xp.sum(self.start * self.start))) + 4 * scalar(xp.sum(self._sizes))
        return float(xp.finfo(self.start.dtype).eps) * (self.spectrum.size + _DEEPEST) * size

    # Search ------------------------------------------------------------------------------------------------------------------

    @property
    def _stride(self) -> int:
        """Steps between which every exponential is smooth: 2 where some `q` is negative, as `q²` is not."""
        return 2 if self.lr * self.spectrum.largest > 1 else 1

    def _minima(self, last: int) -> list[int]:
        """Minima in `(0, last)` among steps of one parity for stride 2, else among all."""
        xp, values = namespace(self.start), self.spectrum.values
        modes, end = xp.reshape(self.modes, (values.shape[0], -1)), xp.reshape(self._left(None), (1, -1))
        searches = (
            SlopeSearch(values, self.lr, modes, end, sizes=self._sizes, rounding=self._rounding, stride=self._stride, phase=phase)
            for phase in range(self._stride)
        )
        return sorted(k for search in searches for k in search.minima(last) if k < last)

    def _check_monotone(self) -> None:
        if self._stride == 2:
            raise InvalidInput(
                f"lr is {self.lr:.6g}; at most 1/λ_max = {1 / self.spectrum.largest:.6g} is allowed here: above it modes overshoot"
            )

    def _slope_terms(self) -> ExponentialSum:
        """`F(k + 1) − F(k)` as a sum of exponentials in `k`."""
        self._check_monotone()
        modes, end = to_numpy(self.modes), to_numpy(self._left(None))
        return ExponentialSum.of_differences(
            np.asarray(self.lr * to_numpy(self.spectrum.values), dtype=float),
            modes.reshape(modes.shape[0], -1).astype(float),
            end.reshape(-1).astype(float),
            eps=float(namespace(self.start).finfo(self.start.dtype).eps),
            apart=self.lr * self.spectrum.cutoff,
        )

    def _noise_at(self, steps: Steps) -> float:
        """`N(k)`."""
        shares = self.spectrum.values * integral_filter(self.spectrum.values, self.lr, steps)
        return scalar(namespace(shares).sum(self.noise * shares**2))

    def _noise_left(self, steps: Steps) -> float:
        """`N(∞) − N(k) = Σ q^k (2 − q^k) ‖T v‖²/λ²`, without cancellation."""
        left = residual_filter(self.spectrum.values, self.lr, steps)
        return scalar(namespace(left).sum(self.noise * left * (2 - left)))

    def _after_one_step(self) -> PretrainingCurve:
        """`F(k + 1)` as a curve in `k`."""
        q = residual_filter(self.spectrum.values, self.lr, 1)
        return replace(self, start=self._left(1), modes=q[:, None, None] * self.modes, noise=q**2 * self.noise)


def source_noise_energy(spectrum: GramSpectrum, transfer: Array, variance: float, lr: float, steps: Steps) -> float:
    """Expected rise of `F(k)` through independent noise on source labels: `σ² Σᵢ (1 − qᵢ^k)² ‖T vᵢ‖²/λᵢ²`.

    For `η ≤ 1/λ_max` it grows with `k`, and so forces a turn above a threshold of `σ²`.

    Parameters
    ----------
    spectrum : GramSpectrum of `H_P`
    transfer : (p, n_P) array
        `T`, as for `PretrainingCurve.of`.
    variance : float
        `σ²`, of every label; for `c` label columns the rise is `c` times as large.
    lr : float
        Source step size, `0 < η ≤ 2/λ_max`, below it for the limit.
    steps : int or None
        Source steps; `None` for the limit.

    Raises
    ------
    InvalidInput
        For a `transfer` that does not fit the spectrum, a negative `variance` or negative `steps`, or `lr` not above 0.
    UnstableStep
        For `lr` above `2/λ_max`, or at it for the limit.
    """
    xp = namespace(spectrum.values)
    _check(spectrum, transfer, lr, steps)
    if not 0 <= variance < math.inf:
        raise InvalidInput(f"variance is {variance}; a finite number of 0 or more is allowed")
    _check_steps(steps)
    phi = integral_filter(spectrum.values, lr, steps)
    phi = xp.where(spectrum.values > 0, phi, xp.zeros_like(phi))
    directions = transfer @ spectrum.vectors
    return variance * scalar(xp.sum((directions * phi[None, :]) ** 2))


def _check(spectrum: GramSpectrum, transfer: Array, lr: float, steps: Steps) -> None:
    if transfer.ndim != 2 or transfer.shape[1] != spectrum.size:
        raise InvalidInput(f"transfer has shape {tuple(transfer.shape)}; (p, {spectrum.size}) is allowed")
    if not lr > 0:
        raise InvalidInput(f"lr is {lr}; a number above 0 is allowed")
    spectrum.check_step(lr, steps, "lr")


def _check_steps(steps: Steps) -> None:
    if steps is not None and steps < 0:
        raise InvalidInput(f"steps is {steps}; 0 or more, or None, is allowed")


def _check_last(last: int) -> None:
    if last < 1:
        raise InvalidInput(f"last is {last}; at least 1 is allowed")
