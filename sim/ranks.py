"""Does one quantity order things as another does: rank correlation, and how sure it is over independent draws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sim.rng import generator
from theory.errors import InvalidInput

RESAMPLES = 2000
"""Bootstrap samples behind an interval."""


@dataclass(frozen=True)
class Interval:
    """A value over `n` independent draws with a 95 % percentile bootstrap interval; draws are what is resampled."""

    value: float
    low: float
    high: float
    n: int


def rank_correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Spearman's rank correlation; tied values share their mean rank.

    Raises
    ------
    InvalidInput
        For fewer than three pairs, unequal lengths, or a sequence that is constant or not finite.
    """
    x, y = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 3:
        raise InvalidInput(f"sequences of shapes {x.shape} and {y.shape} were given; two of equal length, at least 3, are allowed")
    for values in (x, y):
        if not np.isfinite(values).all() or (values == values[0]).all():
            raise InvalidInput(f"a sequence from {values.min()} to {values.max()} was given; finite values that differ are allowed")
    p, q = _ranks(x), _ranks(y)
    p, q = p - p.mean(), q - q.mean()
    return float(p @ q / np.sqrt((p @ p) * (q @ q)))


def _ranks(x: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def over_draws(statistic: Callable[[np.ndarray], float], draws: int, purpose: str) -> Interval:
    """`statistic` of the draws' indices, with its bootstrap interval.

    Parameters
    ----------
    statistic : function of an array of indices of draws, repetitions allowed
    draws : int ≥ 2
    purpose : str
        Names the random stream, so that the interval is the same in every run.
    """
    if draws < 2:
        raise InvalidInput(f"{draws} draws were given; at least 2 are needed for an interval")
    value = statistic(np.arange(draws))
    resampled = generator(f"bootstrap {purpose}").integers(draws, size=(RESAMPLES, draws))
    low, high = np.quantile([statistic(chosen) for chosen in resampled], [0.025, 0.975])
    return Interval(value, float(low), float(high), draws)
