"""By how much a net's gradient changes more than its frozen kernel's: the first-order constant, and what nets say of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sim.estimate import Estimate, jackknife
from sim.records import Cache
from sim.sweep import sweep
from sim.tasks import Task, problem_of
from theory.first_order_drift import first_order_drift
from theory.numeric.gram import relu_gram
from theory.numeric.spectrum import GramSpectrum


@dataclass(frozen=True, kw_only=True)
class ExcessTheory:
    """What the first-order excess on the target of a task depends on, for nets from scratch with `κ = 1`.

    Parameters
    ----------
    task : Task
    steps : tuple of int, ascending
        After which the change over one more step is asked for.
    rate : float
        Step size in units of `1/λ_max`.
    directions : int ≥ 8
        Random directions in each hyperplane.
    """

    task: Task
    steps: tuple[int, ...]
    rate: float
    directions: int = 256


def expected_excess(wanted: ExcessTheory) -> dict[str, list[float]]:
    """`√m` times the excess of the squared change over the frozen kernel's, relative to that, at each of `steps`; and standard errors."""
    X, y = problem_of(wanted.task).target
    lr = wanted.rate / GramSpectrum.of(relu_gram(X)).largest
    drift = first_order_drift(X, y, lr, wanted.steps[-1] + 1, directions=wanted.directions)
    at, frozen = list(wanted.steps), drift.frozen_gradient_change
    return {
        "excess": (drift.gradient_change / frozen)[at].tolist(),
        "excess_error": (drift.gradient_change_error / frozen)[at].tolist(),
    }


def expected_excesses(wanted: Sequence[ExcessTheory], cache: Cache, label: str) -> list[dict[str, Any]]:
    """`expected_excess` of each, from the cache or computed now and kept."""
    return sweep(expected_excess, wanted, cache, label, weight=lambda each: float(each.steps[-1]))


def wide_excess(widths: Sequence[int], trained: np.ndarray, frozen: np.ndarray) -> Estimate:
    """`√m` times the relative excess, as `m → ∞`.

    The excess is `c/√m + c'/m + …`: a straight line in `1/√m` through `√m` times it, its points weighted by their spread, has `c` at 0.

    Parameters
    ----------
    widths : (k,), k ≥ 2
    trained, frozen : (k, n) arrays
        Squared changes of `n` nets at each width, and of their own frozen kernels.

    Returns
    -------
    Estimate
        Its standard error by the jackknife over nets, one of every width at a time; they are all independent.
    """
    roots = np.sqrt(np.asarray(widths, dtype=np.float64))
    spread = np.std(roots[:, None] * (trained - frozen) / frozen.mean(axis=1, keepdims=True), axis=1, ddof=1)
    weights = np.diag(1 / spread)
    design = weights @ np.column_stack([np.ones_like(roots), 1 / roots])

    def at_infinity(nets: np.ndarray) -> float:
        more, less = nets.mean(axis=0)
        heights = roots * (more - less) / less
        return float(np.linalg.lstsq(design, weights @ heights, rcond=None)[0][0])

    # (nets, rungs, widths)
    found = jackknife(np.moveaxis(np.array([trained, frozen]), 2, 0), at_infinity)
    assert found is not None
    return found


def with_theory_error(found: Estimate, error: float) -> Estimate:
    """`found`, its standard error widened by that of what it is held against."""
    return Estimate(found.mean, math.hypot(found.standard_error, error), found.n)
