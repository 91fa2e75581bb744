"""A linear model trained literally: weights, features, gradient steps. Its tangent kernel is `H = F Fᵀ`.

`W: (p, c)` weights, `F: (n, p)` features, outputs `F W`, loss `½‖F W − Y‖²`. Training "to the end" composes the gradient step, an
affine map of the weights, with itself until it stands still.
"""

from __future__ import annotations

from typing import Any

import mpmath as mp

from theory.errors import NotConverged
from theory.formula import Case, Values

Matrix = Any

# Compositions of the step with itself: 2^60 steps.
_DOUBLINGS = 60


def matrix(rows: list[list[float]]) -> Matrix:
    """Nested lists of floats as an mpmath matrix; nothing is rounded."""
    return mp.matrix(rows)


def flat(A: Matrix) -> Values:
    """Entries row by row."""
    return list(A)


def norm(A: Matrix) -> Any:
    """Frobenius norm."""
    return mp.sqrt(mp.fsum(a * a for a in A))


def half_square(A: Matrix) -> Any:
    """Half the sum of squared entries."""
    return mp.fsum(a * a for a in A) / 2


def gradient(F: Matrix, Y: Matrix, W: Matrix) -> Matrix:
    """Gradient of the loss with respect to the weights."""
    return F.T * (F * W - Y)


def train(F: Matrix, Y: Matrix, W: Matrix, lr: float, steps: int | None) -> Matrix:
    """Weights after `steps` gradient steps from `W`; `None` for the end."""
    if steps is None:
        step = mp.mpf(lr)
        return to_the_end(mp.eye(W.rows) - step * (F.T * F), step * (F.T * Y), W)
    for _ in range(steps):
        W = W - mp.mpf(lr) * gradient(F, Y, W)
    return W


