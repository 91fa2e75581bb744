"""Zonal kernels and teachers on the unit sphere `S^{d−1}` with its uniform probability measure: eigenvalues and energies by degree.

A function of the cosine of two points has the spherical harmonics for eigenfunctions; its eigenvalue of degree `ℓ` is
`λ_ℓ = E[k(t) P_ℓ(t)]` (Funk and Hecke), `t` the cosine of two independent points and `P_ℓ` the Legendre polynomial in dimension `d`,
`P_ℓ(1) = 1`, and has multiplicity `N_ℓ`. With `p_ℓ = √N_ℓ P_ℓ`, orthonormal, `c_ℓ = E[k p_ℓ]` gives both readings: `λ_ℓ = c_ℓ/√N_ℓ` for
a kernel `k(x·x')`, and the energy `c_ℓ²` in degree `ℓ` for a teacher `k(w·x)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from theory.errors import InvalidInput, NotConverged

Zonal = Callable[[np.ndarray], np.ndarray]
"""A function of the cosine, `[−1, 1]` to numbers, applied entry by entry."""

_COARSE, _FINE = 15, 31
# The recurrence carries √(N w), w the density of the angle; beyond this the part lost to underflow could be seen.
_LARGEST_LOG = 700.0
# Panels narrower than this hold no further double between their ends that matters.
_NARROWEST = 1e-14


def multiplicity(dimension: int, degree: int) -> int:
    """`N_ℓ = C(ℓ + d − 1, d − 1) − C(ℓ + d − 3, d − 1)`: dimension of the harmonics of degree `ℓ` in `d` variables.

    Raises
    ------
    InvalidInput
        For a dimension below 2 or a negative degree.
    """
    _check(dimension, degree)
    below = math.comb(degree + dimension - 3, dimension - 1) if degree >= 2 else 0
    return math.comb(degree + dimension - 1, dimension - 1) - below


def legendre(dimension: int, last: int, cosine: np.ndarray) -> np.ndarray:
    """`P_0 … P_last` of dimension `d` at cosines of any shape: (last + 1, …), each 1 at 1.

    Raises
    ------
    InvalidInput
        For a dimension below 2 or a negative `last`.

    Source: `(ℓ + d − 2) P_{ℓ+1} = (2ℓ + d − 2) t P_ℓ − ℓ P_{ℓ−1}`.
    """
    _check(dimension, last)
    t = np.asarray(cosine, dtype=float)
    values = np.empty((last + 1, *t.shape))
    values[0] = 1
    if last:
        values[1] = t
    for degree in range(1, last):
        ahead = (2 * degree + dimension - 2) * t * values[degree] - degree * values[degree - 1]
        values[degree + 1] = ahead / (degree + dimension - 2)
    return values


def step_eigenvalues(dimension: int, last: int) -> np.ndarray:
    """Eigenvalues `μ_0 … μ_last` of the step kernel `(π − θ)/(2π)`: `¼`, `(B(ℓ/2, d/2)/(2π))²` for odd `ℓ`, else 0.

    Raises
    ------
    InvalidInput
        For a dimension below 2 or a negative `last`.

    Source: Bach 2017, "Breaking the curse of dimensionality with convex neural networks", appendix D; `B` the beta function.
    """
    _check(dimension, last)
    values = np.zeros(last + 1)
    values[0] = 0.25
    odd = np.arange(1, last + 1, 2)
    # B(ℓ/2 + 1, d/2) = B(ℓ/2, d/2) ℓ/(ℓ + d): no logarithm of a large gamma function, which would cost digits.
    ratios = np.concatenate([[_beta_half(dimension)], odd[:-1] / (odd[:-1] + dimension)])
    values[odd] = (np.cumprod(ratios)[: odd.size] / (2 * math.pi)) ** 2
    return values


def tangent_eigenvalues(dimension: int, last: int, norm: float = 1.0) -> np.ndarray:
    """Eigenvalues `λ_0 … λ_last` of the tangent kernel `H = t (π − θ)/(2π)`; every odd degree from 3 on is 0.

    `λ_ℓ = ℓ/(2ℓ + d − 2) μ_{ℓ−1} + (ℓ + d − 2)/(2ℓ + d − 2) μ_{ℓ+1}`, `λ_0 = μ_1`; for inputs of norm `r` times `r²`. They decay like
    `ℓ^{−d}`, and `Σ N_ℓ λ_ℓ = r²/2`.

    Raises
    ------
    InvalidInput
        For a dimension below 2, a negative `last`, or a norm that is not positive and finite.

    Source: `(2ℓ + d − 2) t P_ℓ = (ℓ + d − 2) P_{ℓ+1} + ℓ P_{ℓ−1}`, applied to the step kernel.
    """
    _check(dimension, last)
    _check_norm(norm)
    mu = step_eigenvalues(dimension, last + 1)
    degree = np.arange(1, last + 1)
    values = np.empty(last + 1)
    values[0] = mu[1]
    values[1:] = (degree * mu[:last] + (degree + dimension - 2) * mu[2:]) / (2 * degree + dimension - 2)
    return norm**2 * values


def trace_beyond(dimension: int, last: int, norm: float = 1.0) -> float:
    """What of the tangent kernel's trace `Σ N_ℓ λ_ℓ = r²/2` lies in degrees above `last`: it falls like `last^{−1}`.

    Raises
    ------
    InvalidInput
        As `tangent_eigenvalues`.

    Source: `P_ℓ(1) = 1`, so that `Σ N_ℓ λ_ℓ P_ℓ(1)` is the kernel at equal inputs (Mercer).
    """
    _check_norm(norm)
    values = tangent_eigenvalues(dimension, last)
    counts = [float(multiplicity(dimension, degree)) for degree in range(last + 1)]
    return norm**2 * max(0.5 - math.fsum(n * v for n, v in zip(counts, values.tolist(), strict=True)), 0.0)


def sign_floor(dimension: int) -> float:
    """The floor of a sign teacher `sgn(w·x)`, uniform inputs: `1 − d (E|t|)²`, all of its odd degrees from 3 on; ¼ for `d = 3`.

    It rises with the dimension, from `1 − 8/π²` on the circle to `1 − 2/π`.

    Raises
    ------
    InvalidInput
        For a dimension below 2.
    """
    _check(dimension, 1)
    # E|t| = 2/((d − 1) B(½, (d − 1)/2)).
    return 1 - dimension * (2 / ((dimension - 1) * _beta_half(dimension - 1))) ** 2


def relu_eigenvalues(dimension: int, last: int, norm: float = 1.0) -> np.ndarray:
    """Eigenvalues of the ReLU dual `E σ(w·x) σ(w·x') = (sin θ + (π − θ) cos θ)/(2π)`, `w ~ N(0, I)`; every odd degree from 3 on is 0.

    `d μ_{ℓ−1}/(ℓ + d − 1)²` for even `ℓ ≥ 2`, `d μ_1` for `ℓ = 0` and `1/(4d)` for `ℓ = 1`; for inputs of norm `r` times `r²`.

    Raises
    ------
    InvalidInput
        As `tangent_eigenvalues`.

    Source: Bach 2017, appendix D; the arc-cosine kernel of degree 1 is `d` times the square of the ReLU's own expansion.
    """
    _check(dimension, last)
    _check_norm(norm)
    mu = step_eigenvalues(dimension, max(last, 1))
    values = np.zeros(last + 1)
    values[0] = dimension * mu[1]
    values[1:2] = 1 / (4 * dimension)
    even = np.arange(2, last + 1, 2)
    values[even] = dimension * mu[even - 1] / (even + dimension - 1) ** 2
    return norm**2 * values


def with_constant(kernel: Zonal, norm: float, constant: float) -> Zonal:
    """The kernel between `(r x, b)` and `(r x', b)`, as a function of the cosine of `x` and `x'`: inputs with a constant coordinate `b`.

    `(r² + b²) k((r² t + b²)/(r² + b²))`, for a kernel homogeneous of degree 1 in each input. For `H` and the ReLU dual, whose odd part is
    linear, this makes every eigenvalue positive: no degree is out of reach any more.

    Parameters
    ----------
    kernel : function of the cosine, at unit norms
    norm, constant : float
        `r > 0` and `b`.

    Raises
    ------
    InvalidInput
        For a norm that is not positive and finite, or a constant that is not finite.
    """
    _check_norm(norm)
    if not math.isfinite(constant):
        raise InvalidInput(f"constant is {constant}; a finite number is allowed")
    total = norm**2 + constant**2

    def appended(cosine: np.ndarray) -> np.ndarray:
        # 1 − r²(1 − t)/total keeps the digits of cosines near 1.
        return total * kernel(1 - norm**2 * (1 - np.asarray(cosine)) / total)

    return appended


@dataclass(frozen=True, eq=False)
class ZonalExpansion:
    """A zonal function by degree.

    Attributes
    ----------
    dimension : int
        `d`.
    coefficients : (last + 1,) array
        `c_ℓ = E[k p_ℓ]`.
    error : (last + 1,) array
        Estimated error of each: the disagreement of two quadratures, and rounding.
    mean_square : float
        `E k²`: the energy of all degrees.
    """

    dimension: int
    coefficients: np.ndarray
    error: np.ndarray
    mean_square: float

    @property
    def multiplicities(self) -> np.ndarray:
        """`N_ℓ`, as floats."""
        return np.array([float(multiplicity(self.dimension, degree)) for degree in range(self.coefficients.shape[0])])

    @property
    def eigenvalues(self) -> np.ndarray:
        """`λ_ℓ = c_ℓ/√N_ℓ` of the function as a kernel."""
        return self.coefficients / np.sqrt(self.multiplicities)

    @property
    def energies(self) -> np.ndarray:
        """`‖f_ℓ‖² = c_ℓ²` of the function as a teacher of `w·x`, `‖w‖ = 1`."""
        return self.coefficients**2

    def cross_energies(self, other: ZonalExpansion, cosine: float) -> np.ndarray:
        """`⟨f_ℓ, g_ℓ⟩ = c_ℓ c'_ℓ P_ℓ(w·w')` of two teachers `k(w·x)` and `k'(w'·x)`, `cosine = w·w'`; of a degree both have.

        Raises
        ------
        InvalidInput
            For teachers in different dimensions, or a cosine outside [−1, 1].
        """
        if other.dimension != self.dimension:
            raise InvalidInput(f"the teachers live in dimensions {self.dimension} and {other.dimension}; one dimension is allowed")
        if not -1 <= cosine <= 1:
            raise InvalidInput(f"cosine is {cosine}; a number in [−1, 1] is allowed")
        both = min(self.coefficients.shape[0], other.coefficients.shape[0])
        return self.coefficients[:both] * other.coefficients[:both] * legendre(self.dimension, both - 1, np.asarray(cosine))

    @property
    def beyond(self) -> float:
        """Energy in degrees above the last."""
        return max(self.mean_square - float(np.sum(self.energies)), 0.0)


def zonal_expansion(function: Zonal, dimension: int, last: int, *, rtol: float = 1e-12, most: int = 20_000) -> ZonalExpansion:
    """Coefficients `c_0 … c_last` of a function of the cosine, by adaptive Gauss–Legendre quadrature over the angle.

    In the angle, `arccos`, `√(1 − t²)` and their like are smooth at both ends; where the function has a kink or a jump, panels are halved
    until it no longer matters. A feature that lies between the first nodes (`π/(31 · panels)` apart, at least 8 panels, and 1 for every
    8 degrees) is not seen.

    Parameters
    ----------
    function : function of an array of cosines
        Kernel or teacher; need not be smooth, must be square integrable.
    dimension : int ≥ 2
    last : int ≥ 0
        The highest degree.
    rtol : float
        Wanted error of every coefficient, relative to `√(E k²)`.
    most : int
        Panels to use at most.

    Raises
    ------
    InvalidInput
        For values out of range, a function whose values are not finite numbers of the right shape, or degrees too high for the dimension
        (`log N_ℓ > 700`).
    NotConverged
        If `most` panels do not bring the error down to `rtol`.

    Source: Funk 1916; Hecke 1918; the recurrence of orthonormal Gegenbauer polynomials, which neither overflows nor cancels.
    """
    _check(dimension, last)
    if not 0 < rtol < 1 or most < 8:
        raise InvalidInput(f"rtol is {rtol} and most {most}; 0 < rtol < 1 and most ≥ 8 are allowed")
    log_multiplicity = math.log(multiplicity(dimension, last))
    if log_multiplicity > _LARGEST_LOG:
        raise InvalidInput(
            f"degree {last} in dimension {dimension} has multiplicity e^{log_multiplicity:.0f}; at most e^{_LARGEST_LOG:.0f} is allowed"
        )
    edges = np.linspace(0, math.pi, 2 * max(4, -(-last // 16)) + 1)
    left, right = edges[:-1], edges[1:]
    total, error, square, used = np.zeros(last + 1), np.zeros(last + 1), 0.0, 0
    while left.size:
        used += left.size
        fine, fine_square = _panels(function, dimension, last, left, right, _FINE)
        coarse, _ = _panels(function, dimension, last, left, right, _COARSE)
        missed, width = np.abs(fine - coarse), right - left
        norm = math.sqrt(square + float(fine_square.sum()))
        # Each panel may miss its share, by width; one too narrow to be halved is taken as it is.
        done = (missed.max(axis=1) <= rtol * norm * width / (2 * math.pi)) | (width <= _NARROWEST)
        if used + 2 * int(np.sum(~done)) > most:
            left_over = float(np.max(error + missed.sum(axis=0)))
            raise NotConverged(
                f"after {used} panels of {most} the error is about {left_over:.3g}, and {rtol * norm:.3g} is wanted; raise most or rtol"
            )
        total += fine[done].sum(axis=0)
        error += missed[done].sum(axis=0)
        square += float(fine_square[done].sum())
        middle = (left[~done] + right[~done]) / 2
        left, right = np.concatenate([left[~done], middle]), np.concatenate([middle, right[~done]])
    norm = math.sqrt(square)
    if float(error.max()) > rtol * norm:
        raise NotConverged(f"the error is about {float(error.max()):.3g}, and {rtol * norm:.3g} is wanted; raise rtol")
    # The recurrence rounds at each degree, the density at each factor of its power.
    return ZonalExpansion(dimension, total, error + np.finfo(float).eps * (last + dimension + 16) * norm, square)


def _panels(function: Zonal, dimension: int, last: int, left: np.ndarray, right: np.ndarray, nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Integrals of `k p_ℓ` and of `k²` over each panel of angles: (panels, last + 1) and (panels,)."""
    x, weight = np.polynomial.legendre.leggauss(nodes)
    half = (right - left) / 2
    angle = ((right + left) / 2)[:, None] + half[:, None] * x[None, :]
    t = np.cos(angle)
    values = np.asarray(function(t), dtype=float)
    if values.shape != t.shape:
        raise InvalidInput(f"the function gives shape {values.shape} for cosines of shape {t.shape}; the same shape is needed")
    if not np.all(np.isfinite(values)):
        bad = float(t[~np.isfinite(values)][0])
        raise InvalidInput(f"the function is not finite at the cosine {bad!r}; finite numbers are allowed")
    # Density of the angle, its root taken into the polynomial.
    root = np.exp((dimension - 2) / 2 * np.log(np.sin(angle))) / math.sqrt(_beta_half(dimension - 1))
    weighted = half[:, None] * weight[None, :] * root * values
    sums = np.empty((left.shape[0], last + 1))
    before, here, link_before = np.zeros_like(t), root, 0.0
    for degree in range(last + 1):
        sums[:, degree] = np.sum(weighted * here, axis=1)
        link = _link(dimension, degree)
        before, here, link_before = here, (t * here - link_before * before) / link, link
    return sums, np.sum(weighted * root * values, axis=1)


