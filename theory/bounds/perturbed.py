"""Gradient descent whose kernel is only near `H`: how far it may be from descent on `H` itself.

A finite net's residual obeys `r(k+1) = (I − ηH − ηE_k) r(k)`, where `H + E_k = Z̃_k Z_kᵀ`: gradients `Z_k` at step `k`, and slopes
`Z̃_k` of the outputs along the step. If `‖E_k r(k)‖ ≤ ε‖r(k)‖` at every step, all below follows, with no randomness and no width in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from theory.arrays import Array, to_numpy
from theory.errors import InvalidInput
from theory.numeric import stages
from theory.numeric.spectrum import GramSpectrum, Steps
from theory.problem import whole

# Steps are taken one by one up to here; then in blocks that grow by a twentieth, over which the slowest mode stands for all.
_SINGLY = 1024
_GROWTH = 1.05
# A residual below this share of its start is left to the geometric tail.
_NEGLIGIBLE = 1e-9
_MOST_BLOCKS = 4000
_OVERFLOW = 700.0
_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, kw_only=True)
class PerturbedStage:
    """One stage of training on a kernel near `H`.

    Attributes
    ----------
    residual : float
        `‖r(k) − q(k)y‖` is at most this.
    path : float
        `η Σ_j ‖r(j)‖` is at most this: what moves each neuron.
    coefficients : float
        `‖g − φ_k y‖_H` is at most this, `g = η Σ_j r(j)` and `‖v‖²_H = vᵀHv`: what it adds to outputs elsewhere is this times a norm.
    ideal : float
        Displacement on `H` itself.
    shortest, longest : float
        The displacement lies between them.
    """

    residual: float
    path: float
    coefficients: float
    ideal: float
    shortest: float
    longest: float


def perturbed_stage(
    spectrum: GramSpectrum,
    y: Array,
    lr: float,
    steps: Steps,
    *,
    kernel_error: float,
    moments_error: float | None = None,
    start_error: float = 0.0,
) -> PerturbedStage:
    """What descent on a kernel within `ε` of `H` may differ in from descent on `H`, after `k` steps.

    `d_{j+1} = (c + ηε) d_j + ηε‖q(j)y‖`, `d_0 = τ`, with `c = max|1 − ηλᵢ|`, bounds the residual's deviation. With
    `S = η Σ (‖q(j)y‖ + d_j)`, `σ = η Σ d_j` and `v = τ + d_k + εS`, the coefficients' deviation squared is at most the least of
    `λ_max σ²`, `σv` and `v²/λ_min`. The displacement squared differs from `gᵀHg` by at most `ε'S²`.

    Parameters
    ----------
    spectrum : GramSpectrum of `H`
    y : (n,) or (n, c) array
        The residual that training on `H` starts from.
    lr : float
        `0 < η < 2/λ_max`.
    steps : int or None
    kernel_error : float ≥ 0
        `ε`: `‖(Z̃_jZ_jᵀ − H) r(j)‖ ≤ ε‖r(j)‖` at every step.
    moments_error : float ≥ 0, optional
        `ε'`: `‖Z_jZ_lᵀ − H‖ ≤ ε'` for any two steps; `ε` by default.
    start_error : float ≥ 0
        `τ`: how far `r(0)` may be from `y`.

    Returns
    -------
    PerturbedStage
        With infinite entries where nothing is promised.

    Raises
    ------
    InvalidInput
        For values out of range; and for `steps=None` unless `c + ηε < 1`, as then no end is promised.

    Source: the recursion, by the triangle inequality; compare Arora et al. 2019 (arXiv 1901.08584), section 4, where it has `O(·)`.
    """
    return Decay(spectrum, y, lr, steps).perturbed(kernel_error, moments_error, start_error)


def longest_path(smallest: float, kernel_error: float, start_error: float, size: float) -> float:
    """`(τ + ‖y‖)/(λ_min − ε)`: what `η Σ_j ‖r(j)‖` is at most for `η ≤ 1/λ_max`, however many steps.

    With `neuron_movement` the textbook bound on how far a neuron moves, `‖X‖ ‖y‖/(√m λ)`; `PerturbedStage.path`, which looks at every mode,
    is never longer.

    Parameters
    ----------
    smallest : float
        `λ_min`.
    kernel_error, start_error : float
        `ε`, `τ`.
    size : float
        `‖y‖`.

    Raises
    ------
    InvalidInput
        Unless `ε < λ_min`.

    Source: Du et al. 2018 (arXiv 1810.02054), lemma 3.3.
    """
    if not 0 <= kernel_error < smallest:
        raise InvalidInput(f"the kernel error is {kernel_error!r}; a number ≥ 0 below λ_min = {smallest:.6g} is allowed")
    return (start_error + size) / (smallest - kernel_error)


class Decay:
    """How the residual dies out on `H`: what `perturbed_stage` needs, whatever the error.

    Parameters
    ----------
    spectrum, y, lr, steps
        As there.
    """

    def __init__(self, spectrum: GramSpectrum, y: Array, lr: float, steps: Steps) -> None:
        if not 0 < lr < math.inf:
            raise InvalidInput(f"lr is {lr!r}; a finite number above 0 is allowed")
        steps = None if steps is None else whole(steps, "steps")
        spectrum.check_step(lr, steps, "lr")
        self.lr, self.steps = lr, steps
        self.largest, self.smallest = spectrum.largest, spectrum.smallest
        self.ideal = stages.displacement(spectrum, y, lr, steps)
        energy = to_numpy(stages.mode_energy(spectrum, y)).astype(np.float64)
        learnt = lr * to_numpy(spectrum.values).astype(np.float64)
        shrink = np.abs(1 - learnt)
        # 1 − |1 − ηλ| from ηλ itself: 1 − ηλ has lost it where a mode hardly moves.
        self.contraction, self.size = _Factor(float(shrink.max()), float(np.minimum(learnt, 2 - learnt).min())), math.sqrt(energy.sum())
        starts = _blocks(steps)
        with np.errstate(divide="ignore"):
            logs = 2 * np.where(learnt < 0.5, np.log1p(-learnt.clip(max=0.5)), np.log(shrink))
        # 0 · log 0 is the power 0^0 = 1.
        powers = np.exp(np.where(starts[:, None] == 0, 0.0, starts[:, None].clip(1) * logs[None, :]))
        sizes = np.sqrt(powers @ energy)
        if steps is None:
            # What comes after is left to the tail; its first block is still needed.
            kept = max(1, int(np.count_nonzero(sizes > _NEGLIGIBLE * self.size)) + 1)
            starts, sizes = starts[:kept], sizes[:kept]
        self.lengths = [int(b - a) for a, b in pairwise(starts.tolist())]
        self.sizes = sizes.tolist()

    def perturbed(self, kernel_error: float, moments_error: float | None = None, start_error: float = 0.0) -> PerturbedStage:
        """As `perturbed_stage`."""
        moments_error = kernel_error if moments_error is None else moments_error
        for name, value in (("kernel_error", kernel_error), ("moments_error", moments_error), ("start_error", start_error)):
            if not value >= 0:
                raise InvalidInput(f"{name} is {value!r}; a number ≥ 0 is allowed")
        final, path, shift = self._envelope(kernel_error, start_error)
        left_over = start_error + final + times(kernel_error, path)
        squares = [times(self.largest, shift * shift), times(shift, left_over)]
        if self.smallest > 0:
            squares.append(left_over * left_over / self.smallest)
        coefficients = math.sqrt(min(squares))
        spread = times(moments_error, path * path)
        nearest, farthest = max(0.0, self.ideal - coefficients), self.ideal + coefficients
        return PerturbedStage(
            residual=final,
            path=path,
            coefficients=coefficients,
            ideal=self.ideal,
            shortest=math.sqrt(max(0.0, nearest * nearest - spread)),
            longest=math.sqrt(farthest * farthest + spread),
        )

    def _envelope(self, eps: float, d: float) -> tuple[float, float, float]:
        """`d_k`, `S` and `σ`; over a block, `‖q(a + i)y‖ ≤ c^i ‖q(a)y‖` bounds what lies between two evaluations."""
        c, lr, gain = self.contraction, self.lr, self.lr * eps
        x = c.plus(gain)
        if self.steps is None and not x.missing > 0:
            raise InvalidInput(
                f"the kernel error is {eps:.3g}; training to the end is covered for errors below {c.missing / lr:.3g}, "
                "or for a number of steps"
            )
        path = shift = 0.0
        for length, rho in zip(self.lengths, self.sizes, strict=False):
            both = times(d + rho, x.sum(length))
            path += lr * both
            # For one step the difference is d itself. For more it is the lesser of two that exceed it: the difference of the sums, with
            # their rounding on top, and, for errors below that, x^i − c^i ≤ ηε i x^(i−1).
            apart = both - times(rho, c.sum(length)) + 4 * _EPS * both if math.isfinite(both) else math.inf
            slope = times(d + times(gain * (length - 1), rho), x.sum(length))
            shift += lr * (d if length == 1 else min(max(0.0, apart), slope))
            d = _advanced(d, rho, c, gain, length)
        if self.steps is not None:
            return d, path, shift
        rho = self.sizes[-1]
        return 0.0, path + lr * (d + rho) / x.missing, shift + lr * (d + rho * gain / c.missing) / x.missing


def residual_deviation(contraction: float, lr: float, kernel_error: float, start_error: float, size: float, steps: int) -> float:
    """`(c + ηε)^k (τ + ‖y‖) − c^k ‖y‖`: the residual's deviation when only the size of `y` is known.

    Parameters
    ----------
    contraction : float in [0, 1]
        `c = max|1 − ηλᵢ|`.
    lr, kernel_error, start_error : float
        `η`, `ε`, `τ`.
    size : float
        `‖y‖`.
    steps : int
    """
    return _advanced(start_error, size, _Factor(contraction, 1 - contraction), lr * kernel_error, steps)


def times(a: float, b: float) -> float:
    """`ab`, and 0 where either is: no error along an unbounded path, an unknown error where nothing moved."""
    return a * b if a and b else 0.0


@dataclass(frozen=True)
class _Factor:
    """What a step leaves at most: `value ≥ 0`, and `missing = 1 − value`, each to its own digits."""

    value: float
    missing: float

    def plus(self, gain: float) -> _Factor:
        return _Factor(self.value + gain, self.missing - gain)

    def exponent(self, length: int) -> float:
        """`log value^L`."""
        if length == 0:
            return 0.0
        if abs(self.missing) < 0.5:
            return length * math.log1p(-self.missing)
        return length * math.log(self.value) if self.value else -math.inf

    def power(self, length: int) -> float:
        """`value^L`."""
        exponent = self.exponent(length)
        return math.inf if exponent > _OVERFLOW else math.exp(exponent)

    def sum(self, length: int) -> float:
        """`Σ_{i<L} value^i`."""
        if not self.missing or length == 1:
            return float(length)
        exponent = self.exponent(length)
        return math.inf if exponent > _OVERFLOW else -math.expm1(exponent) / self.missing


def _advanced(d: float, rho: float, c: _Factor, gain: float, length: int) -> float:
    """`d` after `length` steps: `x^L (d + ρ) − c^L ρ`, `x = c + ηε`, without the cancellation."""
    grown, left = c.plus(gain).power(length), c.power(length)
    # log (x/c)^L; where it is large nothing cancels.
    exponent = length * math.log1p(gain / c.value) if c.value else math.inf
    return times(grown, d) + times(left * math.expm1(exponent) if exponent < 1 else grown - left, rho)


def _blocks(steps: Steps) -> np.ndarray:
    """Where blocks start, ending in the last step."""
    last = math.inf if steps is None else steps
    starts = [float(k) for k in range(int(min(_SINGLY, last)) + 1)]
    while starts[-1] < last and len(starts) < _MOST_BLOCKS:
        starts.append(min(last, math.floor(starts[-1] * _GROWTH) + 1.0))
    return np.array(starts)
