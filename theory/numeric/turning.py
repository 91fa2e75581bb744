"""Why transferability rises and then falls with pretraining (result g): the curve over source steps, and its turns.

Gradient energy, squared displacement and squared test error after `k` source steps are all of one form,
`F(k) = ‖ρ − Σᵢ (1 − qᵢ^k) gᵢ‖²_M` with `qᵢ = 1 − ηλᵢ`, `λᵢ, vᵢ` the eigenpairs of `H_P`, `gᵢ = T vᵢ vᵢᵀy_P/λᵢ`, and `ρ`, `T` and the
metric `M` depending on the quantity. Between its start and its limit such a sum of exponentials can turn, more than once.

Where it turns is read off differences, `F(l) − F(k) = −s·(2L(k) − s)` with `L(k) = ρ − Σᵢ (1 − qᵢ^k) gᵢ` and `s = L(k) − L(l)`: next to a
minimum the difference of two values of `F` would be rounding.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import array_api_compat as compat

from theory.arrays import Array, namespace, scalar, to_numpy
from theory.errors import InvalidInput
from theory.numeric.spectrum import GramSpectrum, Steps, integral_filter, residual_filter

# A sum over n modes is rounded by n·eps of its terms' sizes; an exponential by eps times its argument, at most −log of the least float64.
_DEEPEST = 745
# Intervals of steps narrower than this share of their start are not divided any further; see `PretrainingCurve.turns`.
_FINEST = 2.0**-12
_BATCH = 2048


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
    """

    spectrum: GramSpectrum
    lr: float
    start: Array
    modes: Array

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
        weights = integral_filter(spectrum.values, lr, None)[:, None] * spectrum.project(columns)
        directions = (transfer @ spectrum.vectors).T
        return cls(spectrum, lr, rest, directions[:, :, None] * weights[:, None, :])

    def __call__(self, steps: Steps) -> float:
        """`F(k)`; `None` for the limit.

        Raises
        ------
        InvalidInput
            For negative `steps`.
        """
        if steps is not None and steps < 0:
            raise InvalidInput(f"steps is {steps}; 0 or more, or None, is allowed")
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
        return sorted(k for phase in range(self._stride) for k in _Slope(self, phase).minima(last) if k < last)