def _beta_half(dimension: int) -> float:
    """`B(½, d/2)`, `d ≥ 1`: `π` and `2` for `d = 1, 2`, and `d/(d + 1)` times as much two dimensions on."""
    steps = np.arange(2 - dimension % 2, dimension, 2)
    return float((math.pi if dimension % 2 else 2.0) * np.prod(steps / (steps + 1)))


def _link(dimension: int, degree: int) -> float:
    """`b_ℓ` of `t p_ℓ = b_ℓ p_{ℓ+1} + b_{ℓ−1} p_{ℓ−1}`."""
    if degree == 0:
        return 1 / math.sqrt(dimension)
    return math.sqrt((degree + 1) * (degree + dimension - 2) / ((2 * degree + dimension - 2) * (2 * degree + dimension)))


def _check(dimension: int, degree: int) -> None:
    if isinstance(dimension, bool) or not isinstance(dimension, int) or dimension < 2:
        raise InvalidInput(f"dimension is {dimension!r}; a whole number of at least 2 is allowed")
    if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
        raise InvalidInput(f"degree is {degree!r}; a whole number of at least 0 is allowed")


def _check_norm(norm: float) -> None:
    if not 0 < norm < math.inf:
        raise InvalidInput(f"norm is {norm}; a positive finite number is allowed")
