"""Quantities over source steps: both stages of a linear model run literally for every number of source steps."""

from __future__ import annotations

from typing import Any

import mpmath as mp

from theory.definitions.linear_model import gradient, half_square, matrix, train
from theory.formula import Case, Values

QUANTITIES = ("gradient_energy", "displacement", "test_error")
"""In the order of the values; displacement and test error are squared."""


def quantities(case: Case, start: Any) -> Values:
    """Squared residual on the target, squared distance that fine-tuning moves the weights, and squared residual on test points."""
    F_Q, Y_Q = matrix(case["target_features"]), matrix(case["target_labels"])
    tuned = train(F_Q, Y_Q, start, case["target_lr"], case["target_steps"])
    left_on_test = matrix(case["test_labels"]) - matrix(case["test_features"]) * tuned
    return [2 * half_square(Y_Q - F_Q * start), 2 * half_square(tuned - start), 2 * half_square(left_on_test)]


def pretrained(case: Case, steps: int | None) -> Any:
    """Weights after the source stage."""
    return train(matrix(case["source_features"]), matrix(case["source_labels"]), matrix(case["start"]), case["source_lr"], steps)


def trace(case: Case, count: int) -> list[Any]:
    """The case's quantity after 0, 1, …, count source steps."""
    F, Y, W = matrix(case["source_features"]), matrix(case["source_labels"]), matrix(case["start"])
    chosen, trace = QUANTITIES.index(case["quantity"]), []
    for _ in range(count + 1):
        trace.append(quantities(case, W)[chosen])
        W = W - mp.mpf(case["source_lr"]) * gradient(F, Y, W)
    return trace


def curve(case: Case) -> Values:
    """Squared residual on the target after k gradient steps of a linear model on the source, and, after gradient steps on the target
    too, the squared distance the weights moved in them and the squared residual on test points.
    """
    return quantities(case, pretrained(case, case["source_steps"]))


def initial_slope(case: Case) -> Values:
    """The same three quantities after one source step of a linear model, less those after none."""
    return [
        after - before for after, before in zip(quantities(case, pretrained(case, 1)), quantities(case, matrix(case["start"])), strict=True)
    ]


def turns(case: Case) -> Values:
    """Every source step in (0, last) at which one of these quantities, from gradient descent on a linear model at every step, is below
    the step before and not above the next; for a source step size above 1/λ_max also among the two steps before and after.
    """
    overshoots = case["source_lr"] * max(mp.eigsy(_second_moment(case), eigvals_only=True)) > 1
    reach = 2 if overshoots else 1
    F = trace(case, case["last"] + reach)
    return [k for k in range(1, case["last"]) if F[k] < min(F[max(k - reach, 0) : k]) and F[k] <= min(F[k + 1 : k + reach + 1])]


def best(case: Case) -> Values:
    """The first source step up to last at which one of these quantities, from gradient descent on a linear model at every step, is
    least; None if it is lower still when the source is trained to the end.
    """
    F = trace(case, case["last"])
    least = min(F)
    limit = quantities(case, pretrained(case, None))[QUANTITIES.index(case["quantity"])]
    return [None if limit < least else F.index(least)]


def source_noise(case: Case) -> Values:
    """The variance times the sum, over source labels that are one at one point and zero elsewhere, of the three quantities of a linear
    model trained from zero weights, all other labels zero: labels enter linearly, so this is the noise's mean share.
    """
    none = {name: [[0.0] for _ in case[name]] for name in ("target_labels", "test_labels", "start")}
    n = len(case["source_features"])
    totals = [mp.mpf(0)] * len(QUANTITIES)
    for point in range(n):
        alone = {**case, **none, "source_labels": [[float(i == point)] for i in range(n)]}
        totals = [total + share for total, share in zip(totals, curve(alone), strict=True)]
    return [mp.mpf(case["variance"]) * total for total in totals]


def _second_moment(case: Case) -> Any:
    F = matrix(case["source_features"])
    return F.T * F
