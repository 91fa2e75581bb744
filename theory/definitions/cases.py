"""Admissible cases, drawn deterministically: every float is a small dyadic number, so that products are exact in float64 too."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from typing import Any

import mpmath as mp
import numpy as np

from theory.formula import Case

Rows = list[list[float]]

# Eigenvalues below this share of the largest make a Gram matrix that definitions still resolve but float64 cannot be asked to.
_CONDITION = 0.02

STEPS: tuple[int | None, ...] = (0, 1, None, 2, None, 7, 40, 3)
"""Numbers of steps by index of the case; `None` for the end, of a singular and of a regular Gram matrix (`stage`)."""

STEP_SIZES = (1.0, 0.3, 1.7, 1.0, 1.95)
"""Step sizes in units of `1/λ_max`, by index; up to just below the stability bound 2."""

TURNS = (("inside", 1.0), ("inside", 1.7), ("end", 0.3), ("start", 0.1), ("inside", 0.3), ("inside", 1.95), ("end", 1.7), ("inside", 0.1))
"""Where a quantity is least over source steps, and step sizes in units of `1/λ_max`, by index."""

SMOOTH_TURNS = (("inside", 1.0), ("inside", 0.3), ("inside", 0.1), ("end", 0.5), ("start", 0.3), ("inside", 0.6))
"""As `TURNS`, without step sizes above `1/λ_max`."""


def dyadic(rng: Random, size: float = 1.0) -> float:
    """A non-zero multiple of 1/16 of magnitude at most `size`."""
    steps = int(size * 16)
    return rng.choice((-1, 1)) * rng.randint(1, steps) / 16


def rows(rng: Random, n: int, columns: int) -> Rows:
    """A matrix of dyadic numbers."""
    return [[dyadic(rng) for _ in range(columns)] for _ in range(n)]


def product(A: Rows, B: Rows) -> Rows:
    """`A B`; exact for dyadic entries."""
    return [[math.fsum(a * b[k] for a, b in zip(row, B, strict=True)) for k in range(len(B[0]))] for row in A]


def transposed(A: Rows) -> Rows:
    """`Aᵀ`."""
    return [list(column) for column in zip(*A, strict=True)]


def gram_of(F: Rows) -> Rows:
    """`F Fᵀ`; exact for dyadic entries."""
    return product(F, transposed(F))


def eigenvalues(F: Rows) -> list[float]:
    """Non-zero eigenvalues of `F Fᵀ`, ascending: those of the smaller of `F Fᵀ` and `Fᵀ F`."""
    G = gram_of(F) if len(F) <= len(F[0]) else gram_of(transposed(F))
    return sorted(float(v) for v in mp.eigsy(mp.matrix(G), eigvals_only=True))


def features(rng: Random, n: int, columns: int, gap: float = 0.0) -> Rows:
    """Features of full rank with eigenvalues of `F Fᵀ` above 2 % of the largest, and apart by at least `gap` of it."""
    while True:
        F = rows(rng, n, columns)
        values = eigenvalues(F)
        apart = min([b - a for a, b in pairwise(values)], default=math.inf)
        if values[0] >= _CONDITION * values[-1] and apart >= gap * values[-1]:
            return F


def step_size(rng: Random, F: Rows, factor: float) -> float:
    """A float near `factor/λ_max`, a little below, and not a round number."""
    return factor * rng.uniform(0.97, 0.999) / eigenvalues(F)[-1]


def modes(rng: Random, index: int) -> Case:
    """Eigenvalues from 0 to `2/η`, with `ηλ` small, near 1, exactly 1 and above 1; a step size and a number of steps."""
    lr = rng.choice((0.25, 0.5, 1.0, 2.0))
    scaled = [0.0, 2.0**-40, 2.0**-8, rng.uniform(0.01, 0.49), 0.5, rng.uniform(0.51, 0.99), 1.0, rng.uniform(1.01, 1.95)]
    return {"values": [x / lr for x in scaled], "lr": lr, "steps": STEPS[index % len(STEPS)]}


def flow_modes(rng: Random, index: int) -> Case:
    """Eigenvalues from 0 up, and a time; `tλ` from 0 to 12."""
    time = (0.0, rng.uniform(0.01, 0.1), rng.uniform(0.5, 2.0), rng.uniform(3.0, 6.0))[index % 4]
    return {"values": [0.0, 2.0**-40, rng.uniform(0.01, 0.1), rng.uniform(0.5, 1.0), 2.0], "time": time}


def stage(rng: Random, index: int, *, in_range: bool = False, gap: float = 0.0) -> dict[str, Any]:
    """One stage: features of full row rank or, every third time, fewer than points (a singular Gram matrix); one or two outputs.

    `in_range=True` lets labels be outputs of some weights whenever the Gram matrix is singular.
    """
    n = 2 + index % 3
    singular = index % 3 == 2
    F = features(rng, n, n - 1 if singular else n + rng.randint(0, 1), gap)
    c = 1 + index % 2
    Y = product(F, rows(rng, len(F[0]), c)) if singular and in_range else rows(rng, n, c)
    lr = step_size(rng, F, STEP_SIZES[index % len(STEP_SIZES)])
    return {"features": F, "labels": Y, "lr": lr, "steps": STEPS[index % len(STEPS)], "rank": len(F[0]) if singular else n}


def stage_in_range(rng: Random, index: int) -> Case:
    """As `stage`; labels in the range of a singular Gram matrix, where the sum of residuals converges."""
    return stage(rng, index, in_range=True)


def least_fit(rng: Random, index: int) -> Case:
    """As `stage`, labels inside and outside the range of a singular Gram matrix in turn."""
    return stage(rng, index, in_range=index % 2 == 0)


def separated(rng: Random, index: int) -> Case:
    """As `stage`, regular, with eigenvalues apart by a tenth of the largest, and filter values."""
    case = stage(rng, 3 * index + index % 2, gap=0.1)
    return {**case, "filter": [dyadic(rng) for _ in case["labels"]]}


def flow_stage(rng: Random, index: int) -> Case:
    """As `stage`, with a time instead of steps."""
    case = stage(rng, index)
    return {**case, "time": (0.0, 0.3, 1.0, 4.0)[index % 4] / eigenvalues(case["features"])[-1]}


def losses(rng: Random, index: int) -> Case:
    """As `stage`, with a target between the losses before and after a chosen step, never near either; also one out of reach."""
    case = stage(rng, index)
    F, Y = mp.matrix(case["features"]), mp.matrix(case["labels"])
    lr, r, trace = mp.mpf(case["lr"]), Y, []
    for _ in range(60):
        trace.append(mp.fsum(v * v for v in r) / 2)
        r = r - lr * (F * (F.T * r))
    chosen = (0, 1, 3, 10)[index % 4]
    if case["rank"] < len(case["labels"]) and index % 4 == 3:
        # Half of what stays outside the range for ever.
        return {**case, "target_loss": float(trace[-1]) / 4, "give_up": 60}
    target = trace[0] * 2 if chosen == 0 else mp.sqrt(trace[chosen] * trace[chosen - 1])
    return {**case, "target_loss": float(target), "give_up": 60}


def accelerated(rng: Random, index: int) -> Case:
    """As `losses`, with what pretraining leaves: a share of the labels and a little of something else."""
    case = losses(rng, index)
    share = rng.choice((0.5, 0.25, -0.5))
    # The target is to stay apart from the losses on this way too, which no check of it could tell from rounding.
    return {**case, "remaining": [[share * v + dyadic(rng) / 16 for v in row] for row in case["labels"]]}


def stability(rng: Random, index: int) -> Case:
    """As `stage`, with step sizes on both sides of `2/λ_max`."""
    case = stage(rng, index)
    factor = (0.5, 1.999999, 2.000001, 3.0)[index % 4]
    return {**case, "lr": factor / eigenvalues(case["features"])[-1]}


def labels_and_transformed(rng: Random, index: int) -> Case:
    """A regular Gram matrix, target labels, transformed labels (near, unrelated, opposite), and their difference."""
    case = stage(rng, index - index % 3 + index % 2)
    Y = case["labels"]
    share = (0.75, 0.0, -0.5, 2.5)[index % 4]
    transformed = [[share * y + dyadic(rng, 0.5) for y in row] for row in Y]
    remaining = [[y - t for y, t in zip(row, other, strict=True)] for row, other in zip(Y, transformed, strict=True)]
    return {**case, "transformed": transformed, "remaining": remaining}


def interval(rng: Random, index: int) -> Case:
    """As `stage`, with an interval of step sizes that holds the least loss, lies beyond it, before it, or goes backwards."""
    case = stage(rng, index)
    scale = 1 / eigenvalues(case["features"])[-1]
    low, high = ((0.0, 8.0), (30.0, 60.0), (0.0, 0.1), (-1.0, 1.0))[index % 4]
    return {**case, "low": low * scale, "high": high * scale}


def two_stages(rng: Random, index: int) -> Case:
    """Source, target and test features over shared weights, non-zero initial weights, step sizes and steps of both stages."""
    p, c = 4, 1 + index % 2
    n_P, n_Q = 2 + index % 2, 2 + (index // 2) % 2
    # Every fourth time more source points than weights: a singular source Gram matrix.
    if index % 4 == 3:
        n_P = p + 1
    F_P, F_Q = features(rng, n_P, p), features(rng, n_Q, p)
    return {
        "source_features": F_P,
        "target_features": F_Q,
        "test_features": rows(rng, 2, p),
        "source_labels": rows(rng, n_P, c),
        "target_labels": rows(rng, n_Q, c),
        "start": rows(rng, p, c),
        "source_lr": step_size(rng, F_P, STEP_SIZES[index % len(STEP_SIZES)]),
        "target_lr": step_size(rng, F_Q, STEP_SIZES[(index + 1) % len(STEP_SIZES)]),
        "source_steps": STEPS[(index + 2) % len(STEPS)],
        "target_steps": STEPS[(index + 3) % len(STEPS)],
        "signs": [rng.choice((-1, 1)) for _ in range(4)],
    }


def inputs(rng: Random, index: int) -> Case:
    """Two sets of rows of any norm, and a scale of the initial weights."""
    d = 2 + index % 3
    size = 2.0 ** (0, -30, 20)[index % 3]
    X, Z = rows(rng, 1, d), rows(rng, 2, d)
    return {"X": [[size * v for v in row] for row in X], "Z": Z, "kappa": rng.choice((0.5, 1.0, 2.0))}


def special_inputs(rng: Random, index: int) -> Case:
    """A row with itself, a multiple of itself, its opposite, and a row orthogonal to it; all exact in float64."""
    x = rows(rng, 1, 2)[0]
    across = [-x[1], x[0]]
    return {"X": [x], "Z": [x, [4 * v for v in x], [-2 * v for v in x], across], "kappa": 1.0}


def near_parallel(rng: Random, index: int) -> Case:
    """Rows at angles from 1e-9 to 0.3 from parallel or from opposite."""
    d, turn = 2 + index % 3, 10.0 ** (-9, -6, -3, -0.6)[index % 4]
    x = rows(rng, 1, d)[0]
    tilt = rows(rng, 1, d)[0]
    return {
        "X": [x],
        "Z": [[v + turn * t for v, t in zip(x, tilt, strict=True)], [-3 * v + turn * t for v, t in zip(x, tilt, strict=True)]],
        "kappa": 1.0,
    }


def transfer(rng: Random, index: int) -> Case:
    """Source and target inputs in three dimensions, source labels, a step size below `2/λ_max`, a number of steps."""
    X_P, X_Q = features(rng, 2, 3), rows(rng, 1, 3)
    # λ_max ≤ tr H = Σ‖x‖²/2.
    bound = math.fsum(v * v for row in X_P for v in row) / 2
    return {
        "source_inputs": X_P,
        "target_inputs": X_Q,
        "source_labels": rows(rng, 2, 1 + index % 2),
        "lr": STEP_SIZES[index % len(STEP_SIZES)] / bound,
        "steps": (None, 1, 7, 0)[index % 4],
    }


def pretraining(rng: Random, index: int) -> Case:
    """As `two_stages`, with test labels and a variance of the source labels' noise."""
    case = two_stages(rng, index)
    return {**case, "test_labels": rows(rng, 2, len(case["source_labels"][0])), "variance": (0.25, 0.0, 4.0)[index % 3]}


