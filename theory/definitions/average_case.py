"""Averages over teachers from first principles: a linear model's stages run on labels that are linear in white noise.

All labels are `B z` with `z` of independent standard normal components: those of the teachers `f` and `g` in the space of their
features, and the noise of each source label. The model is linear, so what it leaves is `D z`, `D` its run on the columns of `B`.
"""

from __future__ import annotations

from random import Random
from typing import Any

import mpmath as mp

from theory.definitions import cases
from theory.definitions.gaussian import gram_matrix
from theory.definitions.linear_model import least_weights, matrix, train
from theory.formula import Case, Values

_ANGLES = (0.5, 1.25, 0.0, 2.5, 1.0, 3.0)


def draw(rng: Random, index: int, *, own_kernel: bool = False, finite: bool = True) -> Case:
    """Source, target and test features of learner and teachers, an angle, a variance of label noise, step sizes and steps of both stages.

    Teachers have the learner's kernel when `own_kernel`, else every second time.
    """
    case = cases.two_stages(rng, index)
    names = ("source", "target", "test")
    F = {f"{name}_features": case[f"{name}_features"] for name in names}
    own = own_kernel or index % 2 == 0
    G = {f"{name}_teacher": F[f"{name}_features"] if own else cases.rows(rng, len(F[f"{name}_features"]), 3) for name in names}
    schedule = {key: case[key] for key in ("source_lr", "target_lr", "source_steps", "target_steps")}
    if not finite:
        schedule |= {"source_steps": None, "target_steps": None}
    return {**F, **G, **schedule, "angle": _ANGLES[index % len(_ANGLES)], "variance": (0.25, 0.0, 1.0)[index % 3]}


def draw_own(rng: Random, index: int) -> Case:
    """As `draw`, teachers of the learner's kernel."""
    return draw(rng, index, own_kernel=True)


def draw_moving(rng: Random, index: int) -> Case:
    """As `draw_own`, with at least one step in the target stage, so that the weights move."""
    case = draw_own(rng, index)
    return {**case, "target_steps": case["target_steps"] if case["target_steps"] != 0 else 3}


def draw_end(rng: Random, index: int) -> Case:
    """As `draw_own`, both stages to the end, regular Gram matrices."""
    return draw(rng, index - (index % 4 == 3), own_kernel=True, finite=False)


def draw_threshold(rng: Random, index: int) -> Case:
    """As `draw`; source labels with so little noise, and a small enough angle, that transfer helps, or so much that it does not."""
    case = draw(rng, index, own_kernel=index % 3 != 1)
    return {**case, "variance": (0.0, 0.0, 2.0**-6, 64.0)[index % 4], "angle": (0.25, 0.5, 1.5)[index % 3]}


def draw_phases(rng: Random, index: int) -> Case:
    """Source and target inputs in the plane, input similarities, label angles, and a variance of label noise."""
    return {
        "source_inputs": cases.features(rng, 2, 2),
        "target_inputs": cases.rows(rng, 1, 2),
        "similarities": [(0.75, 0.25, 1.0)[index % 3]],
        "angles": [0.5, 2.0],
        "variance": (0.0, 0.25)[index % 2],
    }


def _labels(case: Case) -> tuple[Any, Any, Any]:
    """`B` of source, target and test labels."""
    G_P, G_Q, G_T = (matrix(case[f"{name}_teacher"]) for name in ("source", "target", "test"))
    p, n = G_P.cols, G_P.rows
    angle, noise = mp.mpf(case["angle"]), mp.sqrt(mp.mpf(case["variance"]))
    B_P, B_Q, B_T = (mp.zeros(G.rows, 2 * p + n) for G in (G_P, G_Q, G_T))
    B_P[:, 0:p], B_P[:, p : 2 * p], B_P[:, 2 * p : 2 * p + n] = mp.cos(angle) * G_P, mp.sin(angle) * G_P, noise * mp.eye(n)
    B_Q[:, 0:p], B_T[:, 0:p] = G_Q, G_T
    return B_P, B_Q, B_T


