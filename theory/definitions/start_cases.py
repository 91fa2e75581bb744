"""Admissible cases of initialisation, symmetries and similarity."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

from theory.definitions import cases
from theory.definitions.cases import Rows, features, rows, step_size
from theory.formula import Case

_KAPPA = (1.0, 0.5, 2.0, 0.25)


def apart(rng: Random, n: int, d: int) -> Rows:
    """`n` rows of dyadic numbers of which no two are nearly parallel or opposite."""
    while True:
        X = rows(rng, n, d)
        pairs = [(x, z) for i, x in enumerate(X) for z in X[:i]]
        if all(_dot(x, z) ** 2 < 0.98 * _dot(x, x) * _dot(z, z) for x, z in pairs):
            return X


def points(rng: Random, index: int) -> Case:
    """Two or three rows in the plane, or three in space."""
    d = 2 + index % 2
    return {"X": apart(rng, 3 if d == 3 or index % 4 else 2, d)}


def net(rng: Random, index: int) -> Case:
    """As `points`, and a width; every other net antisymmetric."""
    pairs = index % 2 == 1
    return {**points(rng, index // 2), "width": (1, 2, 2, 4)[index % 4], "antisymmetric": pairs}


def outputs(rng: Random, index: int) -> Case:
    """Two rows in the plane, one to three outputs, signs independent or in orthogonal columns, pairs or not."""
    readouts, pairs = ("independent", "orthogonal")[index % 2], index // 2 % 2 == 1
    c = (1 + index // 4 % 2) if readouts == "orthogonal" else (2, 3, 1, 2)[index // 2 % 4]
    least = 2 if readouts == "orthogonal" or c < 3 else 1
    return {"X": apart(rng, 2, 2), "n_outputs": c, "width": least * (2 if pairs else 1), "antisymmetric": pairs, "readouts": readouts}


def residuals(rng: Random, index: int) -> Case:
    """Residuals of two or three outputs at a few points, readouts as in `outputs`."""
    readouts, pairs = ("independent", "orthogonal")[index % 3 == 2], index // 2 % 2 == 1
    c = 2 + index % 2
    least = {2: 2, 3: 4}[c] if readouts == "orthogonal" else 2
    return {"residual": rows(rng, 3, c), "width": least * (2 if pairs else 1), "antisymmetric": pairs, "readouts": readouts}


def transferred(rng: Random, index: int) -> Case:
    """Source and target inputs in the plane, and a matrix that maps source outputs to target outputs."""
    X = apart(rng, 4, 2)
    n_Q = 1 + index % 2
    return {"source_inputs": X[:2], "target_inputs": X[2 : 2 + n_Q], "transfer": rows(rng, n_Q, 2)}


def finite(rng: Random, index: int) -> Case:
    """As `transferred`, with what is left without a start, a width and a scale."""
    case = transferred(rng, index)
    n_Q = len(case["target_inputs"])
    return {**case, "remaining": rows(rng, n_Q, 1), "width": (2, 3, 1)[index % 3], "kappa": _KAPPA[index % 4]}


def random_start(rng: Random, index: int) -> Case:
    """As `cases.two_stages` with one output and few steps, with inputs that give the initial outputs' covariance."""
    case = cases.two_stages(rng, index)
    n_P, n_Q = len(case["source_features"]), len(case["target_features"])
    # At most four points in all: a Gauss-Hermite rule takes 3^n of them.
    n_P, n_Q = min(n_P, 2), min(n_Q, 2 - index % 2)
    F_P, F_Q = features(rng, n_P, 4), features(rng, n_Q, 4)
    X = apart(rng, n_P + n_Q, 2)
    return {
        "source_features": F_P,
        "target_features": F_Q,
        "source_inputs": X[:n_P],
        "target_inputs": X[n_P:],
        "source_labels": rows(rng, n_P, 1),
        "target_labels": rows(rng, n_Q, 1),
        "source_lr": step_size(rng, F_P, cases.STEP_SIZES[index % len(cases.STEP_SIZES)]),
        "target_lr": step_size(rng, F_Q, cases.STEP_SIZES[(index + 1) % len(cases.STEP_SIZES)]),
        "source_steps": (2, None, 1, 5, 0)[index % 5],
        "target_steps": (3, 1, None, 2)[index % 4],
        "kappa": _KAPPA[index % 4],
    }


def degenerate(rng: Random, index: int) -> Case:
    """Rows in general position, with exact multiples of some of them, opposites, and a row of zeros."""
    d = 3 if index == 5 else 2
    X = apart(rng, (3, 4, 3, 3, 2, 2)[index % 6], d)
    opposite, repeated = ([[factor * v for v in row] for row in X] for factor in (-2, 4))
    extra = ([], opposite[:2], opposite[:3], [*repeated[:1], *opposite[:2]], [[0.0] * d, *repeated[:2]], [*opposite, repeated[0]])[
        index % 6
    ]
    chosen = [*X, *extra]
    rng.shuffle(chosen)
    return {"X": chosen}


