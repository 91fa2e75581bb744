"""A linear model trained literally by other methods than plain descent: momentum, decay, steps that vary, batches, cross-entropy.

As in `linear_model`: `W: (p, c)` weights, `F: (n, p)` features, outputs `F W`. A step is `v ← μ v + g`, `W ← W − η v` with the gradient
`g` of the loss plus `½β‖W − A‖²`.
"""

from __future__ import annotations

from typing import Any

import mpmath as mp

from theory.definitions.linear_model import flat, gradient, half_square, matrix, norm, to_the_end, zeros
from theory.formula import Case, Values

Matrix = Any

_DOUBLINGS = 60


def train(
    F: Matrix,
    Y: Matrix,
    W: Matrix,
    lr: float,
    steps: int | None,
    *,
    momentum: float = 0.0,
    decay: float = 0.0,
    anchor: Matrix | None = None,
) -> Matrix:
    """Weights after `steps` steps on the squared loss from `W`, the velocity zero at first; `None` for the end.

    The anchor of the decay is `W` by default.
    """
    A = W.copy() if anchor is None else anchor
    step, mu, beta = mp.mpf(lr), mp.mpf(momentum), mp.mpf(decay)
    p = F.cols
    if steps is None:
        # Weights and velocity together follow one affine map.
        curvature, pull = F.T * F + beta * mp.eye(p), F.T * Y + beta * A
        M, b = mp.zeros(2 * p, 2 * p), mp.zeros(2 * p, Y.cols)
        M[0:p, 0:p], M[0:p, p : 2 * p] = mp.eye(p) - step * curvature, -step * mu * mp.eye(p)
        M[p : 2 * p, 0:p], M[p : 2 * p, p : 2 * p] = curvature, mu * mp.eye(p)
        b[0:p, :], b[p : 2 * p, :] = step * pull, -pull
        start = mp.zeros(2 * p, Y.cols)
        start[0:p, :] = W
        return to_the_end(M, b, start)[0:p, :]
    v = mp.zeros(p, Y.cols)
    for _ in range(steps):
        v = mu * v + gradient(F, Y, W) + beta * (W - A)
        W = W - step * v
    return W


# One mode ---------------------------------------------------------------------------------------------------------------------


def _mode(curvature: Any, lr: float, steps: int | None, momentum: float) -> Any:
    """What steps on a parabola leave of a unit error."""
    step, mu = mp.mpf(lr), mp.mpf(momentum)
    if steps is None:
        return to_the_end(mp.matrix([[1 - step * curvature, -step * mu], [curvature, mu]]), mp.matrix([0, 0]), mp.matrix([1, 0]))[0]
    w, v = mp.mpf(1), mp.mpf(0)
    for _ in range(steps):
        v = mu * v + curvature * w
        w -= step * v
    return w


def heavy_ball_residual_filter(case: Case) -> Values:
    """The weight of a parabola ½λw² from w = 1, after k steps v ← μv + λw, w ← w − ηv with v = 0 at first."""
    return [_mode(mp.mpf(value), case["lr"], case["steps"], case["momentum"]) for value in case["values"]]


def heavy_ball_integral_filter(case: Case) -> Values:
    """The weight of ½λw² − w from w = 0 after k steps of heavy ball; to the end 0 where λ = 0, by convention."""
    found = []
    for value in case["values"]:
        if case["steps"] is None:
            found.append((1 - _mode(mp.mpf(value), case["lr"], None, case["momentum"])) / value if value else mp.mpf(0))
            continue
        w, v = mp.mpf(0), mp.mpf(0)
        for _ in range(case["steps"]):
            v = mp.mpf(case["momentum"]) * v + mp.mpf(value) * w - 1
            w -= mp.mpf(case["lr"]) * v
        found.append(w)
    return found


def difference_filter(case: Case) -> Values:
    """Steps of heavy ball on two weights that start at 1, with curvatures β and λ + β; the difference of the weights over λ."""
    steps = (case["lr"], case["steps"], case["momentum"])
    alone = _mode(mp.mpf(case["decay"]), *steps)
    return [(alone - _mode(mp.mpf(value) + mp.mpf(case["decay"]), *steps)) / mp.mpf(value) for value in case["values"]]


def remembered(case: Case) -> Values:
    """A weight that no input sees, from distance 1 of its anchor, after k steps on the penalty ½β w²."""
    return [_mode(mp.mpf(case["decay"]), case["lr"], case["steps"], case["momentum"])]


def varying_residual_filter(case: Case) -> Values:
    """The recursion c ← c − η_j λ c over the given step sizes from c = 1."""
    found = []
    for value in case["values"]:
        left = mp.mpf(1)
        for lr in case["rates"]:
            left -= mp.mpf(lr) * (mp.mpf(value) * left)
        found.append(left)
    return found


def varying_integral_filter(case: Case) -> Values:
    """The weight of ½λw² − w from w = 0 after gradient steps of the given sizes."""
    found = []
    for value in case["values"]:
        w = mp.mpf(0)
        for lr in case["rates"]:
            w -= mp.mpf(lr) * (mp.mpf(value) * w - 1)
        found.append(w)
    return found


def decayed_residual_filter(case: Case) -> Values:
    """Labels less outputs of a linear model of one weight, F = √λ and Y = 1, after steps from 0 with decay towards 0."""
    return [_penalised_mode(case, value)[0] for value in case["values"]]


def decayed_integral_filter(case: Case) -> Values:
    """The weight of ½λw² − w + ½βw² from w = 0 after k steps of heavy ball; to the end 0 where λ + β = 0, by convention."""
    shifted = [value + mp.mpf(case["decay"]) for value in case["values"]]
    return heavy_ball_integral_filter({**case, "values": shifted})


