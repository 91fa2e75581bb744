"""Functions of a Gram matrix: what gradient descent, or gradient flow, makes of it.

Every closed form of the kernel regime is built from two of them, the residual filter `q` and the integral
filter `φ`. Written as `φ`, not as an inverse, the results hold for singular Gram matrices as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import array_api_compat as compat

from theory.arrays import Array, namespace, rows_times, scalar
from theory.errors import InvalidInput, UnstableStep

Steps = int | None
"""A number of gradient steps; `None` means the limit, training to the end."""


@dataclass(frozen=True)
class GramSpectrum:
    """Eigendecomposition `H = V diag(λ) Vᵀ` of a symmetric positive semi-definite matrix.

    Attributes
    ----------
    values : (n,) array
        Ascending, with eigenvalues below `cutoff` in magnitude set to zero.
    vectors : (n, n) array
        Columns are eigenvectors.
    cutoff : float
        `n · eps · λ_max`, the rounding error of the decomposition; what lies below it counts as zero.
    """

    values: Array
    vectors: Array
    cutoff: float

    @classmethod
    def of(cls, H: Array) -> GramSpectrum:
        """Decompose `H`.

        Raises
        ------
        InvalidInput
            If `H` is not square, not symmetric, or has an eigenvalue negative beyond rounding.
        """
        xp = namespace(H)
        if H.ndim != 2 or H.shape[0] != H.shape[1] or H.shape[0] == 0:
            raise InvalidInput(f"a Gram matrix of shape {tuple(H.shape)} was given; a square one with n ≥ 1 is allowed")
        if not bool(xp.all(xp.isfinite(H))):
            raise InvalidInput("the Gram matrix holds NaN or infinity; finite numbers are allowed")
        eps = float(xp.finfo(H.dtype).eps)
        size = scalar(xp.max(xp.abs(H)))
        skew = scalar(xp.max(xp.abs(H - H.T)))
        # sqrt(eps): far above what two ways to compute one entry differ by, far below a true asymmetry.
        if skew > eps**0.5 * size:
            raise InvalidInput(f"the Gram matrix is not symmetric: |H − Hᵀ| reaches {skew:.3g} with entries up to {size:.3g}")
        values, vectors = xp.linalg.eigh((H + H.T) / 2)
        largest = max(scalar(xp.max(values)), 0.0)
        smallest = scalar(xp.min(values))
        cutoff = H.shape[0] * eps * max(largest, size)
        if smallest < -(eps**0.5) * max(largest, size):
            raise InvalidInput(
                f"the Gram matrix is indefinite: λ_min = {smallest:.3g} with λ_max = {largest:.3g}; positive semi-definite is allowed"
            )
        return cls(xp.where(values > cutoff, values, xp.zeros_like(values)), vectors, cutoff)

    @property
    def size(self) -> int:
        """Number of rows `n`."""
        return int(self.values.shape[0])

    @property
    def rank(self) -> int:
        """Number of eigenvalues above the cutoff."""
        xp = namespace(self.values)
        return int(scalar(xp.sum(xp.astype(self.values > 0, xp.int64))))

    @property
    def largest(self) -> float:
        """`λ_max`."""
        return scalar(self.values[-1])

    @property
    def smallest(self) -> float:
        """`λ_min`; zero when the matrix is numerically singular."""
        return scalar(self.values[0])

    def project(self, y: Array) -> Array:
        """Coefficients `Vᵀ y` of `y` ((n,) or (n, c)) in the eigenbasis."""
        return self.vectors.T @ y

    def apply(self, filter_values: Array, y: Array) -> Array:
        """`V diag(g) Vᵀ y` for filter values `g` ((n,)) and `y` ((n,) or (n, c))."""
        return self.vectors @ rows_times(filter_values, self.project(y))

    def check_step(self, lr: float, steps: Steps, name: str, allow_unstable: bool | None = None) -> bool:
        """Whether step size `lr` is stable, `lr ≤ 2/λ_max`; `allow_unstable=None` where the caller has no such option.

        Raises
        ------
        UnstableStep
            If it is not and that was not allowed, or if a limit is asked for that does not exist.
        """
        if self.largest == 0:
            return True
        bound = 2 / self.largest
        eps = float(namespace(self.values).finfo(self.values.dtype).eps)
        stable = lr <= bound * (1 + 4 * eps)
        if not stable and not allow_unstable:
            hint = "" if allow_unstable is None else " (allow_unstable=True runs it all the same)"
            raise UnstableStep(f"{name} = {lr:.6g} diverges; at most 2/λ_max = {bound:.6g} is allowed{hint}")
        # Another decomposition of the same matrix may have a λ_max some ulps away: 2/λ_max is refused by all.
        if steps is None and lr >= bound * (1 - 64 * eps):
            raise UnstableStep(
                f"{name} = {lr:.6g} has no limit to train to; below 2/λ_max = {bound:.6g} is allowed, or a finite number of steps"
            )
        return stable

    def check_growth(self, lr: float, steps: Steps, name: str) -> None:
        """Refuse an unstable run that leaves the floating-point range: what it gives would be no number.

        Raises
        ------
        UnstableStep
            If `(ηλ_max − 1)^k` squared, with room for labels and sums, overflows.
        """
        growth = lr * self.largest - 1
        room = math.log(float(namespace(self.values).finfo(self.values.dtype).max)) / 2 - 20
        if steps is not None and growth > 1 and steps * math.log(growth) > room:
            raise UnstableStep(
                f"{name} = {lr:.6g} overflows {self.values.dtype} within {steps} steps; "
                f"at most 2/λ_max = {2 / self.largest:.6g}, or fewer steps, is allowed"
            )


def residual_filter(values: Array, lr: float, steps: Steps) -> Array:
    """`q_k(λ) = (1 − ηλ)^k`: the share of an error component that `k` steps leave.

    `steps=None` gives the limit: 1 where `λ = 0`, else 0.

    Source: the recursion `r(k+1) = (I − ηH) r(k)`.
    """
    xp = namespace(values)
    if steps is None:
        return xp.where(values > 0, xp.zeros_like(values), xp.ones_like(values))
    x = lr * values
    small = x < 0.5
    # log1p for small ηλ keeps all digits of a mode that has hardly begun to move.
    slow = xp.exp(steps * xp.log1p(-xp.where(small, x, xp.zeros_like(x))))
    return xp.where(small, slow, _power(1 - x, steps))


def integral_filter(values: Array, lr: float, steps: Steps) -> Array:
    """`φ_k(λ) = η Σ_{j<k} (1 − ηλ)^j = (1 − (1 − ηλ)^k)/λ`, with `φ_k(0) = ηk`.

    `steps=None` gives the limit, the pseudo-inverse: `1/λ`, and 0 where `λ = 0`. (There `ηk` grows without
    bound, but what it multiplies, a row of the kernel, has no component along that eigenvector.)

    Source: the sum of the geometric series.
    """
    xp = namespace(values)
    positive = values > 0
    divisor = xp.where(positive, values, xp.ones_like(values))
    if steps is None:
        return xp.where(positive, 1 / divisor, xp.zeros_like(values))
    x = lr * values
    small = x < 0.5
    slow = -xp.expm1(steps * xp.log1p(-xp.where(small, x, xp.zeros_like(x))))
    moved = xp.where(small, slow, 1 - _power(1 - x, steps))
    return xp.where(positive, moved / divisor, lr * steps * xp.ones_like(values))


def flow_residual_filter(values: Array, time: float) -> Array:
    """`q(t, λ) = exp(−tλ)`: gradient flow in place of `k` steps, `t = ηk`."""
    xp = namespace(values)
    return xp.exp(-time * values)


def flow_integral_filter(values: Array, time: float) -> Array:
    """`φ(t, λ) = (1 − exp(−tλ))/λ`, with `φ(t, 0) = t`."""
    xp = namespace(values)
    positive = values > 0
    divisor = xp.where(positive, values, xp.ones_like(values))
    return xp.where(positive, -xp.expm1(-time * values) / divisor, time * xp.ones_like(values))


def _power(base: Array, exponent: int) -> Array:
    """`base ** exponent` of a possibly negative base and a whole exponent."""
    xp = namespace(base)
    magnitude = xp.pow(xp.abs(base), xp.asarray(float(exponent), dtype=base.dtype, device=compat.device(base)))
    return magnitude if exponent % 2 == 0 else xp.where(base < 0, -magnitude, magnitude)
