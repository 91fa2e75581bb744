"""What a sample of runs says: means with standard errors, z-scores, exponents."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
        """`(mean − reference)/standard_error`; 0 or ±inf without spread."""
        gap = self.mean - reference
        if self.standard_error > 0:
            return gap / self.standard_error
        return math.copysign(math.inf, gap) if gap else 0.0


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and standard error of at least two values; `InvalidInput` for fewer."""
    if len(values) < 2:
        raise InvalidInput(f"{len(values)} runs were given; at least 2 are needed for a standard error")
    x = np.asarray(values, dtype=float)
    return Estimate(float(x.mean()), float(x.std(ddof=1) / math.sqrt(len(x))), len(x))


def root_mean_square(values: Sequence[float]) -> Estimate:
    """Root mean square of at least two values, its standard error by the jackknife; `InvalidInput` for fewer.

    Source: Efron 1982, the jackknife of a smooth function of means.
    """
    if len(values) < 2:
        raise InvalidInput(f"{len(values)} runs were given; at least 2 are needed for a standard error")
    squares = np.asarray(values, dtype=float) ** 2
    n = len(squares)
    leave_one_out = np.sqrt((squares.sum() - squares) / (n - 1))
    spread = math.sqrt((n - 1) / n * float(((leave_one_out - leave_one_out.mean()) ** 2).sum()))
    return Estimate(math.sqrt(float(squares.mean())), spread, n)


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
    """

    slope: float
    standard_error: float
    prefactor: float
    chi_square_per_dof: float

    def z(self, reference: float) -> float:
        """`(slope − reference)/standard_error`."""
        return (self.slope - reference) / self.standard_error


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
    return Exponent(slope, math.sqrt(max(1.0, chi_square) / spread), math.exp(level - slope * centre), chi_square)
