"""What a sample of runs says: means with standard errors, z-scores, exponents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from theory.errors import InvalidInput

Z_LIMIT = 4.5
"""A |z| below this is consistent. Beyond it by chance once in 150,000 tests."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` independent runs, and its standard error."""

    mean: float
    standard_error: float
    n: int

    def z(self, reference: float) -> float:
        """`(mean − reference)/standard_error`, as the normal quantile of the same tail; 0 or ±inf without spread.

        The standard error is itself measured, so the quotient follows Student's t with `n − 1` degrees of freedom; at
        n = 8 it exceeds 4.5 by chance 400 times as often as a normal variable does.
        """
        gap = self.mean - reference
        if self.standard_error == 0:
            return math.copysign(math.inf, gap) if gap else 0.0
        return normal_score(gap / self.standard_error, self.n - 1)

    @property
    def detectable(self) -> float:
        """The least true gap that `z` at its limit would reveal half of the time: the power of the test."""
        return _least_seen(self.n - 1) * self.standard_error


def _least_seen(dof: float) -> float:
    """Student's `t` at `dof` degrees of freedom that is as unlikely as a normal variable at the limit."""
    from scipy.special import ndtr, stdtrit

    return float(-stdtrit(dof, ndtr(-Z_LIMIT)))


def normal_score(t: float, dof: float) -> float:
    """The normal variable with the same tail as Student's `t` at `dof` degrees of freedom."""
    from scipy.special import ndtri_exp, stdtr

    tail = stdtr(dof, -abs(t))
    return math.copysign(-ndtri_exp(math.log(tail)) if tail > 0 else math.inf, t)


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error of at least two values; `InvalidInput` for fewer."""
    if len(values) < 2:
        raise InvalidInput(f"{len(values)} runs were given; at least 2 are needed for a standard error")
    x = np.asarray(values, dtype=float)
    return Estimate(float(x.mean()), float(x.std(ddof=1) / math.sqrt(len(x))), len(x))


def standard_deviation(values: Sequence[float]) -> Estimate:
    """Standard deviation of at least three values, its standard error by the jackknife; `InvalidInput` for fewer."""
    return bias_and_spread(np.asarray(values, dtype=float)[:, None])[1]


def bias_and_spread(vectors: np.ndarray) -> tuple[Estimate, Estimate]:
    """Length of the mean vector, and root of the total variance round it, each with a jackknife standard error.

    Parameters
    ----------
    vectors : (n, p) array, n ≥ 3
        One independent vector a row.

    Returns
    -------
    bias : Estimate
        `√U` with `U` the mean of `v_s·v_t` over pairs `s ≠ t`, which does not count the spread as bias; its mean is 0
        where `U ≤ 0`, that is where no bias is seen.
    spread : Estimate

    Raises
    ------
    InvalidInput
        For fewer than three vectors.
    """
    n = len(vectors)
    if n < 3:
        raise InvalidInput(f"{n} runs were given; at least 3 are needed to tell bias from spread")
    # Everything needed, for the sample and for each sample less one, is in the n × n inner products.
    inner = vectors @ vectors.T

    def split(total: float, squares: float, count: int) -> tuple[float, float]:
        bias_squared = (total - squares) / (count * (count - 1))
        return bias_squared, squares / count - bias_squared

    rows, squares = inner.sum(axis=1), np.diag(inner)
    bias_squared, variance = split(inner.sum(), squares.sum(), n)
    without = np.array([split(inner.sum() - 2 * rows[k] + squares[k], squares.sum() - squares[k], n - 1) for k in range(n)])
    errors = np.sqrt((n - 1) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0))

    def root(square: float, error: float) -> Estimate:
        length = math.sqrt(max(square, 0.0))
        return Estimate(length, error / (2 * length) if length > 0 else math.sqrt(error), n)

    return root(float(bias_squared), float(errors[0])), root(float(variance), float(errors[1]))


def jackknife(values: np.ndarray, statistic: Callable[[np.ndarray], float | None]) -> Estimate | None:
    """`statistic` of all rows, with its jackknife standard error; `None` where it is undefined for them, or for all but one of them.

    Parameters
    ----------
    values : (n, …) array, n ≥ 2
        One independent run a row.
    statistic : callable
        Of an array like `values`; smooth in its mean, `None` where it has no value.

    Raises
    ------
    InvalidInput
        For fewer than two rows.
    """
    n = len(values)
    if n < 2:
        raise InvalidInput(f"{n} runs were given; at least 2 are needed for a standard error")
    whole = statistic(values)
    without = [statistic(np.delete(values, i, axis=0)) for i in range(n)]
    if whole is None or None in without:
        return None
    parts = np.array(without, dtype=float)
    return Estimate(float(whole), math.sqrt((n - 1) / n * float(np.sum((parts - parts.mean()) ** 2))), n)


@dataclass(frozen=True)
class Exponent:
    """A fitted power law `value ∝ width^slope`.

    Attributes
    ----------
    slope, standard_error : float
    prefactor : float
        The fitted value at width 1.
    chi_square_per_dof : float
        Of the fit; the standard error is already widened by its root where it exceeds 1.
    dof : float
        Effective degrees of freedom of the standard error (Welch and Satterthwaite), since the points' errors are estimates.
    """

    slope: float
    standard_error: float
    prefactor: float
    chi_square_per_dof: float

    dof: float

    def z(self, reference: float) -> float:
        """`(slope − reference)/standard_error` as the normal quantile of the same tail of Student's t at `dof`."""
        return normal_score((self.slope - reference) / self.standard_error, self.dof)

    @property
    def detectable(self) -> float:
        """The least true distance of the slope that `z` at its limit would reveal half of the time: the power of the test."""
        return _least_seen(self.dof) * self.standard_error


def fit_exponent(widths: Sequence[float], values: Sequence[Estimate]) -> Exponent:
    """Weighted straight line through `(log width, log |mean|)`.

    Scatter beyond the points' own errors, a curved law among its causes, widens the standard error (Birge's ratio).

    Raises
    ------
    InvalidInput
        For fewer than four widths, or a value of zero or without spread.
    """
    if len(widths) < 4:
        raise InvalidInput(f"{len(widths)} widths were given; a rate needs at least 4")
    means = np.array([v.mean for v in values])
    errors = np.array([v.standard_error for v in values])
    if not (means != 0).all() or not (errors > 0).all():
        raise InvalidInput("a value is zero or has no spread; a power law needs non-zero values with standard errors")
    x, y, weight = np.log(np.asarray(widths, dtype=float)), np.log(np.abs(means)), (means / errors) ** 2
    centre = float(weight @ x / weight.sum())
    spread = float(weight @ (x - centre) ** 2)
    slope = float(weight @ ((x - centre) * y) / spread)
    level = float(weight @ y / weight.sum())
    chi_square = float(weight @ (y - level - slope * (x - centre)) ** 2) / (len(x) - 2)
    variances = weight * (x - centre) ** 2 / spread**2
    dof = float(variances.sum() ** 2 / (variances**2 / np.array([v.n - 1 for v in values])).sum())
    return Exponent(slope, math.sqrt(max(1.0, chi_square) / spread), math.exp(level - slope * centre), chi_square, dof)