def responses(case: Case, pretrained: bool = True) -> list[Any]:
    """`D` of what is left on the target, of the move in fine-tuning, and of what is left on test points."""
    F_P, F_Q, F_x = (matrix(case[f"{name}_features"]) for name in ("source", "target", "test"))
    B_P, B_Q, B_T = _labels(case)
    W_P = mp.zeros(F_P.cols, B_P.cols)
    if pretrained:
        W_P = train(F_P, B_P, W_P, case["source_lr"], case["source_steps"])
    W_Q = train(F_Q, B_Q, W_P, case["target_lr"], case["target_steps"])
    return [B_Q - F_Q * W_P, W_Q - W_P, B_T - F_x * W_Q]


def _mean(D: Any) -> Any:
    return mp.fsum(d * d for d in D)


def mean(case: Case) -> Values:
    """Mean squares of what a linear model leaves on the target, of its move in fine-tuning, and of what it leaves on test points, from
    gradient steps on labels that are linear in white noise: sums of the squared responses to each component of the noise.
    """
    return [_mean(D) for D in responses(case)]


def variance(case: Case) -> Values:
    """Variances of the same squares, from all fourth moments of white noise (Isserlis): 3 for one component, 1 for two."""
    return [_variance(D.T * D) for D in responses(case)]


def _variance(S: Any) -> Any:
    pairs = [(a, b) for a in range(S.rows) for b in range(S.rows)]
    fourth = mp.fsum(3 * S[a, a] ** 2 if a == b else S[a, a] * S[b, b] + 2 * S[a, b] ** 2 for a, b in pairs)
    return fourth - mp.fsum(S[a, a] for a in range(S.rows)) ** 2


def ratio(case: Case) -> Values:
    """Mean squares, as responses to white noise of gradient steps on a linear model, over those without a source stage."""
    return [_mean(D) / _mean(E) for D, E in zip(responses(case), responses(case, pretrained=False), strict=True)]


def threshold_angle(case: Case) -> Values:
    """The angle at which such a mean square is that without a source stage, by linear interpolation in its cosine between 0 and π/2;
    None if no angle up to π/2 brings it below.
    """
    scratch = [_mean(E) for E in responses(case, pretrained=False)]
    at_zero, at_right = (mean({**case, "angle": angle}) for angle in (0.0, mp.pi / 2))
    values: Values = []
    for start, zero, right in zip(scratch, at_zero, at_right, strict=True):
        helps = min(zero, right) < start
        values.append(mp.acos((right - start) / (right - zero)) if helps else None)
    return values


def threshold_noise(case: Case) -> Values:
    """The variance of label noise at which such a mean square is that without a source stage, by linear interpolation between none and 1;
    None if it is not below it without noise.
    """
    scratch = [_mean(E) for E in responses(case, pretrained=False)]
    none, one = (mean({**case, "variance": variance}) for variance in (0.0, 1.0))
    return [(start - a) / (b - a) if a < start else None for start, a, b in zip(scratch, none, one, strict=True)]


def displacement_to_the_end(case: Case) -> Values:
    """Mean square of the move in fine-tuning, both stages run to the end, as the response of a linear model to white noise."""
    return [_mean(responses(case)[1])]


def phases(case: Case) -> Values:
    """Mean square of the shortest weights that fit what pretraining leaves on the target, over that of those that fit its labels, for each
    input similarity and label angle; features are a Cholesky factor of the ReLU Gram matrix of the turned inputs, by quadrature.
    """
    X_P, X_Q = case["source_inputs"], case["target_inputs"]
    values: Values = []
    for similarity in case["similarities"]:
        c = mp.mpf(similarity)
        turned = [[c * v for v in row] + [mp.sqrt(1 - c * c) * v for v in row] for row in X_P]
        rows = [*turned, *([mp.mpf(v) for v in row] + [mp.mpf(0)] * len(row) for row in X_Q)]
        features = mp.cholesky(gram_matrix(rows))
        F_P, F_Q = features[0 : len(X_P), :], features[len(X_P) : len(rows), :]
        teachers = {"source_teacher": F_P.tolist(), "target_teacher": F_Q.tolist(), "test_teacher": F_Q.tolist()}
        for angle in case["angles"]:
            B_P, B_Q, _ = _labels({**teachers, "angle": angle, "variance": case["variance"]})
            left = B_Q - F_Q * least_weights(F_P, B_P)
            values.append(_mean(least_weights(F_Q, left)) / _mean(least_weights(F_Q, B_Q)))
    return values