def _penalised_mode(case: Case, value: float) -> tuple[Any, Any]:
    F, Y = mp.matrix([[mp.sqrt(value)]]), mp.matrix([[1]])
    W = train(F, Y, zeros(F, Y), case["lr"], case["steps"], momentum=case["momentum"], decay=case["decay"])
    return (Y - F * W)[0], W[0]


def stable_momentum_step(case: Case) -> Values:
    """Whether the error of a linear model is bounded after 2^60 steps of heavy ball with decay, the step composed with itself."""
    F = matrix(case["features"])
    n, mu, step = F.rows, mp.mpf(case["momentum"]), mp.mpf(case["lr"])
    curvature = F * F.T + mp.mpf(case["decay"]) * mp.eye(n)
    M = mp.zeros(2 * n, 2 * n)
    M[0:n, 0:n], M[0:n, n : 2 * n] = mp.eye(n) - step * curvature, -mu * mp.eye(n)
    M[n : 2 * n, 0:n], M[n : 2 * n, n : 2 * n] = step * curvature, mu * mp.eye(n)
    for _ in range(_DOUBLINGS):
        M = M * M
    return [bool(norm(M) <= 1e6)]


# One stage --------------------------------------------------------------------------------------------------------------------


def stage(case: Case) -> tuple[Matrix, Matrix, Matrix, Matrix, Matrix]:
    """Features, given labels, weights at the start, at the anchor and after the stage."""
    F, Y = matrix(case["features"]), matrix(case["given"])
    start, anchor = matrix(case["start"]), matrix(case["anchor"])
    options = {"momentum": case["momentum"], "decay": case["decay"], "anchor": anchor}
    return F, Y, start, anchor, train(F, Y, start, case["lr"], case["steps"], **options)


def penalised_residual(case: Case) -> Values:
    """Labels less outputs of a linear model after steps on the loss plus ½β‖W − A‖² from weights that are not A."""
    F, Y, _, _, W = stage(case)
    return flat(Y - F * W)


def penalised_loss(case: Case) -> Values:
    """Half the squared residual of a linear model after steps on the loss plus ½β‖W − A‖² from weights that are not A."""
    F, Y, _, _, W = stage(case)
    return [half_square(Y - F * W)]


def penalised_displacement(case: Case) -> Values:
    """Distance of a linear model's weights from their start after steps on the loss plus ½β‖W − A‖² from weights that are not A."""
    _, _, start, _, W = stage(case)
    return [norm(W - start)]


def penalised_coefficients(case: Case) -> Values:
    """The γ with W − A = w(W_s − A) + Fᵀγ, w the share left of a weight that no input sees, solved from a linear model's weights after
    steps on the loss plus ½β‖W − A‖².
    """
    F, _, start, anchor, W = stage(case)
    share = _mode(mp.mpf(case["decay"]), case["lr"], case["steps"], case["momentum"])
    move = W - anchor - share * (start - anchor)
    return flat(mp.inverse(F * F.T) * (F * move))


def minibatch(case: Case) -> Values:
    """Gradient steps on a linear model's weights over the given batches from zero: residual, norm of the weights, and η times the sum of
    each point's residuals at the steps that it took part in.
    """
    F, Y = matrix(case["features"]), matrix(case["labels"])
    W, gamma, step = zeros(F, Y), mp.zeros(Y.rows, Y.cols), mp.mpf(case["lr"])
    for batch in case["batches"]:
        rows = mp.matrix([list(F[i, :]) for i in batch])
        labels = mp.matrix([list(Y[i, :]) for i in batch])
        for i in batch:
            gamma[i, :] += step * (Y[i, :] - F[i, :] * W)
        W = W - step * gradient(rows, labels, W)
    return [*flat(gamma), *flat(Y - F * W), norm(W)]


# Two stages -------------------------------------------------------------------------------------------------------------------


def two_stages(case: Case) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Weights at the start, after pretraining, after fine-tuning, and after the target stage from the start, decay as the case says."""
    F_P, F_Q, W_0 = matrix(case["source_features"]), matrix(case["target_features"]), matrix(case["start"])
    options = {"momentum": case["momentum"], "decay": case["weight_decay"]}

    def anchor(start: Matrix) -> Matrix:
        return {"start": start, "initial": W_0, "zero": mp.zeros(W_0.rows, W_0.cols)}[case["anchor"]]

    def tuned(start: Matrix) -> Matrix:
        Y = matrix(case["target_labels"])
        return train(F_Q, Y, start, case["target_lr"], case["target_steps"], anchor=anchor(start), **options)

    Y_P = matrix(case["source_labels"])
    W_P = train(F_P, Y_P, W_0, case["source_lr"], case["source_steps"], anchor=anchor(W_0), **options)
    return W_0, W_P, tuned(W_P), tuned(W_0)


def penalised_transfer(case: Case) -> Values:
    """Both stages of a linear model run literally, from non-zero weights, with the penalty and momentum of the case: outputs at test
    points, source and target residuals, and how far the target stage moves the weights after pretraining and from the start.
    """
    W_0, W_P, W_Q, scratch = two_stages(case)
    residuals = [matrix(case[f"{name}_labels"]) - matrix(case[f"{name}_features"]) * W_Q for name in ("source", "target")]
    return [
        *flat(matrix(case["test_features"]) * W_Q),
        *flat(residuals[0]),
        *flat(residuals[1]),
        norm(W_Q - W_P),
        norm(scratch - W_0),
    ]