def to_the_end(A: Matrix, b: Matrix, start: Matrix) -> Matrix:
    """Limit of `x ← A x + b` from `start`.

    Raises
    ------
    NotConverged
        If the map still moves after 2^60 compositions.
    """
    for _ in range(_DOUBLINGS):
        A, b, before = A * A, A * b + b, (A, b)
        moved = max(abs(v) for v in list(A - before[0]) + list(b - before[1]))
        # The error squares at every composition: what moved by 10^-40 is right to 80 digits.
        if moved < mp.mpf(10) ** (-2 * mp.mp.dps // 3):
            return A * start + b
    raise NotConverged(f"the gradient step, composed with itself {_DOUBLINGS} times, still moves by {mp.nstr(moved, 3)}")


def zeros(F: Matrix, Y: Matrix) -> Matrix:
    """Weights of a model that outputs zero."""
    return mp.zeros(F.cols, Y.cols)


def least_weights(F: Matrix, Y: Matrix) -> Matrix:
    """Weights of least norm with `F W = Y`, from the conditions of Lagrange; `F` has full row or full column rank."""
    n, p = F.rows, F.cols
    if n > p:
        return mp.inverse(F.T * F) * (F.T * Y)
    system = mp.matrix(p + n, p + n)
    for i in range(p):
        system[i, i] = 2
    for i in range(n):
        for k in range(p):
            system[p + i, k] = F[i, k]
            system[k, p + i] = F[i, k]
    right = mp.zeros(p + n, Y.cols)
    for i in range(n):
        for k in range(Y.cols):
            right[p + i, k] = Y[i, k]
    return (mp.inverse(system) * right)[0:p, :]


# One stage --------------------------------------------------------------------------------------------------------------------


def _stage(case: Case) -> tuple[Matrix, Matrix]:
    return matrix(case["features"]), matrix(case["labels"])


def trained(case: Case) -> Matrix:
    """Weights of the case after its steps, from zero."""
    F, Y = _stage(case)
    return train(F, Y, zeros(F, Y), case["lr"], case["steps"])


def residual(case: Case) -> Values:
    """Labels less outputs of a linear model with features F, F Fᵀ = H, after k gradient steps on its weights from zero."""
    F, Y = _stage(case)
    return flat(Y - F * trained(case))


def displacement(case: Case) -> Values:
    """Norm of the weights of a linear model with features F, F Fᵀ = H, after k gradient steps from zero."""
    return [norm(trained(case))]


def loss(case: Case) -> Values:
    """Half the squared residual of a linear model with features F, F Fᵀ = H, after k gradient steps on its weights from zero."""
    F, Y = _stage(case)
    return [half_square(Y - F * trained(case))]


def coefficients(case: Case) -> Values:
    """η times the sum over steps of the residuals of a linear model: the coefficient with which each point's features enter the weights."""
    F, Y = _stage(case)
    step = mp.mpf(case["lr"])
    if case["steps"] is None:
        # Weights and running sum together follow one affine map.
        p, n = F.cols, F.rows
        A, b = mp.eye(p + n), mp.zeros(p + n, Y.cols)
        A[0:p, 0:p] = mp.eye(p) - step * (F.T * F)
        A[p : p + n, 0:p] = -step * F
        b[0:p, :] = step * (F.T * Y)
        b[p : p + n, :] = step * Y
        return flat(to_the_end(A, b, mp.zeros(p + n, Y.cols))[p : p + n, :])
    W, total = zeros(F, Y), mp.zeros(Y.rows, Y.cols)
    for _ in range(case["steps"]):
        total += step * (Y - F * W)
        W = W - step * gradient(F, Y, W)
    return flat(total)


def inverse_norm_squared(case: Case) -> Values:
    """Squared norm of the shortest weights of a linear model that fit the labels, by Lagrange's conditions; None if none fit."""
    F, Y = _stage(case)
    W = least_weights(F, Y)
    if norm(F * W - Y) > mp.mpf(10) ** (-mp.mp.dps // 2) * norm(Y):
        return [None]
    return [2 * half_square(W)]


def steps_to_loss(case: Case) -> Values:
    """Gradient steps on a linear model's weights, counted until half the squared residual is at most the target; None if it never is."""
    F, Y = _stage(case)
    W = zeros(F, Y)
    for k in range(case["give_up"]):
        if half_square(Y - F * W) <= case["target_loss"]:
            return [k]
        W = W - mp.mpf(case["lr"]) * gradient(F, Y, W)
    return [None]


def acceleration(case: Case) -> Values:
    """Gradient steps on a linear model's weights, counted until half the squared residual is at most the target: for what pretraining
    leaves, and for the labels.
    """
    return [*steps_to_loss({**case, "labels": case["remaining"]}), *steps_to_loss(case)]


def stable_step(case: Case) -> Values:
    """Whether the error of a linear model is no larger after 2^60 gradient steps, taken by composing the step with itself."""
    F, Y = _stage(case)
    A = mp.eye(F.rows) - mp.mpf(case["lr"]) * (F * F.T)
    for _ in range(_DOUBLINGS):
        A = A * A
    return [bool(norm(A * Y) <= norm(Y))]


# Two stages -------------------------------------------------------------------------------------------------------------------


def two_stages(case: Case) -> tuple[Matrix, Matrix, Matrix]:
    """Weights at the start, after pretraining and after fine-tuning."""
    F_P, F_Q = matrix(case["source_features"]), matrix(case["target_features"])
    W_0 = matrix(case["start"])
    W_P = train(F_P, matrix(case["source_labels"]), W_0, case["source_lr"], case["source_steps"])
    return W_0, W_P, train(F_Q, matrix(case["target_labels"]), W_P, case["target_lr"], case["target_steps"])


def fine_tuning_residual(case: Case) -> Values:
    """Target labels less outputs of a linear model after gradient steps on the source, then on the target, from non-zero weights."""
    return flat(matrix(case["target_labels"]) - matrix(case["target_features"]) * two_stages(case)[2])


def fine_tuning_displacement(case: Case) -> Values:
    """Distance between a linear model's weights before and after the target stage, both stages run as gradient steps."""
    _, before, after = two_stages(case)
    return [norm(after - before)]


def outputs_anywhere(case: Case) -> Values:
    """Outputs of a linear model at further points after gradient steps on the source, then on the target, from non-zero weights."""
    return flat(matrix(case["test_features"]) * two_stages(case)[2])


def forgetting(case: Case) -> Values:
    """Source labels less outputs after both stages, and the rise of half its square over the target stage, from gradient steps."""
    F, Y = matrix(case["source_features"]), matrix(case["source_labels"])
    _, before, after = two_stages(case)
    return [*flat(Y - F * after), half_square(Y - F * after) - half_square(Y - F * before)]


# Least fits -------------------------------------------------------------------------------------------------------------------


def transfer_gain(case: Case) -> Values:
    """One less the ratio of the norms of the shortest weights of a linear model that fit what is left, and the target labels."""
    F = matrix(case["features"])
    return [1 - norm(least_weights(F, matrix(case["remaining"]))) / norm(least_weights(F, matrix(case["labels"])))]


def negative_transfer(case: Case) -> Values:
    """Whether the shortest weights that fit labels less transformed labels are longer than those that fit the labels; the excess of
    the squares, and the two sides' inner products taken between weights.
    """
    F = matrix(case["features"])
    to_labels, to_transformed = least_weights(F, matrix(case["labels"])), least_weights(F, matrix(case["transformed"]))
    left, scratch = 2 * half_square(to_labels - to_transformed), 2 * half_square(to_labels)
    return [left / scratch - 1, bool(left > scratch)]


def best_scale_gain(case: Case) -> Values:
    """The best over s of one less the ratio of norms of shortest weights, from a parabola through three values of s."""
    F = matrix(case["features"])
    to_labels, to_transformed = least_weights(F, matrix(case["labels"])), least_weights(F, matrix(case["transformed"]))
    at = {s: 2 * half_square(to_labels - s * to_transformed) for s in (-1, 0, 1)}
    curvature, slope = at[1] + at[-1] - 2 * at[0], (at[1] - at[-1]) / 2
    best = -slope / curvature if curvature else mp.mpf(0)
    return [1 - norm(to_labels - best * to_transformed) / norm(to_labels)]


# Along the gradient -----------------------------------------------------------------------------------------------------------


def _ahead(case: Case, lr: Any) -> tuple[Matrix, Matrix, Matrix]:
    """Features, labels, and weights one gradient step of size `lr` from zero."""
    F, Y = _stage(case)
    W = zeros(F, Y)
    return F, Y, W - mp.mpf(lr) * gradient(F, Y, W)


def loss_along_gradient(case: Case) -> Values:
    """Half the squared residual of a linear model after one gradient step of the given size."""
    F, Y, W = _ahead(case, case["lr"])
    return [half_square(Y - F * W)]


def loss_range_along_gradient(case: Case) -> Values:
    """Least loss over step sizes by golden section, largest by trial at 65 of them, each from one gradient step on a linear model."""
    low, high = mp.mpf(case["low"]), mp.mpf(case["high"])

    def value(lr: Any) -> Any:
        F, Y, W = _ahead(case, lr)
        return half_square(Y - F * W)

    largest = max(value(low + (high - low) * i / 64) for i in range(65))
    golden = (mp.sqrt(5) - 1) / 2
    # An interval of 10^-(digits/2) puts the value at a minimum right to all digits.
    while high - low > mp.mpf(10) ** (-mp.mp.dps // 2):
        a, b = high - golden * (high - low), low + golden * (high - low)
        low, high = (low, b) if value(a) < value(b) else (a, high)
    ends = value(mp.mpf(case["low"])), value(mp.mpf(case["high"]))
    return [min(value((low + high) / 2), *ends), largest]


def gradient_norm(case: Case) -> Values:
    """Norm of the gradient of a linear model's loss with respect to its weights."""
    F, Y = _stage(case)
    return [norm(gradient(F, Y, zeros(F, Y)))]


def gradient_change(case: Case) -> Values:
    """Norm of the difference of the gradients of a linear model's loss after and before one gradient step."""
    F, Y, W = _ahead(case, case["lr"])
    return [norm(gradient(F, Y, W) - gradient(F, Y, zeros(F, Y)))]


def effective_smoothness(case: Case) -> Values:
    """Change of a linear model's gradient over a gradient step, divided by the length of the step; None without a gradient."""
    F, Y, W = _ahead(case, case["lr"])
    if not norm(W):
        return [None]
    return [norm(gradient(F, Y, W) - gradient(F, Y, zeros(F, Y))) / norm(W)]
