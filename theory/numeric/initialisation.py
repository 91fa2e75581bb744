"""What the net's random initial outputs do to what fine-tuning has to learn: means and variances with their κ.

A net that does not start from zero outputs leaves `r̃ = ỹ − (u_Q − A u_P)`, `A = H_QP φ_k(H_P)`, after pretraining: the initial outputs
`u = u(0)` enter by a fixed matrix. Their covariance `κ²Σ` is exact at any width (random signs, independent neurons), so is every mean
here; variances are those of Gaussian outputs, the limit `m → ∞`, and exact with the fourth moment of one neuron added.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral, Real

from theory.arrays import Array, as_float, namespace, scalar
from theory.errors import InvalidInput
from theory.numeric.kernels.closed import LeakyReLU
from theory.numeric.kernels.composed import Kernel

_RELU = Kernel(activation=LeakyReLU(0.0))


@dataclass(frozen=True)
class Moments:
    """Mean and variance of a random quantity."""

    mean: float
    variance: float

    @property
    def standard_deviation(self) -> float:
        """Root of the variance."""
        return math.sqrt(self.variance)


def output_kernel(X: Array, Z: Array | None = None) -> Array:
    """Covariance of the initial outputs at `κ = 1`: `Σ(x, z) = E[σ(w·x) σ(w·z)] = ‖x‖‖z‖ (sin θ + (π − θ) cos θ)/(2π)`.

    Exact at any width for random signs and independent neurons; `κ²Σ` for `w ~ N(0, κ²I)`.

    Parameters
    ----------
    X, Z : (n, d), (n', d) arrays
        Rows of any norm; `Z` is `X` when absent.

    Returns
    -------
    (n, n') array of the same library, dtype and device: `H(x, z) + ‖x‖‖z‖ sin θ/(2π)`.

    Raises
    ------
    InvalidInput
        As `relu_gram`.

    Source: Cho and Saul 2009, arc-cosine kernel of degree 1, halved.
    """
    return _RELU.dual(X, Z)


def start_covariance(source: Array, target_source: Array, target: Array, transfer: Array) -> Array:
    """Covariance at `κ = 1` of what the initial outputs leave on the target, `S = Σ_QQ − A Σ_PQ − Σ_QP Aᵀ + A Σ_PP Aᵀ`.

    Parameters
    ----------
    source, target_source, target : (n_P, n_P), (n_Q, n_P), (n_Q, n_Q) arrays
        Blocks of `output_kernel`.
    transfer : (n_Q, n_P) array
        `A = H_QP φ_k(H_P)`.

    Returns
    -------
    (n_Q, n_Q) array, symmetric.

    Raises
    ------
    InvalidInput
        For shapes that do not fit.

    Source: arXiv 1909.12031, theorem 1, its term in κ made explicit.
    """
    n_Q, n_P = tuple(transfer.shape)
    blocks = {"source": (source, (n_P, n_P)), "target_source": (target_source, (n_Q, n_P)), "target": (target, (n_Q, n_Q))}
    for name, (block, shape) in blocks.items():
        if tuple(block.shape) != shape:
            raise InvalidInput(f"the block {name} has shape {tuple(block.shape)}; {shape} is needed for a transfer of shape {(n_Q, n_P)}")
    # (Σ_QQ − AΣ_PQ) − (Σ_QP − AΣ_PP)Aᵀ: two differences, each of what A explains.
    S = (target - transfer @ target_source.T) - (target_source - transfer @ source) @ transfer.T
    return (S + S.T) / 2


def start_moments(
    remaining: Array,
    covariance: Array,
    *,
    init_scale: float = 1.0,
    weight: Array | None = None,
    width: int | None = None,
    fourth_moment: float | None = None,
) -> Moments:
    """Mean and variance of `r̃ᵀMr̃` over random starts, `r̃ = ỹ − κ v`, `cov v = S`.

    `E = ỹᵀMỹ + κ² tr MS` exactly at any width; `Var = 4κ² ỹᵀMSMỹ + 2κ⁴ tr (MS)²` for Gaussian outputs, and at width `m` more by
    `(κ⁴/m)(q − (tr MS)² − 2 tr (MS)²)`, with `q = E(zᵀMz)²` of one neuron's `z = σ(wᵀX_Q) − Aσ(wᵀX_P)`, `w ~ N(0, I)`.

    Parameters
    ----------
    remaining : (n,) or (n, c) array
        `ỹ`; columns are independent outputs.
    covariance : (n, n) array
        `S` of `start_covariance`.
    init_scale : float > 0
        `κ`.
    weight : (n, n) array, optional
        `M`: the identity by default, for the gradient energy; `H_Q` for `‖∂L/∂W‖²`; `φ_k H_Q φ_k` for the squared displacement.
    width : int, optional
        Number `m` of independent neurons; the limit by default.
    fourth_moment : float, optional
        `q`; needed with `width`, for one output.

    Raises
    ------
    InvalidInput
        For shapes that do not fit, a scale that is not positive and finite, or only one of `width` and `fourth_moment`.

    Source: arXiv 1909.12031, theorem 1, its term in κ made explicit; moments of a Gaussian quadratic form.
    """
    y = as_float(remaining, "remaining")
    y = y[:, None] if y.ndim == 1 else y
    n, c = y.shape
    for name, A in (("covariance", covariance), ("weight", weight)):
        if A is not None and tuple(A.shape) != (n, n):
            raise InvalidInput(f"{name} has shape {tuple(A.shape)}; {(n, n)} is needed for {n} target points")
    if isinstance(init_scale, bool) or not isinstance(init_scale, Real) or not 0 < init_scale < math.inf:
        raise InvalidInput(f"init_scale is {init_scale!r}; a finite number above 0 is allowed")
    xp = namespace(y)
    MS = covariance if weight is None else weight @ covariance
    My = y if weight is None else weight @ y
    trace, square = scalar(xp.sum(xp.linalg.diagonal(MS))), scalar(xp.sum(MS * MS.T))
    kappa = float(init_scale) ** 2
    mean = scalar(xp.sum(y * My)) + kappa * c * trace
    variance = 4 * kappa * scalar(xp.sum(My * (covariance @ My))) + 2 * kappa**2 * c * square
    if width is None and fourth_moment is None:
        return Moments(mean, variance)
    if width is None or fourth_moment is None or c > 1:
        given = f"width={width!r}, fourth_moment={fourth_moment!r} and {c} output(s)"
        raise InvalidInput(f"{given} were given; the variance at a finite width needs both, and one output")
    if isinstance(width, bool) or not isinstance(width, Integral) or width < 1:
        raise InvalidInput(f"width is {width!r}; a whole number ≥ 1 is allowed")
    return Moments(mean, variance + kappa**2 * (float(fourth_moment) - trace**2 - 2 * square) / int(width))