def barely_pretrained(rng: Random, index: int) -> Case:
    """As `pretraining`, every third time with a step size so small that what the source learns is a billionth of its labels."""
    case = pretraining(rng, index)
    return {**case, "source_lr": case["source_lr"] * (2.0**-30 if index % 3 == 2 else 1.0)}


def turning(rng: Random, index: int, turns: Sequence[tuple[str, float]] = TURNS, last: int = 24) -> Case:
    """As `pretraining`, few target steps, one quantity, a last source step, and the quantity least inside, at the end or at the start.

    What a case is wanted for is read off a run in float64; what a check compares is not.
    """
    while True:
        case = {**pretraining(rng, index), "quantity": ("gradient_energy", "displacement", "test_error")[index % 3], "last": last}
        wanted, factor = turns[index % len(turns)]
        case |= {"source_lr": step_size(rng, case["source_features"], factor), "target_steps": 1 + index % 3}
        F = _float_trace(case, last)
        inside, falling = min(F[2:-2]) < 0.99 * min(F[0], F[-1]), F[-1] < 0.99 * min(F[:-2])
        if wanted == ("inside" if inside else "end" if falling else "start"):
            return case


def smooth_turning(rng: Random, index: int) -> Case:
    """As `turning` without overshooting modes, and with regular source Gram matrices, their eigenvalues apart by a tenth of the largest."""
    # Every fourth case of `two_stages` is singular.
    regular = index + index // 3
    while True:
        case = turning(rng, regular, [SMOOTH_TURNS[index % len(SMOOTH_TURNS)]], last=10)
        values = eigenvalues(case["source_features"])
        if min(b - a for a, b in pairwise(values)) > 0.1 * values[-1]:
            return case


def nested_sources(rng: Random, index: int) -> Case:
    """Regular source and target features over shared weights."""
    p, n_P, n_Q = 4, 2 + index % 3, 1 + index % 2
    return {"source_features": features(rng, n_P, p), "target_features": features(rng, n_Q, p)}


def _float_trace(case: Case, count: int) -> list[float]:
    F_P, F_Q, F_x = (np.array(case[f"{name}_features"]) for name in ("source", "target", "test"))
    Y_P, Y_Q, Y_x = (np.array(case[f"{name}_labels"]) for name in ("source", "target", "test"))
    W, trace = np.array(case["start"]), []
    for _ in range(count + 1):
        tuned = W
        for _ in range(case["target_steps"]):
            tuned = tuned - case["target_lr"] * F_Q.T @ (F_Q @ tuned - Y_Q)
        left = {"gradient_energy": Y_Q - F_Q @ W, "displacement": tuned - W, "test_error": Y_x - F_x @ tuned}[case["quantity"]]
        trace.append(float(np.sum(left**2)))
        W = W - case["source_lr"] * F_P.T @ (F_P @ W - Y_P)
    return trace