class _Slope:
    """`D(k) = F(k + stride) − F(k)` at `k = phase, phase + stride, …`: sums of exponentials with positive bases."""

    def __init__(self, curve: PretrainingCurve, phase: int) -> None:
        xp = namespace(curve.start)
        self.stride, self.phase = curve._stride, phase
        x = curve.lr * curve.spectrum.values
        # |1 − x| = 1 − min(x, 2 − x), and 2 − x is exact for x in [1, 2].
        near = xp.where(x > 1, 2 - x, x)
        self.at_once = near >= 1
        self.log_base = xp.log1p(-xp.where(self.at_once, xp.zeros_like(near), near))
        self.leaves = x if self.stride == 1 else x * (2 - x)  # 1 − q^stride, without cancellation
        signs = xp.where((x > 1) & (phase == 1), -xp.ones_like(x), xp.ones_like(x))
        modes = signs[:, None] * xp.reshape(curve.modes, (curve.modes.shape[0], -1))
        end = xp.reshape(curve._left(None), (1, -1))
        if modes.shape[1] > modes.shape[0] + 1:
            # Only inner products matter, and those of n + 1 vectors need n + 1 coordinates.
            triangle = xp.linalg.qr(xp.concat([end, modes]).T)[1].T
            end, modes = triangle[:1, :], triangle[1:, :]
        self.end, self.modes, self.sizes = end, modes, curve._sizes
        self.rounding = curve._rounding
        self.known: dict[int, tuple[float, float, float, float, float]] = {}

    def minima(self, last: int) -> list[int]:
        """Steps where `D` goes from negative to positive, `D` evaluated at most at `last − 1`."""
        end = last - 1 - (last - 1 - self.phase) % self.stride
        if end < self.phase:
            return []
        # Before the first odd step nothing can have risen.
        found, fallen = [], self.phase - self.stride if self.phase else None
        for k in self._searched(end):
            sign = self._sign(k)
            if sign < 0:
                fallen = k
            elif sign > 0 and fallen is not None:
                found.append(self._first_not_falling(fallen, k))
                fallen = None
        return found

    def _searched(self, end: int) -> list[int]:
        """Steps from the phase to `end` between which, taken in turn, no change of sign is left to find."""
        grid, width = [self.phase], self.stride
        while grid[-1] < end:
            grid.append(min(end, self.phase + width))
            width *= 2
        points, cells = set(grid), list(pairwise(grid))
        self._evaluate(points)
        while cells := [cell for cell in cells if self._open(*cell)]:
            halves = [(a, a + (b - a) // (2 * self.stride) * self.stride, b) for a, b in cells]
            self._evaluate(middle for _, middle, _ in halves)
            points.update(middle for _, middle, _ in halves)
            cells = [half for a, middle, b in halves for half in ((a, middle), (middle, b))]
        return sorted(points)

    def _open(self, a: int, b: int) -> bool:
        """Whether the interval is to be divided."""
        if b - a <= self.stride:
            return False
        if self._sign(a) * self._sign(b) < 0:
            return True
        if b - a <= a * _FINEST:
            return False
        slope, step, both, step_terms, both_terms = self.known[a]
        later_slope, later_step, later_both, later_step_terms, later_both_terms = self.known[b]
        # D = −s·M; s and M differ within the interval from their values at its ends by at most what their terms lose over it.
        step_lost, both_lost = step_terms - later_step_terms, both_terms - later_both_terms
        from_a = step * both_lost + both * step_lost + step_lost * both_lost
        from_b = later_step * both_lost + later_both * step_lost + step_lost * both_lost
        floor = self.rounding * step_terms
        one_sign = abs(slope) > from_a + floor or abs(later_slope) > from_b + floor
        flat = abs(slope) + from_a <= floor
        return not (one_sign or flat)

    def _first_not_falling(self, falling: int, rising: int) -> int:
        while rising - falling > self.stride:
            middle = falling + (rising - falling) // (2 * self.stride) * self.stride
            self._evaluate([middle])
            if self._sign(middle) < 0:
                falling = middle
            else:
                rising = middle
        return rising

    def _sign(self, k: int) -> int:
        """Of `D(k)`; 0 within rounding."""
        slope, floor = self.known[k][0], self.rounding * self.known[k][3]
        return 0 if abs(slope) <= floor else 1 if slope > 0 else -1

    def _evaluate(self, steps: Iterable[int]) -> None:
        """`D`, `‖s‖`, `‖M‖` and the sizes of their decaying terms added up; `s = L(k) − L(k + stride)`, `M = L(k) + L(k + stride)`."""
        wanted = sorted(set(steps) - self.known.keys())
        xp, device = namespace(self.modes), compat.device(self.modes)
        for low in range(0, len(wanted), _BATCH):
            batch = wanted[low : low + _BATCH]
            k = xp.asarray([float(step) for step in batch], dtype=self.modes.dtype, device=device)[:, None]
            left = xp.exp(k * self.log_base[None, :])
            left = xp.where(self.at_once[None, :] & (k > 0), xp.zeros_like(left), left)
            step, both = left * self.leaves, left * (2 - self.leaves)
            s, m = step @ self.modes, 2 * self.end + both @ self.modes
            rows = (
                -xp.sum(s * m, axis=1),
                xp.sqrt(xp.sum(s * s, axis=1)),
                xp.sqrt(xp.sum(m * m, axis=1)),
                step @ self.sizes,
                both @ self.sizes,
            )
            self.known.update(zip(batch, zip(*(to_numpy(row).tolist() for row in rows), strict=True), strict=True))


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
    if not variance >= 0:
        raise InvalidInput(f"variance is {variance}; 0 or more is allowed")
    if steps is not None and steps < 0:
        raise InvalidInput(f"steps is {steps}; 0 or more, or None, is allowed")
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


def _check_last(last: int) -> None:
    if last < 1:
        raise InvalidInput(f"last is {last}; at least 1 is allowed")