def suppressed(rng: Random, index: int) -> Case:
    """A spectrum of distinct eigenvalues, or `a²I + b²vvᵀ` with one repeated; labels, and what pretraining leaves of them."""
    if index % 2:
        n, a, b = 3, rng.choice((0.5, 1.0)), rng.choice((1.0, 2.0))
        v = [float(rng.choice((-1, 1, 2))) for _ in range(n)]
        F = [[a if i == k else 0.0 for k in range(n)] + [b * v[i]] for i in range(n)]
    else:
        F = features(rng, 2 + index // 2 % 2, 4, gap=0.1)
    c = 1 + index % 2
    Y, T = rows(rng, len(F), c), rows(rng, len(F), c)
    remaining = [[y - t / 2 for y, t in zip(p, q, strict=True)] for p, q in zip(Y, T, strict=True)]
    return {"features": F, "labels": Y, "remaining": remaining, "lr": step_size(rng, F, 0.6)}


def relabelled(rng: Random, index: int) -> Case:
    """A regular Gram matrix, one or two target labels, one or two source labels transformed."""
    n = 3 + index % 2
    F = features(rng, n, n + 1)
    while True:
        T = rows(rng, n, 1 + index // 2 % 2)
        if cases.eigenvalues(cases.transposed(T))[0] > 0.1:
            return {"features": F, "labels": rows(rng, n, 1 + index % 2), "transformed": T, "lr": step_size(rng, F, 1.0)}


def tiny_net(rng: Random, index: int) -> Case:
    """A ReLU net of four neurons, two source and two target points, few steps of small size, and a scale."""
    X = apart(rng, 4, 2)
    return {
        "weights": rows(rng, 4, 2),
        "signs": [rng.choice((-1, 1)) for _ in range(4)],
        "source_inputs": X[:2],
        "target_inputs": X[2:],
        "source_labels": rows(rng, 2, 1),
        "target_labels": rows(rng, 2, 1),
        "source_lr": rng.uniform(0.1, 0.4),
        "target_lr": rng.uniform(0.1, 0.4),
        "source_steps": 1 + index % 3,
        "target_steps": 2,
        "kappa": rng.uniform(0.2, 4.0),
    }


def nothing_shared(rng: Random, index: int) -> Case:
    """An antisymmetric ReLU net; source and target inputs in orthogonal subspaces, or source labels of zero."""
    X_P, X_Q, zero = apart(rng, 2, 2), apart(rng, 2, 2), [0.0, 0.0]
    orthogonal = index % 2 == 0
    half = rows(rng, 3, 4)
    # Somebody has to be active on the target, or nothing moves from scratch either.
    while not any(_dot(w[2:], x) > 0 for w in half for x in X_Q):
        half = rows(rng, 3, 4)
    case: dict[str, Any] = {
        "weights": [*half, *half],
        "signs": [1, 1, 1, -1, -1, -1],
        "source_inputs": [[*x, *zero] for x in X_P] if orthogonal else rows(rng, 2, 4),
        "target_inputs": [[*zero, *x] for x in X_Q],
        "source_labels": rows(rng, 2, 1) if orthogonal else [[0.0], [0.0]],
        "target_labels": rows(rng, 2, 1),
        "source_steps": 3,
        "target_steps": 2,
    }
    # λ_max ≤ tr H = Σ‖x‖²/2.
    bound = [sum(v * v for x in case[f"{name}_inputs"] for v in x) / 2 for name in ("source", "target")]
    return {**case, "source_lr": 1 / bound[0], "target_lr": 1 / bound[1]}


def inside(rng: Random, index: int) -> Case:
    """As `cases.two_stages`, the target some of the source's points with their labels."""
    case = cases.two_stages(rng, index)
    F_P, c = features(rng, 3, 4), 1 + index % 2
    labels = rows(rng, 3, c)
    chosen = list(product((0, 1), repeat=3))[(3, 5, 7, 6)[index % 4]]
    F_Q = [row for row, take in zip(F_P, chosen, strict=True) if take]
    return {
        **case,
        "start": rows(rng, 4, c),
        "source_features": F_P,
        "source_labels": labels,
        "target_features": F_Q,
        "target_labels": [row for row, take in zip(labels, chosen, strict=True) if take],
        "chosen": [i for i, take in enumerate(chosen) if take],
        "source_lr": step_size(rng, F_P, cases.STEP_SIZES[index % len(cases.STEP_SIZES)]),
        "target_lr": step_size(rng, F_Q, 1.0),
        "source_steps": (None, 3, None, 1)[index % 4],
    }


def _dot(a: list[float], b: list[float]) -> float:
    return sum(p * q for p, q in zip(a, b, strict=True))
